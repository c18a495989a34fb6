"""Which part of a corner model limits it: oracles put the truth in place of one part.

Law and Deng: CornerNet (arXiv:1808.01244), section 4.4, "Error analysis". With "corners" the true
corners take the tags and offsets that the network predicts in their cells: what is still missing
then is not the heatmaps' fault. With "offsets" the corners that the heatmaps show lie exactly where
the nearest true corner does. With "grouping" they are paired by the truth: what is missing then is
not the tags' fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.corners import pair_by_truth, pair_corners
from tagwise.grouping.settings import CornerSettings
from tagwise.results import Boxes

if TYPE_CHECKING:
    from tagwise.prediction.predictor import Predictor

ORACLES = ("grouping", "corners", "offsets")

# A found corner is that of an object if it is this near, in cells: offsets of a cell's neighbours
# reach no farther.
_NEAR = 1.5


def oracle_boxes(
    predictor: Predictor,
    truth: dict[str, Any],
    images: str | Path,
    category_ids: Sequence[Any],
    oracle: str,
) -> Iterator[Boxes | UserError]:
    """What the predictor would find in each image of a ground truth, had it an oracle's help.

    truth: COCO box annotations. category_ids: for each of the model's classes the category that it
    is. oracle: "grouping", "corners" or "offsets". Test-time augmentation is left out.
    """
    classes = {category: c for c, category in enumerate(category_ids)}
    labels: dict[Any, list[list[float]]] = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        if not annotation["iscrowd"] and annotation["category_id"] in classes:
            row = [*annotation["bbox"], classes[annotation["category_id"]]]
            labels[annotation["image_id"]].append(row)
    for image in truth["images"]:
        try:
            pixels = read_image(Path(images) / str(image.get("file_name")))
            rows = np.array(labels[image["id"]], np.float64).reshape(-1, 5)
            yield _helped(predictor, pixels, rows, oracle)
        except UserError as error:
            yield error


def _helped(predictor: Predictor, pixels: np.ndarray, rows: np.ndarray, oracle: str) -> Boxes:
    """Boxes of one image, in its pixels; rows (N, 5): x, y, width, height, class of the truth."""
    task, stride = predictor.task, predictor.stride
    outputs, affine = predictor.maps(pixels)
    boxes = affine.boxes(rows[:, :4]).astype(np.float64) / stride
    boxes[:, 2:] += boxes[:, :2]
    classes = rows[:, 4].astype(np.int64)
    if oracle == "corners":
        peaks = true_corners(boxes, classes, outputs)
    else:
        peaks = _found_corners(outputs, task.pairing)
    if oracle == "offsets":
        peaks = with_true_offsets(peaks, boxes, classes)
    if oracle == "grouping":
        found = pair_by_truth(peaks, [boxes], [classes])[0]
    else:
        centres = outputs["centre_heat"].float().sigmoid() if task.centres else None
        found = pair_corners(peaks, task.pairing, centres)[0]
    height, width = pixels.shape[:2]
    result = task.boxes(found, stride)
    return result.transform(affine.inverse().matrix, width=width, height=height)


def _found_corners(outputs: dict[str, Tensor], settings: CornerSettings) -> CornerPeaks:
    maps = {name: values.float() for name, values in outputs.items()}
    return find_corners(
        maps["tl_heat"].sigmoid(),
        maps["br_heat"].sigmoid(),
        maps["tl_tag"],
        maps["br_tag"],
        maps["tl_off"],
        maps["br_off"],
        settings,
    )


def true_corners(boxes: np.ndarray, classes: np.ndarray, outputs: dict[str, Tensor]) -> CornerPeaks:
    """Corners of one image as perfect heatmaps would give them, with the network's other maps.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). outputs: the network's maps, by name, of
    a batch of one. Scores are 1; corners outside the maps count in the nearest cell, as in
    training.
    """
    parts = []
    for corner, xy in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        tags, offsets = (outputs[f"{corner}_{what}"][0].float().cpu() for what in ("tag", "off"))
        last = np.array(tags.shape[:0:-1]) - 1
        cell = np.clip(np.floor(xy), 0, last).astype(np.int64)
        # By place, for in the order of objects equal tags would be dealt out rightly by chance.
        order = np.lexsort(cell.T)
        x, y = cell[order].T
        offset = offsets.numpy()[:, y, x].T
        parts.append((cell[order] + offset, cell[order], classes[order], tags.numpy()[:, y, x].T))
    xy, cell, kinds, tag = (np.concatenate(values) for values in zip(*parts))
    starts = np.array([[0, len(parts[0][0]), len(xy)]])
    score = np.ones(len(xy), np.float32)
    return CornerPeaks(xy.astype(np.float32), cell, score, kinds, tag.astype(np.float32), starts)


def with_true_offsets(peaks: CornerPeaks, boxes: np.ndarray, classes: np.ndarray) -> CornerPeaks:
    """Corners of one image, moved to the true corner of their class that lies within 1.5 cells.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). Each true corner draws one, the nearest
    in the sum of all distances; corners without any stay where the network saw them.
    """
    xy, middle = peaks.xy.copy(), peaks.starts[0, 1]
    for part, true in (
        (np.arange(middle), boxes[:, :2]),
        (np.arange(middle, len(peaks)), boxes[:, 2:]),
    ):
        centre = peaks.cells[part] + 0.5
        distance = np.linalg.norm(centre[:, None] - true[None], axis=2)
        near = (distance <= _NEAR) & (peaks.classes[part][:, None] == classes[None])
        peak, corner = linear_sum_assignment(np.where(near, distance, 1e6))
        drawn = near[peak, corner]
        xy[part[peak[drawn]]] = true[corner[drawn]]
    return replace(peaks, xy=xy)
