"""One module for each verb of the command line, with the Python function of the same name.

The functions check and complete their arguments; the other folders do the work.

Imports `console`, `data`, `errors`, `evaluation`, `files`, `grouping`, `labels`, `models`,
`plot`, `prediction`, `published`, `results`, `runtime`, `scale`, `serving`, `settings`,
`skeletons`, `tasks`, `tracking` and `training`.
"""
