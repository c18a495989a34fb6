"""Steps of published decoders that replace those of tagwise, by `PublishedRules`.

A function that replaces another has the same contract.
"""

from __future__ import annotations

import numpy as np

from tagwise.grouping import subcell
from tagwise.grouping.kernels import peaks as peak_kernels
from tagwise.grouping.kernels import published as kernels
from tagwise.grouping.kernels.groups import TypedPeaks
from tagwise.grouping.maps import Maps, take
from tagwise.grouping.settings import GroupingSettings, PublishedRules

# This scales heatmaps down so much that a smaller rounded distance outweighs any difference in
# them. A power of 2 keeps their values exact.
_TAG_FIRST = 1 / 128


def locate(
    heatmaps: Maps,
    index: np.ndarray,
    settings: GroupingSettings,
    offsets: Maps | None = None,
    last_row: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace `subcell.locate`: shift by a quarter cell towards the larger neighbour.

    Without a rule for this, calls `subcell.locate`.

    last_row: the last row that has a neighbour below it; None: the last row of the map.
    """
    rule = settings.published.subcell
    if rule is None:
        return subcell.locate(heatmaps, index, settings, offsets)
    height, width = heatmaps.shape[-2:]
    xy = subcell.cell_centres(index, height, width)
    cells = peak_kernels.neighbours(index, height, width)
    if last_row is not None:
        row = index // width % height
        cells[4] = index + width * (np.minimum(row + 1, last_row) - row)
    values = take(heatmaps, cells)
    if rule == "quarter":
        return xy + kernels.quarter_shift(values), values[0]
    inside = (xy > 1) & (xy < np.array([width, height]) - 1)
    inside = inside & (inside[:, ::-1] if rule == "inside_quarter" else xy[:, ::-1] > 0)
    return xy + np.float32(0.25) * np.sign(values[3:] - values[1:3]).T * inside, values[0]


def match(
    peaks: TypedPeaks, order: np.ndarray, settings: GroupingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Match each keypoint type once, greedily: Newell, Huang, Deng 2017, section 3.2.

    order: (K,) int64. Returns the group of each peak (P,) int64, -1 for none, and the number of
    groups of each image (B,). Groups are numbered through the batch.
    """
    groups, counts = [np.empty(0, np.int64)], np.zeros(len(peaks.starts), np.int64)
    for image in range(len(counts)):
        group, count = _match_image(peaks.image(image), order, settings)
        groups.append(np.where(group >= 0, group + counts.sum(), -1))
        counts[image] = count
    return np.concatenate(groups), counts


def _match_image(
    peaks: TypedPeaks, order: np.ndarray, settings: GroupingSettings
) -> tuple[np.ndarray, int]:
    rules = settings.published or PublishedRules()
    matching = kernels.MatchRules(
        threshold=settings.tag_threshold,
        rms=settings.tag_norm == "rms",
        round_tags=rules.round_tags,
        use_score=rules.use_score,
        near_first=rules.near_first,
        limit=rules.match_limit or len(peaks.scores) + 1,
        stop_when_full=rules.stop_when_full,
        join_equal=rules.join_equal,
    )
    group, count = kernels.match_by_type(peaks, order, matching)
    kept = min(count, rules.group_limit or count)
    return np.where(group < kept, group, -1), kept


def heatmap_scale(settings: GroupingSettings) -> float:
    """The factor of heatmaps in the value that fill maximises, heatmap - round(distance).

    For fill_order "tag", the value is then largest where the rounded distance is smallest and,
    among cells with an equal distance, where the heatmap is largest.
    """
    rules = settings.published
    return _TAG_FIRST if rules and rules.fill_order == "tag" else 1.0


def place_filled(
    heatmaps: Maps,
    index: np.ndarray,
    settings: GroupingSettings,
    offsets: Maps | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace `subcell.locate` for filled keypoints: positions (P, 2) and scores (P,)."""
    rules = settings.published
    types, height, width = heatmaps.shape[-3:]
    if rules.fill_place == "corner":
        xy = subcell.cell_centres(index, height, width) - np.float32(0.5)
        scores = take(heatmaps, index)
    else:
        last_row = min(height, types) - 1 if rules.fill_below == "types" else None
        xy, scores = locate(heatmaps, index, settings, offsets, last_row)
    if rules.fill_floor is not None:
        scores = np.maximum(scores, np.float32(rules.fill_floor))
    if rules.fill_score == "one":
        scores = np.where(scores > 0, np.float32(1), scores)
    return xy, scores
