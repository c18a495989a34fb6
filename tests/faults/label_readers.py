"""All that reads labels, results and journals, each with a valid file and a use of what it reads.

A use goes on after the file is read: it makes samples and targets, scores results made from the
labels themselves, and writes results again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mutations import Tree, mutated_bytes, mutated_json

from tagwise.commands.convert import convert
from tagwise.commands.plot import plot
from tagwise.data.coco_json import read_coco
from tagwise.data.photos import Photos
from tagwise.data.report import summary
from tagwise.data.training_set import TrainingSet
from tagwise.errors import UserError
from tagwise.files import read_json
from tagwise.label_maps import encode_labels
from tagwise.metrics import mask_metrics
from tagwise.models.tfjs import read_weights
from tagwise.prediction.outputs import CocoResults, Predictions
from tagwise.prediction.sources import Source
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton
from tagwise.tasks import CornerTask, PixelTask, PoseTask, Task, create_task, read_result

SIZE = (48, 40)  # width, height of the photos
NAMES = ["nose", "left_hip", "right_hip"]
SKELETON = Skeleton("fox", tuple(NAMES), ((0, 1), (0, 2)))
POSE = PoseTask(SKELETON, tag_dim=2)
CORNERS = CornerTask(("fox", "hen"))
PIXELS = PixelTask(tag_dim=2)


class Reader(NamedTuple):
    """A reader of user files.

    file: the name that the damaged file gets. damaged: makes its content, and says what was done.
    use: reads it. named: whether every refusal must name the file.
    """

    name: str
    file: str
    damaged: Callable[[np.random.Generator], tuple[bytes, str]]
    use: Callable[[Path], None]
    named: bool = True


# ---------------------------------------------------------------------- valid files


def make_photos(folder: Path) -> None:
    """Three photos, and the valid files that the readers find beside the damaged one."""
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), photo)
    (folder / "keypoints.json").write_text(json.dumps(keypoint_labels()))
    (folder / "weights.bin").write_bytes(bytes(64))
    (folder / "model.pth").write_bytes(b"not a checkpoint")
    (folder / "maps" / "labels").mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(folder / "maps" / f"{number}.png"), np.full((40, 48, 3), 90, np.uint8))
        cv2.imwrite(str(folder / "maps" / "labels" / f"{number}.png"), _label_map())


def _label_map() -> np.ndarray:
    labels = np.zeros((SIZE[1], SIZE[0]), np.uint16)
    labels[4:12, 6:20], labels[20:30, 10:40] = 1, 7
    return labels


def _images() -> list[dict[str, Any]]:
    width, height = SIZE
    size = {"width": width, "height": height}
    return [{"id": n + 1, "file_name": f"{n}.png", **size} for n in range(3)]


RLE = encode_labels(_label_map())[0]


def keypoint_labels() -> dict[str, Any]:
    """COCO keypoints with each field that is read: crowds, masks, categories, mirror pairs."""
    people = [
        {"image_id": 1, "keypoints": [9, 8, 2, 12, 20, 1, 6, 20, 2], "bbox": [4, 5, 12, 20]},
        {"image_id": 1, "keypoints": [30, 9, 2, 35, 25, 2, 0, 0, 0], "bbox": [28, 6, 9, 22]},
        {"image_id": 2, "keypoints": [20, 9, 2, 24, 30, 2, 15, 30, 2], "area": 310.5},
        {"image_id": 2, "keypoints": [0] * 9, "bbox": [30, 4, 9, 9], "num_keypoints": 0},
        {"image_id": 3, "keypoints": [0] * 9, "bbox": [1, 1, 9, 9], "iscrowd": 1},
    ]
    people[4]["segmentation"] = RLE
    people[0] |= {"area": 240, "iscrowd": 0, "segmentation": [[4, 5, 16, 5, 16, 25]]}
    fox = {"id": 1, "name": "fox", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
    fox |= {"sigmas": [0.05, 0.1, 0.1], "flip_idx": [0, 2, 1], "supercategory": "animal"}
    return {
        "images": [{**image, "crowdIndex": 0.3} for image in _images()],
        "annotations": [{"id": n + 1, "category_id": 1, **each} for n, each in enumerate(people)],
        "categories": [fox, {"id": 2, "name": "hen"}],
    }


def box_labels() -> dict[str, Any]:
    """COCO boxes of two classes, with a crowd and a group category."""
    boxes = [
        {"image_id": 1, "bbox": [4, 5, 12, 20], "area": 200, "iscrowd": 0},
        {"image_id": 1, "bbox": [28, 6, 9, 22], "category_id": 2},
        {"image_id": 2, "bbox": [10.5, 4, 20, 30], "segmentation": [[10, 4, 30, 4, 30, 34]]},
        {"image_id": 3, "bbox": [1, 1, 40, 30], "iscrowd": 1, "segmentation": RLE},
    ]
    return {
        "images": _images(),
        "annotations": [{"id": n + 1, "category_id": 1, **each} for n, each in enumerate(boxes)],
        "categories": [
            {"id": 0, "name": "farm", "supercategory": "none"},
            {"id": 1, "name": "fox", "supercategory": "farm"},
            {"id": 2, "name": "hen", "supercategory": "farm"},
        ],
    }


def predictions() -> list[dict[str, Any]]:
    """What `predict` and `track` write of each task's results."""
    poses = Poses(
        np.array([[[9, 8, 0.9], [12, 20, 0.8], [np.nan, np.nan, 0]]]),
        np.array([0.85]),
        np.array([[[1.0, 2.0], [1.1, 2.0], [np.nan, np.nan]]]),
        SKELETON,
    )
    boxes = Boxes(
        np.array([[4, 5, 12, 20.0], [28, 6, 9, 22]]),
        np.array([0.9, 0.4]),
        np.array([0, 1]),
        ("fox", "hen"),
        tags=np.array([[[1.0], [1.1]], [[5.0], [5.2]]]),
    )
    masks = Masks(np.minimum(_label_map(), 2), np.array([0.9, 0.7]), np.array([[1.0], [4.0]]))
    width, height = SIZE
    placed = {"file": "0.png", "width": width, "height": height, "model": "foxes"}
    records = [replace(result, **placed).to_dict() for result in (poses, boxes, masks)]
    tracked = {"frame": 3, "time": 0.12, **records[0]}
    tracked["instances"] = [{**instance, "id": 1} for instance in tracked["instances"]]
    return [*records, tracked]


