"""Decoding of instances from heatmaps and tag maps: their keypoints have similar tags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tagwise.geometry import keypoint_boxes
from tagwise.grouping import published
from tagwise.grouping.fill import fill_missing
from tagwise.grouping.inputs import as_ids, as_numbers, check_images, check_type, read_map
from tagwise.grouping.kernels import groups as kernels
from tagwise.grouping.kernels import sweeps as sweep_kernels
from tagwise.grouping.keypoint_groups import BatchGroups, KeypointGroups
from tagwise.grouping.maps import Maps
from tagwise.grouping.peaks import Peaks, find_peaks
from tagwise.grouping.settings import GroupingSettings


def decode_keypoints(
    heatmaps: Maps,
    tags: Maps,
    settings: GroupingSettings | None = None,
    order: Sequence[int] | None = None,
    offsets: Maps | None = None,
) -> list[KeypointGroups]:
    """Decode the keypoints of every instance of every image from the maps of a network.

    heatmaps: (B, K, H, W), tensors of any float type and device, or arrays, in [0, 1].
    tags: (B, K * D, H, W), channel k * D + d.
    order: the order in which keypoint types are grouped (a skeleton has one); 0, 1, ... if None.
    offsets: (B, 2 * K, H, W) in cells, for settings.subcell "offset".

    Raises ValueError for shapes that do not match, and for an order that does not name each type
    once.
    """
    settings = check_type("settings", settings or GroupingSettings(), GroupingSettings)
    heatmaps, tags = read_map("heatmaps", heatmaps, "BKHW"), read_map("tags", tags, "BCHW")
    offsets = None if offsets is None else read_map("offsets", offsets, "BCHW")
    peaks = find_peaks(heatmaps, tags, settings, offsets)
    groups = decode_peaks(peaks, heatmaps, tags, settings, order, offsets)
    return groups.split(peaks.starts[:, 0])


def decode_peaks(
    peaks: Peaks,
    heatmaps: Maps | None,
    tags: Maps | None,
    settings: GroupingSettings,
    order: Sequence[int] | None = None,
    offsets: Maps | None = None,
) -> BatchGroups:
    """Group peaks and fill missing keypoints: `decode_keypoints` from the second step on.

    peaks: of `find_peaks` with the same maps and settings. The other arguments are those of
    `decode_keypoints`. Without filling, only peaks are needed.
    """
    groups = group_batch(peaks, settings, order)
    if settings.fill:
        groups = fill_missing(groups, heatmaps, tags, settings, peaks.block_maxima, offsets)
        if settings.score_filled:
            groups = replace(groups, scores=groups.keypoints[:, :, 2].mean(axis=1))
        groups = _best(groups, settings)
    return _scored_by_size(groups, settings)


def group_keypoints(
    peaks: Peaks, settings: GroupingSettings | None = None, order: Sequence[int] | None = None
) -> list[KeypointGroups]:
    """Group peaks by their tags, for each image, best first; no group has two peaks of a type.

    order: the order in which keypoint types are grouped, 0, 1, ... if None; settings.order takes
        precedence if it is set.

    settings.method "greedy" is Newell, Huang, Deng 2017, section 3.2. Each peak of the first type
    starts a group. The peaks of every next type are matched one-to-one with the groups, by the
    distance of a peak's tag from the group's mean tag. Peaks that are too far away start new
    groups.

    "sweeps" starts in the same way. Then it matches the peaks of each type again with the groups
    that all other peaks form, several times. A peak joins a group of n peaks if, in the cheapest
    one-to-one assignment,

        n / (n + 1) * tag distance^2 / (tag_threshold^2 + tag_tolerance * scatter)
        + min(2, n / (n + 1) * compactness * (distance from the group's centre / its extent)^2)
        < 4 n / (n + inertia K),

    and stays alone otherwise. A large group attracts peaks up to twice the threshold, a single peak
    only those very near, so that stray peaks start no instances. The gain of a peak is multiplied
    by score^score_power, so that the more confident of two peaks joins. Peaks below
    founder_threshold join groups but do not start them. The extent of a group is the root mean
    square distance of its peaks from their mean; its scatter is the mean square distance of its
    tags from their mean; both are weighted by score. A group of few peaks is assumed to have the
    extent of the image's median group and little scatter. Nothing is assumed about the skeleton.

    Raises ValueError if the order does not name each type once.
    """
    check_type("peaks", peaks, Peaks, ", which find_peaks returns")
    settings = check_type("settings", settings or GroupingSettings(), GroupingSettings)
    return group_batch(peaks, settings, order).split(peaks.starts[:, 0])


def group_batch(
    peaks: Peaks, settings: GroupingSettings, order: Sequence[int] | None
) -> BatchGroups:
    """`group_keypoints` for all images together."""
    types = peaks.starts.shape[1] - 1
    order = order if settings.order is None else settings.order
    order = np.arange(types) if order is None else as_ids("order", order)
    if order.ndim != 1 or sorted(order) != list(range(types)):
        raise ValueError(f"order {order.tolist()} does not name each of {types} types once")
    match = _match_by_sweeps if settings.method == "sweeps" else published.match
    return _best(_gather(peaks, *match(_typed_peaks(peaks), order, settings)), settings)


def _match_by_sweeps(
    peaks: kernels.TypedPeaks, order: np.ndarray, settings: GroupingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The group of each peak (P,) int64, -1 for none, and the number of groups of each image."""
    rules = _sweep_rules(settings, len(order), peaks.tags.shape[1])
    return sweep_kernels.match_by_sweeps(peaks, order, rules)


def _sweep_rules(settings: GroupingSettings, types: int, dims: int) -> sweep_kernels.SweepRules:
    threshold = settings.tag_threshold
    if settings.tag_norm == "rms":
        threshold *= math.sqrt(dims)
    return sweep_kernels.SweepRules(
        sweeps=settings.sweeps,
        threshold=threshold,
        tolerance=settings.tag_tolerance,
        compactness=settings.compactness,
        inertia=settings.inertia * types,
        score_power=settings.score_power,
        founder=settings.founder_threshold,
    )


def join_terms(
    peaks: Peaks, groups: KeypointGroups, peak: int, settings: GroupingSettings
) -> np.ndarray:
    """What decides whether a peak joins each group, with method "sweeps"; for explanations.

    peaks: of one image. groups: (N groups) of `group_keypoints`, before any is dropped. peak: its
    index. The peak itself is taken out of its group first.

    Returns (N, 4) float64: the l2 distance of the peak's tag from the group's mean tag; the cost of
    that distance; the cost of the distance in the image; the gain. The peak can join the group if
    the sum of the costs is below the gain, see `group_keypoints`.
    """
    typed, count = _typed_peaks(peaks), len(groups)
    group = np.full(len(typed.scores), -1, np.int64)
    n, k = np.nonzero(groups.peaks >= 0)
    group[groups.peaks[n, k]] = n
    rules = _sweep_rules(settings, groups.peaks.shape[1], typed.tags.shape[1])
    return sweep_kernels.join_terms(typed, group, count, peak, rules)


def _scored_by_size(groups: BatchGroups, settings: GroupingSettings) -> BatchGroups:
    """Lower the scores of small instances, see `GroupingSettings.small_side`."""
    if settings.small_side == 0:
        return groups
    side = keypoint_boxes(groups.keypoints)[:, 2:].max(axis=1, initial=0.0)
    factor = np.minimum(side / settings.small_side, 1.0) ** settings.small_power
    return _best(replace(groups, scores=groups.scores * factor), settings)


def _best(groups: BatchGroups, settings: GroupingSettings) -> BatchGroups:
    """Sort groups best first; remove low scores, duplicates and those beyond max_instances."""
    if not len(groups):
        return groups
    present = (groups.keypoints[:, :, 2] > 0).sum(axis=1)
    least = min(settings.min_keypoints, groups.keypoints.shape[1])
    good = (groups.scores >= settings.instance_threshold) & (present >= least)
    index = groups.best_first(groups.scores)
    index = index[good[index]]
    if settings.duplicate_similarity is not None and len(index) > 1:
        limit, keypoints = settings.duplicate_similarity, groups.keypoints[index]
        areas = keypoint_boxes(keypoints, 1.0)[:, 2:].prod(axis=1)
        sigmas = np.full(keypoints.shape[1], settings.duplicate_sigma)
        images = groups.images[index]
        index = index[~kernels.duplicates(images, keypoints, areas, sigmas, limit)]
    if len(index) > settings.max_instances:
        images = groups.images[index]
        rank = np.arange(len(index)) - np.searchsorted(images, images)  # in its image
        index = index[rank < settings.max_instances]
    # Groups that have been sorted before are often in order.
    return groups if np.array_equal(index, np.arange(len(groups))) else groups.take(index)


def _typed_peaks(peaks: Peaks) -> kernels.TypedPeaks:
    """Peaks in the form for the compiled loops."""
    return kernels.TypedPeaks(peaks.xy, peaks.tags, peaks.scores, peaks.starts)


def _gather(peaks: Peaks, group: np.ndarray, counts: np.ndarray) -> BatchGroups:
    """Create instances from the group of each peak.

    group: (P,) int64, -1 for none. Groups are numbered through the batch, image after image.
    counts: (B,), the number of groups of each image.
    """
    total, types = counts.sum(), peaks.starts.shape[1] - 1
    keypoints = np.full((total, types, 3), (np.nan, np.nan, 0), np.float32)
    tags = np.full((total, types, peaks.tags.shape[1]), np.nan, np.float32)
    members = np.full((total, types), -1)
    inside = np.flatnonzero(group >= 0)
    place = group[inside], peaks.types[inside]
    keypoints[place] = np.column_stack([peaks.xy, peaks.scores])[inside]
    tags[place], members[place] = peaks.tags[inside], inside
    images = np.repeat(np.arange(len(counts)), counts)
    return BatchGroups(keypoints, keypoints[:, :, 2].mean(axis=1), tags, members, images)


def group_by_truth(
    peaks: Peaks, truth: Sequence[np.ndarray], reach: float = 0.1, least: float = 3.0
) -> list[KeypointGroups]:
    """The result of perfect grouping: each true keypoint takes its nearest peak.

    For diagnosis: this separates errors of the tags from errors of the heatmaps.

    truth: for each image (N, K, 3), x and y in cells and visibility; 0 is unlabelled.
    reach: the largest distance of a peak, as a share of the square root of the instance's box area,
        but at least `least` cells. Each peak is used for one instance.
    Raises ValueError for shapes that do not match.
    """
    check_type("peaks", peaks, Peaks, ", which find_peaks returns")
    check_images("truth", truth, len(peaks.starts))
    groups, counts = [np.empty(0, np.int64)], []
    for image, people in enumerate(truth):
        people = as_numbers("truth", people)
        if people.shape[1:] != (peaks.starts.shape[1] - 1, 3):
            raise ValueError(
                f"truth must be (N, K, 3) for each image, with K = {peaks.starts.shape[1] - 1} as "
                f"in peaks, got {people.shape}"
            )
        typed = _typed_peaks(peaks).image(image)
        group = np.full(len(typed.scores), -1, np.int64)
        for k in range(people.shape[1]):
            part = slice(*typed.starts[k : k + 2])
            person, peak = _nearest(typed.xy[part], people, k, reach, least)
            group[part.start + peak] = person + sum(counts)
        groups.append(group)
        counts.append(len(people))
    found = _gather(peaks, np.concatenate(groups), np.array(counts, int))
    found = found.take((found.peaks >= 0).any(axis=1))
    return found.ranked(found.scores).split(peaks.starts[:, 0])


def _nearest(xy, people, k, reach, least):
    """One-to-one pairs (instances, peaks) of keypoint type k within reach, with the least sum."""
    from scipy.optimize import linear_sum_assignment

    labelled = people[:, :, 2] > 0
    size = np.sqrt(keypoint_boxes(people)[:, 2:].prod(axis=1))
    limit = np.maximum(reach * size, least)[:, None]
    distance = np.linalg.norm(people[:, None, k, :2] - xy[None], axis=2)
    allowed = labelled[:, k, None] & (distance <= limit)
    person, peak = linear_sum_assignment(np.where(allowed, distance, 1e6))
    keep = allowed[person, peak]
    return person[keep], peak[keep]
