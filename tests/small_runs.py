"""Small data sets on disk, and what a training on them logs."""

import json

import cv2

from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.skeletons import Skeleton

FIGURE = Skeleton("figure", ("head", "trunk", "left_foot", "right_foot"), ((0, 1), (1, 2), (1, 3)))


def write_scenes(folder, name, length, seed):
    """Synthetic scenes as photos and COCO JSON, as a lab has them."""
    scenes = SyntheticPoses(
        FIGURE, length=length, seed=seed, size=(96, 96), people=(1, 2), tallness=(0.4, 0.8)
    )
    content = scenes.to_coco()
    images = folder / name
    images.mkdir()
    for index, image in enumerate(content["images"]):
        image["file_name"] = f"{index:04d}.png"
        cv2.imwrite(str(images / image["file_name"]), scenes[index].image[..., ::-1])
    (folder / f"{name}.json").write_text(json.dumps(content))


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    return {row["step"]: row["total"] for row in rows(folder) if "total" in row}
