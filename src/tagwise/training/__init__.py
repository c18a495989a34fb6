"""From a recipe to a trained model: labelled sets, the loop, the optimizer, checkpoints, the log.

`first_data` and `first_recipe` make the recipe itself, from labels.

Imports `console`, `data`, `errors`, `files`, `grouping`, `labels`, `models`, `prediction`,
`runtime`, `settings`, `skeletons` and `tasks`.
"""
