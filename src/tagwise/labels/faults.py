"""Labels that look wrong: sides that are swapped, outliers, missing, repeated and tiny instances.

Nothing is changed here. Each fault names the image and the annotation, so that it can be corrected
in the program that made the labels.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.data.photos import Photos
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import open_regular
from tagwise.geometry import iou, to_xyxy
from tagwise.label_maps import label_map_instances
from tagwise.labels.skeletons import instance_sizes, relative_distances, repeated_labels
from tagwise.labels.split import look_alike, natural_key, video_of

_ENOUGH = 20  # instances from which a rule is derived
_SURE = 0.9  # share of the instances that must follow a rule
_PARALLEL = 0.97  # share of the instances in which the steps of two pairs must agree
_FAR, _BEYOND = 3.0, 2.0  # an outlier: times the usual distance, and times that of 90 % of the set
_SAME_BOX = 0.9  # IoU of two boxes of one object
_NEIGHBOURS = 2  # images before and after, whose counts are compared


def find_faults(dataset: Photos, least: float) -> list[Problem]:
    """List labels of a set that look wrong.

    least: instances with a longer side below this, in pixels of their image, are tiny.
    The problems that reading found are not repeated, see `Photos.report`.
    """
    faults = [*_same_images(dataset), *_counts(dataset), *_tiny(dataset, least)]
    if isinstance(dataset, CocoKeypoints):
        faults += [*swapped_sides(dataset), *outliers(dataset), *_repeated_poses(dataset)]
    elif isinstance(dataset, CocoBoxes):
        faults += _repeated_boxes(dataset)
    return faults


# ---------------------------------------------------------------------- keypoints


def _every(dataset: CocoKeypoints) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The keypoints (M, K, 3) of all instances, and for each its image and its number there."""
    each = [dataset.instances(index)[0] for index in range(len(dataset))]
    places = [(index, n) for index, found in enumerate(each) for n in range(len(found))]
    return np.concatenate(each).astype(np.float64), places


def swapped_sides(dataset: CocoKeypoints) -> Iterator[Problem]:
    """Instances whose left and right keypoint look swapped.

    The left side is compared with a line along the body, from one type without a side to another:
    if it lies on the same side of that line in 9 of 10 instances, the others are listed. This
    finds swaps in images from above. Then pairs are compared with one another: where the
    steps from left to right of two pairs agree in 97 % of the instances, as those of shoulders and
    hips, an instance in which they oppose is listed.
    """
    keypoints, places = _every(dataset)
    pairs = [(a, b) for a, b in enumerate(dataset.flip) if a < b]
    middle = [k for k, other in enumerate(dataset.flip) if k == other]
    listed: set[int] = set()
    for a, b in pairs:
        for wrong in _against_the_body(keypoints, (a, b), middle):
            if wrong not in listed:
                listed.add(wrong)
                yield _sides(dataset, places[wrong], [(a, b)])
    for one, other in combinations(pairs, 2):
        for wrong in _against_each_other(keypoints, one, other):
            if wrong not in listed:
                listed.add(wrong)
                yield _sides(dataset, places[wrong], [one, other])


def _sides(dataset: CocoKeypoints, place: tuple[int, int], pairs: Sequence) -> Problem:
    names = dataset.skeleton.keypoints
    what = " or ".join(f"{names[a]} and {names[b]}" for a, b in pairs)
    return _problem(dataset, place, "left and right may be swapped", what)


def _against_the_body(
    keypoints: np.ndarray, pair: tuple[int, int], middle: Sequence[int]
) -> np.ndarray:
    """Instances whose pair lies the other way round than usual along the most telling line."""
    best, wrong = _SURE, np.zeros(0, int)
    a, b = pair
    for m, n in combinations(middle, 2):
        have = np.flatnonzero((keypoints[:, [a, b, m, n], 2] > 0).all(1))
        if len(have) < _ENOUGH:
            continue
        xy = keypoints[have, :, :2]
        side = _cross(xy[:, n] - xy[:, m], xy[:, b] - xy[:, a])
        clear = np.abs(side) > 0.02 * instance_sizes(keypoints[have]) ** 2
        share = (side[clear] > 0).mean() if clear.any() else 0.5
        if max(share, 1 - share) > best:
            best = max(share, 1 - share)
            wrong = have[clear & ((side > 0) != (share > 0.5))]
    return wrong


