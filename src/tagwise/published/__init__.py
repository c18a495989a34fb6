"""Checkpoints that other programs published: reading them safely, recognising and renaming them.

Imports `tasks` and what lies below it.
"""
