"""Samples per second that one core prepares for training, by dataset and setting.

    python benchmarks/data_loading.py [FOLDER OF DATASETS]

Synthetic scenes are always measured: figures, boxes as in a blood smear (15 per image), and label
maps as of nuclei (100 per image); the last two are read from PNG files. Real photos are measured if
the folder holds robots, bees, people_lsp, people_coco and blood as COCO JSON (DIR/train.json,
DIR/images) and nuclei as label maps (DIR/train/images, DIR/train/labels). "first" decodes every
image, "later" takes images from memory, as every epoch after the first does. "plain" only reads and
fits images, as prediction does. The goals are 60 samples/s at 384 × 288 from 640 × 480 JPEGs, six
times what training on one CPU core consumes, and 150 samples/s of boxes at 512 × 512, both for
"view, later".
"""

import tempfile
import time
from pathlib import Path

import _bench
import cv2

from tagwise.data import (
    Augment,
    CocoBoxes,
    CocoKeypoints,
    LabelMaps,
    SyntheticPoses,
    SyntheticShapes,
    TrainingSet,
    fit_affine,
)
from tagwise.data.transforms import warp_sample
from tagwise.skeletons import COCO17

SAMPLES = _bench.at_size(200, 2)
GOALS = {"robots": 60, "15 boxes": 150, "blood": 150}
IMAGES = _bench.at_size(50, 2)
VIEW = Augment(focus=0.3)
CROWD = Augment(focus=0.3, mosaic=0.3, paste=0.5)


def samples_per_second(get, count: int = SAMPLES) -> float:
    """Samples per second of CPU time, so that other load on the machine does not count."""
    start = time.process_time()
    for number in range(count):
        get(number)
    return count / (time.process_time() - start)


def measure(name: str, dataset, input_size: tuple[int, int]) -> dict:
    def plain(number: int):
        sample = dataset[number % len(dataset)]
        height, width = sample.image.shape[:2]
        affine, size = fit_affine((width, height), input_size)
        return warp_sample(sample, affine, size, dataset.flip)

    row = {"data": name, "input": f"{input_size[0]}×{input_size[1]}"}
    row["plain /s"] = samples_per_second(plain)
    for label, augment in (("view", VIEW), ("crowd", CROWD)):
        training = TrainingSet([dataset], augment=augment, input_size=input_size)
        row[f"{label}, first /s"] = samples_per_second(training.__getitem__)
        row[f"{label}, later /s"] = samples_per_second(training.__getitem__)
    goal = GOALS.get(name)
    return row | {"goal": goal, "": _bench.verdict(row["view, later /s"], goal, at_least=True)}


def photos(folder: Path) -> list[tuple]:
    """The real datasets in the folder, each with the input size of its measurement."""
    sets = (("robots", None, (384, 288)), ("bees", None, (512, 512)))
    sets += (("people_lsp", COCO17, (512, 512)), ("people_coco", COCO17, (512, 512)))
    found = [
        (
            name,
            CocoKeypoints(folder / name / "train.json", folder / name / "images", skeleton),
            size,
        )
        for name, skeleton, size in sets
        if (folder / name / "train.json").is_file()
    ]
    blood, nuclei = folder / "blood", folder / "nuclei/train"
    if blood.is_dir():
        found.append(("blood", CocoBoxes(blood / "train.json", blood / "images"), (512, 512)))
    if nuclei.is_dir():
        found.append(("nuclei", LabelMaps(nuclei / "images", nuclei / "labels"), (512, 512)))
    return found


def cells(folder: Path) -> list[tuple]:
    """Synthetic boxes and label maps, saved in a folder and read from there."""
    smears = SyntheticShapes(("disc", "ellipse", "star"), IMAGES, size=(640, 480), count=(15, 15))
    boxes = CocoBoxes(smears.save(folder / "blood"), folder / "blood/images")
    small = {"size": (512, 512), "count": (100, 100), "radius": (8.0, 20.0)}
    SyntheticShapes(("ellipse",), IMAGES, masks=True, **small).save(folder / "nuclei")
    maps = LabelMaps(folder / "nuclei/images", folder / "nuclei/labels")
    return [("15 boxes", boxes, (512, 512)), ("100 masks", maps, (512, 512))]


def main() -> None:
    parser = _bench.arguments(__doc__)
    default = Path(__file__).parents[2] / "shared/data"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    scenes = SyntheticPoses(COCO17, length=SAMPLES, size=(256, 256))
    rows = [measure("synthetic", scenes, (256, 256))]
    with tempfile.TemporaryDirectory() as saved:
        entries = cells(Path(saved)) + ([] if options.quick else photos(options.folder))
        rows += [measure(*entry) for entry in entries]
    _bench.report("data_loading", rows)


if __name__ == "__main__":
    main()
