"""Who is who through a video: motion, keypoints and tags decide together.

`Tracker` gives ids to results, frame by frame; a run reads a video and writes its files.

Imports `errors`, `files`, `geometry`, `plot`, `prediction`, `results` and `settings`.
"""
