"""From a recipe to a trained model: labelled sets, the loop, the optimizer, checkpoints, the log.

Imports `console`, `data`, `errors`, `files`, `grouping`, `models`, `prediction`, `runtime`,
`settings` and `tasks`.
"""
