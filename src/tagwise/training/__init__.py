"""From a recipe to a trained model: the recipe, the loop, checkpoints and the log.

Imports `prediction`, `models`, `tasks`, `data` and what lies below them.
"""
