"""Measuring the quality of a model and finding what limits it.

Scorers turn results into metrics; oracles replace one part of a model by the ground truth. Each
task defines its scorer and its oracles.

Imports `data`, `errors`, `geometry`, `grouping`, `label_maps`, `metrics`, `plot`, `results`,
`settings` and `skeletons`.
"""