def other_results() -> list[dict[str, Any]]:
    """COCO results, as `ignore_results` takes them."""
    rows = [(1, [9, 8, 0.9, 12, 20, 0.8, 6, 20, 0.7]), (3, [20, 9, 0.9, 24, 30, 0.9, 9, 9, 0.2])]
    return [{"image_id": n, "category_id": 1, "keypoints": k, "score": 0.8} for n, k in rows]


# ---------------------------------------------------------------------- uses


def _train_on(task: type[Task], path: Path, **options: Any) -> None:
    """Read a set as training does: samples, targets, and augmented samples."""
    data = task.open_dataset(path, path.parent, **options)
    data.check_images()
    summary(data.report)
    data.require_labels()
    data.require_instances()
    own = create_task(task.name, **data.labels_of_task())
    json.dumps(own.to_dict())
    _check_samples(own, data)


def _check_samples(task: Task, data: Photos) -> None:
    """Encode every sample, and some augmented ones; all targets must be finite."""
    augmented = TrainingSet([data], input_size=(64, 64), length=2)
    samples = [data[n] for n in range(min(len(data), 5))] + [augmented[n] for n in range(2)]
    for sample in samples:
        if not np.isfinite(sample.keypoints).all() or not np.isfinite(sample.boxes).all():
            raise AssertionError("a sample has a label that is not finite")
    targets = [task.encode(augmented[n], 4) for n in range(2)]
    batch = task.collate(targets)
    batch.pop("layout", None)  # indices
    for name, values in batch.items():
        if not np.isfinite(values.numpy()).all():
            raise AssertionError(f"the target {name} is not finite")


def _evaluate(task: Task, path: Path, **options: Any) -> None:
    """Read a set as `eval` does, and score results made from its labels."""
    data = task.open_dataset(path, path.parent, like=task, keep_missing=True, **options)
    summary(data.report)
    data.require_instances()
    scorer = task.make_scorer(data)
    for index in range(len(data)):
        if index != 1:  # one image has no result
            data.size(index), data.path(index)
            scorer.add(index, _truth(task, data, index))
    _check_figures(scorer.figures())
    json.dumps([scorer.settings(), scorer.rows], allow_nan=False)