def _against_each_other(
    keypoints: np.ndarray, one: tuple[int, int], other: tuple[int, int]
) -> np.ndarray:
    have = np.flatnonzero((keypoints[:, [*one, *other], 2] > 0).all(1))
    if len(have) < _ENOUGH:
        return have[:0]
    xy = keypoints[have, :, :2]
    first, second = xy[:, one[1]] - xy[:, one[0]], xy[:, other[1]] - xy[:, other[0]]
    size = instance_sizes(keypoints[have])
    clear = np.minimum(*(np.linalg.norm(each, axis=1) for each in (first, second))) > 0.15 * size
    agree = (first * second).sum(1) > 0
    opposed = (first * second).sum(1) < -0.5 * np.linalg.norm(first, axis=1) * np.linalg.norm(
        second, axis=1
    )
    if clear.sum() < _ENOUGH or agree[clear].mean() < _PARALLEL:
        return have[:0]
    return have[clear & opposed]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def outliers(dataset: CocoKeypoints) -> Iterator[Problem]:
    """Keypoints that are much farther from all the rest of their instance than usual.

    For every keypoint, the distances to the others of its instance are divided by the usual ones of
    these types (see `relative_distances`), and the smallest but one of these ratios is taken, which
    is large only if the keypoint itself is misplaced. A ratio above 3, and above twice that of 90 %
    of the keypoints of this type, is listed; at most one per instance.
    """
    keypoints, places = _every(dataset)
    distances, usual = relative_distances(keypoints)
    if len(keypoints) < _ENOUGH or keypoints.shape[1] < 3:
        return
    ratios = np.sort(distances / np.maximum(usual, 1e-9), axis=2)  # NaN last
    ratio = np.where((keypoints[..., 2] > 0).sum(1, keepdims=True) >= 3, ratios[:, :, 1], np.nan)
    for k in range(keypoints.shape[1]):
        have = np.isfinite(ratio[:, k])
        if have.any():
            ratio[have & (ratio[:, k] <= _BEYOND * np.quantile(ratio[have, k], 0.9)), k] = 0
    ratio = np.nan_to_num(ratio)
    for m in np.flatnonzero((ratio > _FAR).any(1)):
        k = int(ratio[m].argmax())
        detail = f"{dataset.skeleton.keypoints[k]}, {ratio[m, k]:.1f} times as far as usual"
        yield _problem(dataset, places[m], "keypoint far from its instance", detail)


def _repeated_poses(dataset: CocoKeypoints) -> Iterator[Problem]:
    for index in range(len(dataset)):
        ids = dataset.image_labels[index].ids
        for a, b in repeated_labels(dataset.instances(index)[0].astype(np.float64)):
            detail = f"like annotation {ids[a]}"
            yield _problem(dataset, (index, b), "instance is labelled twice", detail)


# ---------------------------------------------------------------------- boxes and images


def _repeated_boxes(dataset: CocoBoxes) -> Iterator[Problem]:
    for index, labels in enumerate(dataset.image_labels):
        boxes = to_xyxy(np.array(labels.boxes, float).reshape(-1, 4))
        for a, b in zip(*np.nonzero(np.triu(iou(boxes, boxes), 1) > _SAME_BOX)):
            same = labels.classes[a] == labels.classes[b]
            kind = "object is labelled twice" if same else "object has labels of two classes"
            yield _problem(dataset, (index, int(b)), kind, f"like annotation {labels.ids[a]}")


def _tiny(dataset: Photos, least: float) -> Iterator[Problem]:
    for index in range(len(dataset)):
        for n, box in enumerate(_boxes(dataset, index)):
            if max(box[2:]) < least:
                detail = f"{box[2]:.0f} × {box[3]:.0f} pixels"
                kind = "instance is too small for the network's input"
                yield _problem(dataset, (index, n), kind, detail)


def _counts(dataset: Photos) -> Iterator[Problem]:
    """Images with no instance, or with far fewer than the images before and after them."""
    counts = [len(_boxes(dataset, index)) for index in range(len(dataset))]
    files = [dataset.info(index).file for index in range(len(dataset))]
    are_frames = len(files) > 3 and look_alike(
        dataset, sorted(range(len(files)), key=lambda index: natural_key(files[index]))
    )
    videos: dict[str, list[int]] = defaultdict(list)
    for index in range(len(dataset)):
        videos[video_of(dataset.info(index).file)].append(index)
    for frames in videos.values():
        frames.sort(key=lambda index: natural_key(dataset.info(index).file))
        for place, index in enumerate(frames):
            near = frames[max(0, place - _NEIGHBOURS) : place]
            near += frames[place + 1 : place + 1 + _NEIGHBOURS]
            usual = float(np.median([counts[other] for other in near])) if near else 0.0
            if (
                are_frames
                and len(near) >= 3
                and usual - counts[index] >= 2
                and counts[index] <= usual / 2
            ):
                kind = "far fewer instances than the images before and after: are some unlabelled?"
                detail = f"{counts[index]} instances, {usual:g} there"
                yield _problem(dataset, (index, None), kind, detail)
            elif not counts[index]:
                yield _problem(dataset, (index, None), "image without a labelled instance", "")


def _boxes(dataset: Photos, index: int) -> np.ndarray:
    """The boxes (n, 4) of an image's instances."""
    if isinstance(dataset, LabelMaps):
        labels = dataset.label_map(index)
        return label_map_instances(labels, int(labels.max(initial=0)))[0]
    return np.array(dataset.image_labels[index].boxes, float).reshape(-1, 4)


def _same_images(dataset: Photos) -> Iterator[Problem]:
    """Images whose files are equal; if one of them is held out, validation is not honest."""
    first: dict[tuple[int, int], str] = {}
    for index in range(len(dataset)):
        try:
            with open_regular(dataset.path(index), "image") as file:
                content = file.read()
        except (UserError, OSError):
            continue
        key = (len(content), zlib.crc32(content))
        file_name = dataset.info(index).file
        if key in first and first[key] != file_name:
            kind = "image is the same as another one"
            yield _problem(dataset, (index, None), kind, f"like {first[key]}")
        first.setdefault(key, file_name)


def _problem(dataset: Photos, place: tuple[int, int | None], kind: str, detail: str) -> Problem:
    """A problem of an image or, if the place names one, of its instance."""
    index, n = place
    ids = getattr(dataset.image_labels[index], "ids", ())
    number = ids[n] if n is not None and n < len(ids) else n if n is None else n + 1
    return Problem(kind, dataset.info(index).file, dataset.ids[index], number, detail)
