"""From image files and videos to results on disk.

Sources are found and named, images are fitted to the network's input, and a run writes its files
so that an interrupted one can continue. The network runs in a runner (`runners.py`): with torch on
tensors, or, for files of `tagwise export`, with onnxruntime or OpenVINO on numpy arrays. Nothing in
this folder needs torch except `TensorRunner` and the joining of several passes (`tta.py`).

Imports `console`, `data`, `errors`, `evaluation`, `files`, `geometry`, `grouping`, `models`,
`plot`, `published`, `results`, `runtime`, `settings` and `tasks`.
"""
