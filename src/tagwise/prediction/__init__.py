"""From image files and videos to results on disk: sources, fitting, the network, outputs.

Imports `models`, `tasks` and what lies below them.
"""
