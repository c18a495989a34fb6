"""Published checkpoints of other programs: safe reading, recognition and renaming of tensors.

Also the registry of public models by name, and fetching their files.

Imports `console`, `errors`, `files`, `grouping`, `skeletons` and `tasks`.
"""
