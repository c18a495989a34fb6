"""Track instances through a video by motion, keypoints and tags.

`Tracker` gives ids to results, frame by frame; a run reads a video and writes its files.

Imports `console`, `errors`, `files`, `geometry`, `plot`, `prediction`, `results` and `settings`.
"""