def _truth(task: Task, data: Any, index: int) -> Any:
    """A result made of the labels of an image."""
    if task.name == "pixels":
        labels = data.label_map(index)
        return Masks(labels, np.linspace(0.9, 0.5, int(labels.max(initial=0))))
    if task.name == "corners":
        labels = data.image_labels[index]
        scores = np.linspace(0.9, 0.5, len(labels.boxes))
        return Boxes(np.array(labels.boxes), scores, np.array(labels.classes, int), task.classes)
    keypoints = data.instances(index)[0]
    keypoints[keypoints[..., 2] == 0] = (np.nan, np.nan, 0)
    return Poses(keypoints, np.linspace(0.9, 0.5, len(keypoints)), None, task.skeleton)


def _write_rows(task: Task, path: Path) -> None:
    """Read a set as `predict --coco` does, and write a results file."""
    records = {record["task"]: record for record in predictions()}
    with (path.parent / "rows.json").open("w+b") as file:
        results = CocoResults(task, path, file)
        summary(results.problems)
        for name in ("0.png", "folder/2.png", "other.png"):
            results.add(replace(read_result(records[task.result.task]), file=name))
        results.finish()
        file.seek(0)
        json.loads(file.read())


def _measure_masks(path: Path) -> None:
    """Read masks as `mask_metrics` does."""
    found = {"image_id": 3, "category_id": 1, "segmentation": RLE, "score": 0.5}
    content = read_coco(path)
    known = [image["id"] for image in content["images"]]
    categories = [category["id"] for category in content["categories"]]
    rows = [found] if 3 in known and 1 in categories else []
    _check_figures(mask_metrics(rows, path))


def _check_figures(figures: dict[str, float]) -> None:
    for name, figure in figures.items():
        if not (math.isfinite(figure) and -1 <= figure <= 1):
            raise AssertionError(f"{name} is {figure}")


def _use_result(path: Path) -> None:
    """Read a result as `plot` does, draw it, and write it again."""
    result = read_result(read_json(path), path)
    json.dumps(result.to_dict(), allow_nan=False)
    result.above(0.5), repr(result), list(result)
    plot(path, "instances", out=path.parent / "plot.png")
    if path.stat().st_size % 8 == 0:  # slow
        plot(path, "tags", out=path.parent / "plot.png")


def _resume(path: Path) -> None:
    """Read a journal as `predict --resume` does."""
    files = Predictions(path.parent, {"model": "foxes", "size": [64, 64]}, False, resume=True)
    source = Source(path.parent / "0.png", "0")
    if files.is_done(source):
        files.load(source)
    files.save(source, Poses(np.zeros((0, 3, 3)), np.zeros(0), None, SKELETON), None)
    files.record(source)


def _resume_with_result(path: Path) -> None:
    """Read the result of a photo that a journal calls done."""
    (path.parent / ".tagwise-predict.jsonl").unlink(missing_ok=True)
    files = Predictions(path.parent, {}, False, resume=False)
    result = files.load(Source(path.parent / "0.png", "0"))
    json.dumps(result.to_dict(), allow_nan=False)


def _convert(path: Path, what: str) -> None:
    """Read names for `convert`, whose checkpoint is then refused."""
    try:
        convert(path.parent / "model.pth", **{what: path})
    except UserError as error:
        if "model.pth" not in str(error):
            raise


def _damaged_map(rng: np.random.Generator) -> tuple[bytes, str]:
    """A label map of another type or size, with other numbers, or damaged as a file."""
    labels, done = _label_map(), []
    if rng.integers(3):
        kind = [np.uint8, np.uint16, np.int32, np.float32][rng.integers(4)]
        labels, done = labels.astype(kind), [np.dtype(kind).name]
    for _ in range(rng.integers(3)):
        y, x, number = rng.integers(40), rng.integers(48), rng.choice([0, 1, 255, 65535, -5, 2**31])
        labels[y : y + rng.integers(20), x:] = number % 2**16 if labels.dtype != np.int32 else -1
        done.append(f"{number} at {y}, {x}")
    labels = labels[: rng.integers(1, 41)] if rng.integers(5) == 0 else labels
    labels = np.dstack([labels] * 3) if rng.integers(6) == 0 else labels
    wide = labels.dtype.itemsize > 2
    written = cv2.imencode(".tif" if wide else ".png", labels)[1].tobytes()
    if rng.integers(3) == 0:
        return mutated_bytes(written, rng)
    return written, ", ".join(["a map of", *done, str(labels.shape)])


