"""Small labelled sets on disk, whose labels have a known structure."""

import json

import cv2
import numpy as np

from tagwise.data.coco import CocoKeypoints

# A body along x of length 100: tail, thorax and head on a line, antennae at both sides of the head.
# Right is below, since y points down and the head points to the right.
BEE = ("tail", "thorax", "head", "left_antenna", "right_antenna")
BODY = np.array([[-50, 0], [10, 0], [30, 0], [46, -14], [46, 14]], float)


def bees(rng, count, turn=np.pi, size=(640, 480), length=(80, 120)):
    """Keypoints (count, 5, 3) of bees whose bend, length, place and direction vary."""
    found = np.full((count, 5, 3), 2.0)
    for n in range(count):
        scale = rng.uniform(*length) / 100
        bend, angle = rng.normal(0, 0.3), rng.uniform(-turn, turn)
        body = BODY.copy()
        # The body bends at the thorax, so that the distance of tail and head is not constant.
        body[0] = BODY[1] + rotated(BODY[0] - BODY[1], 2 * bend)
        body += rng.normal(0, 1.0, body.shape)
        margin = 70
        place = rng.uniform((margin, margin), np.array(size) - margin)
        found[n, :, :2] = scale * rotated(body, angle) + place
    return found


def rotated(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def coco_of(images, names=BEE, size=(640, 480), files=None, **category):
    """COCO content of images, each an array (n, K, 3) of keypoints."""
    content = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "bee", "keypoints": list(names), **category}]
    for number, keypoints in enumerate(images, 1):
        name = files[number - 1] if files else f"frame_{number:03d}.png"
        content["images"].append(
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        )
        for each in keypoints:
            annotation = {"id": len(content["annotations"]) + 1, "image_id": number}
            annotation |= {"category_id": 1, "keypoints": each.reshape(-1).tolist()}
            content["annotations"].append(annotation)
    return content


def write_set(folder, content, scenes=None):
    """Write labels.json and images: noise, the same for all images of a number in `scenes`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for n, image in enumerate(content["images"]):
        rng = np.random.default_rng(n if scenes is None else 1000 + scenes[n])
        small = rng.integers(0, 256, (6, 8, 3), np.uint8)
        picture = cv2.resize(small, (image["width"], image["height"]))
        picture[:3, :3] = n % 256  # so that no two files are equal
        path = folder / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    path = folder / "labels.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


def keypoint_set(folder, images, **options):
    """A dataset of images, each an array (n, K, 3); options: of `coco_of`."""
    scenes = options.pop("scenes", None)
    path = write_set(folder, coco_of(images, **options), scenes)
    return CocoKeypoints(path, folder / "images")
