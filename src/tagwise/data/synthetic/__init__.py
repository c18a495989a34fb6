"""Synthetic scenes with exact labels: people, shapes and clips of moving figures.

Imports `errors`, `files`, `geometry`, `label_maps` and `skeletons`.
"""
