"""From a recipe to a trained model: labelled sets, the loop, validation, checkpoints, the report.

`first_data` and `first_recipe` make the recipe itself, from labels.

Imports `console`, `data`, `errors`, `files`, `grouping`, `labels`, `models`, `plot`, `prediction`,
`results`, `runtime`, `settings`, `skeletons` and `tasks`.
"""
