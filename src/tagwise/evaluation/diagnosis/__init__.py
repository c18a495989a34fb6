"""What limits a model: its errors by kind, its tags, its scores, and what to do about them.

Imports `geometry`, `plot` and `results`.
"""
