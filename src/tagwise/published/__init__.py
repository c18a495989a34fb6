"""Checkpoints that other programs published: they are read safely, recognised and renamed.

Imports `errors`, `files`, `grouping`, `skeletons` and `tasks`.
"""
