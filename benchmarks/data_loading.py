"""Samples a second that one core prepares for training, per dataset and setting.

    python benchmarks/data_loading.py [FOLDER OF DATASETS]

Synthetic scenes always; real photos too where the folder holds robots, bees, people_lsp and
people_coco as COCO JSON (DIR/train.json, DIR/images). "first" decodes every image, "later" takes
them from memory as an epoch after the first does; "plain" only reads and fits, in the same way as
prediction. The goal is 60 samples/s at 384 × 288 from 640 × 480 JPEGs: six times what training on
one CPU core consumes.
"""

import argparse
import time
from pathlib import Path

import _bench
import cv2

from tagwise.data import Augment, CocoKeypoints, SyntheticPoses, TrainingSet, fit_affine
from tagwise.data.transforms import warp_sample
from tagwise.skeletons import COCO17

SAMPLES = 200
VIEW = Augment(focus=0.3)
CROWD = Augment(focus=0.3, mosaic=0.3, paste=0.5)


def samples_a_second(get, count: int = SAMPLES) -> float:
    """CPU time, so that other work on the machine does not count."""
    start = time.process_time()
    for number in range(count):
        get(number)
    return count / (time.process_time() - start)


def measure(name: str, dataset, input_size: tuple[int, int]) -> dict:
    def plain(number: int):
        sample = dataset[number % len(dataset)]
        height, width = sample.image.shape[:2]
        affine, size = fit_affine((width, height), input_size)
        return warp_sample(sample, affine, size, dataset.skeleton.flip)

    row = {"data": name, "input": f"{input_size[0]}×{input_size[1]}"}
    row["plain /s"] = samples_a_second(plain)
    for label, augment in (("view", VIEW), ("crowd", CROWD)):
        training = TrainingSet([dataset], augment=augment, input_size=input_size)
        row[f"{label}, first /s"] = samples_a_second(training.__getitem__)
        row[f"{label}, later /s"] = samples_a_second(training.__getitem__)
    return row


def photos(folder: Path) -> list[tuple]:
    """The real datasets that are there, each with the input size that its model trains at."""
    sets = (("robots", None, (384, 288)), ("bees", None, (512, 512)))
    sets += (("people_lsp", COCO17, (512, 512)), ("people_coco", COCO17, (512, 512)))
    return [
        (
            name,
            CocoKeypoints(folder / name / "train.json", folder / name / "images", skeleton),
            size,
        )
        for name, skeleton, size in sets
        if (folder / name / "train.json").is_file()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parents[2] / "shared/data"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args().folder
    cv2.setNumThreads(0)
    scenes = SyntheticPoses(COCO17, length=SAMPLES, size=(256, 256))
    rows = [measure("synthetic", scenes, (256, 256))]
    rows += [measure(*entry) for entry in photos(folder)]
    _bench.report("data_loading", rows)


if __name__ == "__main__":
    main()
