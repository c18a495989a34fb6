"""The compiled loops of grouping: one file per step, with plain arrays as arguments.

Only the files of `tagwise.grouping` call them.

Imports `geometry` and `runtime`.
"""
