"""Scenes that are drawn, with exact labels: people, shapes and clips of moving shapes.

Imports `errors`, `files`, `geometry`, `label_maps` and `skeletons`.
"""
