"""From detections and their tags to groups: what belongs together has like tags.

Keypoints of heatmaps are grouped here; `decode_corners` makes boxes of corners; `group_by_type`,
`group_pairs`, `group_by_reference`, `group_by_seed` and `group_connected` group points of any kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tagwise.geometry import keypoint_boxes
from tagwise.grouping.fill import fill_missing
from tagwise.grouping.kernels import matching as _matching
from tagwise.grouping.kernels import sweeps as _sweeps
from tagwise.grouping.keypoint_groups import KeypointGroups
from tagwise.grouping.peaks import Peaks, find_peaks
from tagwise.grouping.settings import GroupingSettings


def decode_keypoints(
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings | None = None,
    order: Sequence[int] | None = None,
    offsets: Tensor | None = None,
) -> list[KeypointGroups]:
    """The keypoints of every instance of every image, from a network's maps.

    heatmaps: (B, K, H, W), any float type and device, values in [0, 1].
    tags: (B, K * D, H, W), channel k * D + d.
    order: keypoint types in the order to group them (a skeleton has one); 0, 1, ... if None.
    offsets: (B, 2 * K, H, W) in cells, for settings.subcell "offset".
    """
    settings = settings or GroupingSettings()
    peaks = find_peaks(heatmaps, tags, settings, offsets)
    groups = group_keypoints(peaks, settings, order)
    if not settings.fill:
        return groups
    filled = []
    for image, group in enumerate(groups):
        maxima = None if peaks.block_maxima is None else peaks.block_maxima[image]
        offset = None if offsets is None else offsets[image]
        group = fill_missing(group, heatmaps[image], tags[image], settings, maxima, offset)
        if settings.score_filled:
            group = replace(group, scores=group.keypoints[:, :, 2].mean(axis=1))
        filled.append(_best(group, settings))
    return filled


def group_keypoints(
    peaks: Peaks, settings: GroupingSettings | None = None, order: Sequence[int] | None = None
) -> list[KeypointGroups]:
    """Groups of each image, best first, from peaks with tags; no group has two peaks of a type.

    order: keypoint types in the order to group them, 0, 1, ... if None; settings.order, where there
        is one, comes before it.

    settings.method "greedy" is Newell, Huang, Deng 2017, section 3.2: the first type's peaks start
    a group each; every next type's peaks are matched one-to-one with the groups by the distance of
    a peak's tag from the group's mean tag, and start new groups where that is too far.

    "sweeps" starts likewise, then deals each type's peaks anew among the groups that all other
    peaks form, several times over. A peak joins a group of n where, in the cheapest one-to-one
    assignment,

        n / (n + 1) * tag distance^2 / (tag_threshold^2 + tag_tolerance * scatter)
        + min(2, n / (n + 1) * compactness * (distance from the group's centre / its extent)^2)
        < 4 n / (n + inertia K),

    and stays alone otherwise: a large group attracts from twice the threshold, a single peak only
    what is very near, so stray peaks found no instances. What a peak saves by joining counts times
    its score^score_power, so that of two peaks for one place the surer gets it; peaks below
    founder_threshold join groups but start none. Extent and scatter are root mean square
    and mean square distances of a group's peaks and tags from their means, weighted by score; a
    group of few peaks is taken to extend like the image's median group and to scatter little.
    Nothing about the skeleton is assumed.
    """
    settings = settings or GroupingSettings()
    kinds = peaks.starts.shape[1] - 1
    order = order if settings.order is None else settings.order
    order = np.arange(kinds) if order is None else np.asarray(order, np.int64)
    if sorted(order) != list(range(kinds)):
        raise ValueError(f"order {order.tolist()} does not name each of {kinds} types once")
    group = _by_sweeps if settings.method == "sweeps" else _greedily
    out = []
    for image in range(len(peaks.starts)):
        found = peaks.image(image)
        of_peak, count = group(found, settings, order)
        if settings.group_limit is not None and count > settings.group_limit:
            count = settings.group_limit
            of_peak = np.where(of_peak < count, of_peak, -1)
        out.append(_best(groups_of(found, of_peak, count), settings))
    return out


def _greedily(peaks: Peaks, settings: GroupingSettings, order: np.ndarray):
    limit = len(peaks) + 1 if settings.match_limit is None else settings.match_limit
    return _matching.match_by_type(
        peaks.tag,
        peaks.score,
        peaks.starts[0],
        order,
        settings.tag_threshold,
        settings.tag_norm == "rms",
        settings.round_tags,
        settings.use_score,
        limit,
        settings.stop_when_full,
        settings.join_equal,
    )


def _by_sweeps(peaks: Peaks, settings: GroupingSettings, order: np.ndarray):
    unit = settings.tag_threshold
    if settings.tag_norm == "rms":
        unit *= np.sqrt(peaks.tag.shape[1])
    return _sweeps.match_by_sweeps(
        peaks.tag,
        peaks.xy,
        peaks.score,
        peaks.starts[0],
        order,
        settings.sweeps,
        unit,
        settings.tag_tolerance,
        settings.compactness,
        settings.inertia * len(order),
        settings.score_power,
        settings.founder_threshold,
    )


def _best(groups: KeypointGroups, settings: GroupingSettings) -> KeypointGroups:
    """Best first, without what is too poor, double, or beyond the number allowed."""
    found = (groups.keypoints[:, :, 2] > 0).sum(axis=1)
    least = min(settings.min_keypoints, groups.keypoints.shape[1])
    good = (groups.scores >= settings.instance_threshold) & (found >= least)
    index = np.argsort(-groups.scores, kind="stable")
    index = index[good[index]]
    if settings.duplicate_similarity is not None:
        sigma, limit = settings.duplicate_sigma, settings.duplicate_similarity
        index = index[~_matching.doubles(groups.keypoints[index], sigma, limit)]
    return groups.take(index[: settings.max_instances])


def groups_of(peaks: Peaks, group: np.ndarray, count: int) -> KeypointGroups:
    """Instances from the group of each peak of one image, (P,) int, -1 for none."""
    keypoints, tags, peak = _matching.gather_groups(
        group, count, peaks.starts[0], peaks.xy, peaks.score, peaks.tag
    )
    return KeypointGroups(keypoints, keypoints[:, :, 2].mean(axis=1), tags, peak)


def group_by_truth(
    peaks: Peaks, truth: Sequence[np.ndarray], reach: float = 0.1, least: float = 3.0
) -> list[KeypointGroups]:
    """What perfect grouping would make of the peaks: each true keypoint takes its nearest peak.

    For diagnosis: it separates faults of the tags from faults of the heatmaps.

    truth: for each image (N, K, 3), x and y in cells and visibility; 0 is unlabelled.
    reach: a peak counts within this share of the square root of the instance's box area, and
        within `least` cells in any case. Each peak serves one instance.
    """
    out = []
    for image, people in enumerate(truth):
        found = peaks.image(image)
        group = np.full(len(found), -1, np.int64)
        for kind in range(people.shape[1]):
            here = slice(*found.starts[0, kind : kind + 2])
            person, peak = _nearest(found.xy[here], people, kind, reach, least)
            group[here.start + peak] = person
        groups = groups_of(found, group, len(people))
        groups = groups.take((groups.peak >= 0).any(axis=1))
        out.append(groups.take(np.argsort(-groups.scores, kind="stable")))
    return out


def _nearest(xy, people, kind, reach, least):
    """One-to-one pairs (instances, peaks) of one keypoint type, nearest in sum, within reach."""
    there = people[:, :, 2] > 0
    size = np.sqrt(keypoint_boxes(people)[:, 2:].prod(axis=1))
    limit = np.maximum(reach * size, least)[:, None]
    distance = np.linalg.norm(people[:, None, kind, :2] - xy[None], axis=2)
    allowed = there[:, kind, None] & (distance <= limit)
    person, peak = linear_sum_assignment(np.where(allowed, distance, 1e6))
    keep = allowed[person, peak]
    return person[keep], peak[keep]
