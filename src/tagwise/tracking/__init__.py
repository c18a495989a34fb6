"""Identity through a video: motion, keypoints and tags together decide who is who.

Imports `prediction` and what lies below it.
"""
