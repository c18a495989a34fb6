"""From image files and videos to results on disk.

Sources are found and named, images are fitted to the network's input, and a run writes its files
so that an interrupted one can continue.

Imports `console`, `data`, `errors`, `evaluation`, `files`, `geometry`, `grouping`, `models`,
`published`, `results`, `runtime`, `settings` and `tasks`.
"""
