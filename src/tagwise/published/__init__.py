"""Published checkpoints of other programs: safe reading, recognition and renaming of tensors.

Also the registry of public models by name, and fetching their files.

Imports `errors`, `files`, `grouping`, `skeletons` and `tasks`.
"""
