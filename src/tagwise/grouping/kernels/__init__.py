"""The compiled loops of grouping: one file per step, with plain arrays as arguments.

They are called only from `tagwise.grouping`.

Imports `geometry` and `runtime`.
"""