def _use_maps(path: Path) -> None:
    """Read label maps as training and `eval` do."""
    data = PixelTask.open_dataset(path.parent, path.parent.parent)
    data.require_instances()
    _check_samples(PIXELS, data)
    data = PixelTask.open_dataset(path.parent, path.parent.parent, like=PIXELS)
    scorer = PIXELS.make_scorer(data)
    for index in range(len(data)):
        scorer.add(index, _truth(PIXELS, data, index))
    _check_figures(scorer.figures())


# ---------------------------------------------------------------------- the readers


def _of(trees: Iterable[Tree]) -> Callable[[np.random.Generator], tuple[bytes, str]]:
    """Damage to one of several valid files."""
    trees = list(trees)
    return lambda rng: mutated_json(trees[rng.integers(len(trees))], rng)


def _journal(rng: np.random.Generator) -> tuple[bytes, str]:
    """A journal of which one line is damaged."""
    lines: list[Tree] = [{"settings": {"model": "foxes", "size": [64, 64]}}]
    lines += [{"name": "0", "source": ["0.png", 99, 10**18]}, {"name": "1", "source": None}]
    which = int(rng.integers(len(lines)))
    parts = [json.dumps(line).encode() for line in lines]
    parts[which], done = mutated_json(lines[which], rng)
    return b"\n".join([*parts, b""]), f"line {which + 1}: {done}"


def _tfjs() -> dict[str, Any]:
    weights = [{"name": "a", "shape": [2, 4], "dtype": "float32"}]
    weights += [{"name": "b", "shape": [8], "dtype": "float32", "quantization": {}}]
    weights[1]["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
    return {"weightsManifest": [{"paths": ["weights.bin"], "weights": weights}]}


def label_readers() -> list[Reader]:
    """Every reader of JSON and label maps."""
    poses, boxes, label = [keypoint_labels()], [box_labels()], "labels.json"
    result = "0.predictions.json"

    def ignore(path: Path) -> None:
        labels = path.parent / "keypoints.json"
        _train_on(PoseTask, labels, ignore_results=path, fill_results=0.3)

    return [
        Reader("keypoints, train", label, _of(poses), lambda path: _train_on(PoseTask, path)),
        Reader("keypoints, eval", label, _of(poses), lambda path: _evaluate(POSE, path)),
        Reader("keypoints, --coco", label, _of(poses), lambda path: _write_rows(POSE, path)),
        Reader("boxes, train", label, _of(boxes), lambda path: _train_on(CornerTask, path)),
        Reader("boxes, eval", label, _of(boxes), lambda path: _evaluate(CORNERS, path)),
        Reader("boxes, --coco", label, _of(boxes), lambda path: _write_rows(CORNERS, path)),
        Reader("masks, --coco", label, _of(boxes), lambda path: _write_rows(PIXELS, path)),
        Reader("masks, mask_metrics", label, _of(boxes), _measure_masks, named=False),
        Reader("label maps", "maps/labels/0.png", _damaged_map, _use_maps, named=False),
        Reader("ignore_results", "results.json", _of([other_results()]), ignore),
        Reader("predictions, plot", result, _of(predictions()), _use_result, named=False),
        Reader(
            "predictions, --resume", "0.predictions.json", _of(predictions()), _resume_with_result
        ),
        Reader("journal, --resume", ".tagwise-predict.jsonl", _journal, _resume, named=False),
        Reader("convert --skeleton", label, _of(poses), lambda path: _convert(path, "skeleton")),
        Reader("convert --classes", label, _of(boxes), lambda path: _convert(path, "classes")),
        Reader("TF.js model", "model.json", _of([_tfjs()]), read_weights, named=False),
    ]
