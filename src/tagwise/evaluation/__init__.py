"""How good a model is and what limits it: scorers, and oracles that replace one part by the truth.

Each task names its scorer and its oracles. Imports `metrics`, `results`, `data`, `grouping` and
what lies below them.
"""
