"""Which half of a model limits it: oracles put the truth in place of one half.

With "grouping" the keypoints that the heatmaps show are grouped by the truth: what is still missing
then is the heatmaps' fault. With "keypoints" the true keypoints take the tags that the network
predicts at their places and are grouped by them: what is missing then is the tags' fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.geometry import cell_to_pixel, pixel_to_cell
from tagwise.grouping import GroupingSettings, KeypointGroups, group_by_truth, group_keypoints
from tagwise.grouping.peaks import Peaks, find_peaks
from tagwise.results import Poses

if TYPE_CHECKING:
    from tagwise.prediction.predictor import Predictor

ORACLES = ("grouping", "keypoints")


def oracle_poses(
    predictor: Predictor,
    truth: dict[str, Any],
    images: str | Path,
    columns: Sequence[int],
    oracle: str,
) -> Iterator[Poses | UserError]:
    """What the predictor would find in each image of a ground truth, had it an oracle's help.

    truth: COCO keypoint annotations. columns: for each of its keypoint types, which one of the
    model's it is. oracle: "grouping" or "keypoints".
    """
    labels: dict[Any, list[np.ndarray]] = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        if not annotation["iscrowd"] and annotation["image_id"] in labels:
            keypoints = np.zeros((len(predictor.task.skeleton.keypoints), 3))
            keypoints[columns] = np.reshape(annotation["keypoints"], (-1, 3))
            labels[annotation["image_id"]].append(keypoints)
    for image in truth["images"]:
        try:
            pixels = read_image(Path(images) / str(image.get("file_name")))
            yield _helped(predictor, pixels, labels[image["id"]], oracle)
        except UserError as error:
            yield error


def true_peaks(truth: np.ndarray, tags: Tensor) -> Peaks:
    """Peaks of one image as a perfect heatmap would give them.

    truth: (N, K, 3), x and y in cells and visibility; 0 is unlabelled.
    tags: (K * D, H, W). Keypoints outside the maps are left out; scores are 1.
    """
    maps = tags.detach().float().cpu().numpy().reshape(truth.shape[1], -1, *tags.shape[-2:])
    height, width = maps.shape[-2:]
    kind, person = np.nonzero(truth[:, :, 2].T > 0)
    xy = truth[person, kind, :2]
    cell = np.rint(xy).astype(np.int64)
    inside = np.flatnonzero(((cell >= 0) & (cell < (width, height))).all(axis=1))
    # By place, for in the order of instances equal tags would be dealt out rightly by chance.
    order = inside[np.lexsort((cell[inside, 0], cell[inside, 1], kind[inside]))]
    kind, xy, cell = kind[order], xy[order], cell[order]
    starts = np.searchsorted(kind, np.arange(truth.shape[1] + 1))[None]
    tag = maps[kind, :, cell[:, 1], cell[:, 0]].astype(np.float32)
    return Peaks(xy.astype(np.float32), cell, np.ones(len(kind), np.float32), tag, starts)


def _helped(
    predictor: Predictor, pixels: np.ndarray, labels: list[np.ndarray], oracle: str
) -> Poses:
    """Poses of one image, in its pixels, with the help of an oracle."""
    task, stride = predictor.task, predictor.stride
    outputs, affine = predictor.maps(pixels)
    truth = np.zeros((len(labels), len(task.skeleton.keypoints), 3))
    for row, keypoints in zip(truth, labels):
        row[:] = keypoints
        row[:, :2] = pixel_to_cell(affine.points(keypoints[:, :2]), stride)
    if oracle == "grouping":
        groups = _grouped_by_truth(task, outputs, truth)
    else:
        peaks = true_peaks(truth, outputs["tags"][0])
        groups = group_keypoints(peaks, task.grouping, task.skeleton.order)[0]
    keypoints = groups.keypoints.copy()
    keypoints[..., :2] = cell_to_pixel(keypoints[..., :2], stride)
    poses = Poses(keypoints, groups.scores, groups.tags, task.skeleton)
    return poses.transform(affine.inverse().matrix)


def _grouped_by_truth(task: Any, outputs: dict[str, Tensor], truth: np.ndarray) -> KeypointGroups:
    settings: GroupingSettings = task.grouping
    offsets = outputs["offsets"].float() if task.offsets else None
    heatmaps = task.heatmap_values(outputs["heatmaps"])
    peaks = find_peaks(heatmaps, outputs["tags"].float(), settings, offsets)
    return group_by_truth(peaks, [truth])[0]
