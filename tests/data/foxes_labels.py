"""COCO labels of foxes."""

CATEGORY = {
    "id": 1,
    "name": "fox",
    "keypoints": ["nose", "left_paw", "right_paw"],
    "skeleton": [[1, 2], [1, 3]],
}


def annotation(number, image=1, keypoints=None, **fields):
    """A valid annotation of a fox, by default with keypoints (20, 10), (30, 40) and (12, 40)."""
    keypoints = [20, 10, 2, 30, 40, 2, 12, 40, 1] if keypoints is None else keypoints
    plain = {"category_id": 1, "iscrowd": 0, "bbox": [10, 8, 24, 36], "area": 500.0}
    return {"id": number, "image_id": image, "keypoints": keypoints} | plain | fields
