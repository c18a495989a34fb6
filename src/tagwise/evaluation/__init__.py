"""How good a model is, and what limits it.

Scorers turn results into figures; oracles replace one part of a model by the truth. Each
task names its scorer and its oracles.

Imports `data`, `errors`, `grouping`, `label_maps`, `metrics`, `results` and `skeletons`.
"""
