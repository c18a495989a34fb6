"""Published checkpoints of other programs: safe reading, recognition and renaming of tensors.

Imports `errors`, `files`, `grouping`, `skeletons` and `tasks`.
"""
