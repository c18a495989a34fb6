"""From corner maps to boxes: top-left and bottom-right corners of one object have like tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import max_pool2d

from tagwise import _corner_kernels, _kernels
from tagwise.corner_settings import CORNER_PRESETS, CornerSettings

__all__ = [
    "CORNER_PRESETS",
    "CornerBoxes",
    "CornerPeaks",
    "CornerSettings",
    "decode_corners",
    "find_corners",
    "pair_by_truth",
    "pair_corners",
]


@dataclass(frozen=True)
class CornerPeaks:
    """Corners of a batch, ordered by image, kind (top-left first), falling score; on the CPU.

    xy: (P, 2) float32, x and y in cells: the cell's index plus the offset, so that whole numbers
        are the edges of cells.
    cell: (P, 2) int64, x and y of the heatmap's largest cell.
    score: (P,) float32, the heatmap there.
    classes: (P,) int64.
    tag: (P, D) float32.
    starts: (B, 3) int64; the top-left corners of image b are starts[b, 0] to starts[b, 1], the
        bottom-right ones follow to starts[b, 2].
    """

    xy: np.ndarray
    cell: np.ndarray
    score: np.ndarray
    classes: np.ndarray
    tag: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def image(self, index: int) -> CornerPeaks:
        """The corners of one image, as a batch of one."""
        first, _, last = self.starts[index]
        part = slice(first, last)
        return CornerPeaks(
            self.xy[part],
            self.cell[part],
            self.score[part],
            self.classes[part],
            self.tag[part],
            self.starts[index : index + 1] - first,
        )


@dataclass(frozen=True)
class CornerBoxes:
    """The boxes of one image, best first.

    boxes: (N, 4) float32, x1, y1, x2, y2 in cells; whole numbers are the edges of cells.
    scores: (N,) float32 in [0, 1].
    classes: (N,) int64.
    corner_scores: (N, 2) float32, the heatmaps at the top-left and bottom-right corner.
    tags: (N, 2, D) float32.
    corner: (N, 2) int64, which of the image's corners a box has.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    corner_scores: np.ndarray
    tags: np.ndarray
    corner: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index) -> CornerBoxes:
        """The boxes of an index array or mask, in its order."""
        return CornerBoxes(
            self.boxes[index],
            self.scores[index],
            self.classes[index],
            self.corner_scores[index],
            self.tags[index],
            self.corner[index],
        )


def decode_corners(
    tl_heat: Tensor,
    br_heat: Tensor,
    tl_tag: Tensor,
    br_tag: Tensor,
    tl_off: Tensor | None = None,
    br_off: Tensor | None = None,
    settings: CornerSettings | None = None,
) -> list[CornerBoxes]:
    """The boxes of every object of every image, from a network's maps.

    tl_heat, br_heat: (B, C, H, W), any float type and device, values in [0, 1].
    tl_tag, br_tag: (B, D, H, W).
    tl_off, br_off: (B, 2, H, W), x and y of the corner within its cell, in cells; None: 0.

    >>> tl, br, tag = torch.zeros(3, 1, 1, 8, 8)
    >>> tl[0, 0, 1, 2] = br[0, 0, 6, 5] = 0.9
    >>> decode_corners(tl, br, tag, tag)[0].boxes.tolist()
    [[2.0, 1.0, 5.0, 6.0]]
    """
    settings = settings or CornerSettings()
    peaks = find_corners(tl_heat, br_heat, tl_tag, br_tag, tl_off, br_off, settings)
    return pair_corners(peaks, settings)


@torch.no_grad()
def find_corners(
    tl_heat: Tensor,
    br_heat: Tensor,
    tl_tag: Tensor,
    br_tag: Tensor,
    tl_off: Tensor | None = None,
    br_off: Tensor | None = None,
    settings: CornerSettings | None = None,
) -> CornerPeaks:
    """Local maxima above the threshold, the top_k of each kind, with tags and offsets found there.

    The maps are those of `decode_corners`. They are read on their own device; only what is found
    there reaches the CPU. Corners with a tag or offset that is not finite are left out.
    """
    settings = settings or CornerSettings()
    kinds = []
    for heat, tag, off in ((tl_heat, tl_tag, tl_off), (br_heat, br_tag, br_off)):
        _check_maps(heat, tag, off)
        kinds.append(_corners_of_a_kind(heat, tag, off, settings))
    image, kind = (
        np.concatenate(parts)
        for parts in zip(*((found[0], np.full(len(found[0]), k)) for k, found in enumerate(kinds)))
    )
    order = np.lexsort((kind, image))
    fields = [np.concatenate(parts)[order] for parts in zip(*(found[1:] for found in kinds))]
    batch = np.arange(len(tl_heat))
    starts = np.searchsorted((2 * image + kind)[order], 2 * batch[:, None] + np.arange(3))
    return CornerPeaks(*fields, starts)


def _check_maps(heat, tag, off) -> None:
    batch, _, height, width = heat.shape
    if tag.ndim != 4 or tag.shape[0] != batch or tag.shape[2:] != heat.shape[2:]:
        raise ValueError(
            f"tags are {tuple(tag.shape)}; heatmaps {tuple(heat.shape)} need "
            f"({batch}, D, {height}, {width})"
        )
    if off is not None and off.shape != (batch, 2, height, width):
        raise ValueError(f"offsets are {tuple(off.shape)}, not ({batch}, 2, {height}, {width})")


def _corners_of_a_kind(heat, tag, off, settings):
    """Image (P,), then xy, cell, score, class and tag of the corners that one heatmap shows."""
    scan = _scan_on_cpu if heat.device.type == "cpu" else _scan_on_device
    image, index = scan(heat, settings)
    classes, y, x = np.unravel_index(index, heat.shape[1:])
    score = _at(heat[:, :, None], image, classes, y, x)[:, 0]
    cell = np.stack([x, y], axis=1)
    tags = _at(tag[:, None], image, 0 * y, y, x)
    xy = cell.astype(np.float32)
    if off is not None:
        xy += _at(off[:, None], image, 0 * y, y, x)
    finite = np.isfinite(tags).all(axis=1) & np.isfinite(xy).all(axis=1) & np.isfinite(score)
    return [values[finite] for values in (image, xy, cell, score, classes, tags)]


def _at(maps, image, group, y, x) -> np.ndarray:
    """(P, D) float32, on the CPU: maps (B, G, D, H, W) at the cells."""
    index = [torch.as_tensor(i, device=maps.device) for i in (image, group, y, x)]
    return maps[index[0], index[1], :, index[2], index[3]].float().cpu().numpy()


def _scan_on_cpu(heat: Tensor, settings: CornerSettings):
    """Image (P,) and flat index into (C, H, W) of each image's corners, best first."""
    batch = len(heat)
    maps = heat.detach().float().contiguous().numpy()
    found = []
    for image in range(batch):
        maxima = _kernels.block_maxima(maps[image])
        blocks = np.flatnonzero(maxima > settings.corner_threshold)
        blocks = blocks[np.argsort(-maxima.ravel()[blocks], kind="stable")]
        found.append(
            _corner_kernels.best_peaks(
                maps[image],
                maxima,
                blocks,
                settings.nms_window // 2,
                settings.corner_threshold,
                settings.top_k,
            )
        )
    return np.repeat(np.arange(batch), [len(f) for f in found]), np.concatenate(found)


def _scan_on_device(heat: Tensor, settings: CornerSettings):
    """The same with tensor operations. Cells of a plateau all count as peaks here."""
    window = settings.nms_window
    highest = max_pool2d(heat, window, stride=1, padding=window // 2)
    peaks = torch.where(heat == highest, heat, heat.new_zeros(())).flatten(1)
    score, index = peaks.topk(min(settings.top_k, peaks.shape[1]), dim=1)
    image, rank = (score > settings.corner_threshold).nonzero(as_tuple=True)
    return image.cpu().numpy(), index[image, rank].cpu().numpy()


def pair_corners(peaks: CornerPeaks, settings: CornerSettings | None = None) -> list[CornerBoxes]:
    """Boxes of each image, best first, from corners with tags."""
    settings = settings or CornerSettings()
    pair = _one_to_one if settings.pairing == "one_to_one" else _all_pairs
    out = []
    for image in range(len(peaks.starts)):
        found = peaks.image(image)
        pairs, squares = _corner_kernels.candidate_pairs(
            found.xy,
            found.classes,
            found.tag,
            found.starts[0, 1],
            settings.tag_threshold,
            settings.tag_growth,
            settings.min_side,
        )
        out.append(_best(boxes_of(found, *pair(found, pairs, squares, settings)), settings))
    return out


def _all_pairs(peaks: CornerPeaks, pairs, squares, settings):
    return pairs, peaks.score[pairs].mean(axis=1)


def _one_to_one(peaks: CornerPeaks, pairs, squares, settings):
    if not len(pairs):
        return pairs, np.zeros(0, np.float32)
    scores = peaks.score[pairs]
    certain = np.clip(scores, 1e-3, 1 - 1e-3).astype(np.float64)
    share = _corner_kernels.shares(
        pairs,
        squares,
        peaks.xy[pairs[:, 1]] - peaks.xy[pairs[:, 0]],
        np.unique(peaks.classes[pairs[:, 0]], return_inverse=True)[1],
        np.log(certain / (1 - certain)).sum(axis=1),
        peaks.tag.shape[1],
        settings.tag_threshold,
        settings.tag_spread,
        settings.size_weight,
    )
    kept = _best_pairing(pairs, share)
    return pairs[kept], np.sqrt(scores[kept].prod(axis=1)) * share[kept] ** settings.share_power


def _best_pairing(pairs: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Which pairs (E, 2) have the largest sum of shares (E,) if no corner serves twice."""
    first, row = np.unique(pairs[:, 0], return_inverse=True)
    second, column = np.unique(pairs[:, 1], return_inverse=True)
    table = np.zeros((len(first), len(second)))
    table[row, column] = share
    number = np.full(table.shape, -1)
    number[row, column] = np.arange(len(pairs))
    chosen = number[linear_sum_assignment(table, maximize=True)]
    return chosen[chosen >= 0]


def boxes_of(peaks: CornerPeaks, pairs: np.ndarray, scores: np.ndarray) -> CornerBoxes:
    """Boxes of one image from pairs (N, 2) of its corners with scores (N,)."""
    return CornerBoxes(
        peaks.xy[pairs].reshape(-1, 4),
        scores.astype(np.float32),
        peaks.classes[pairs[:, 0]],
        peaks.score[pairs],
        peaks.tag[pairs],
        pairs,
    )


def _best(boxes: CornerBoxes, settings: CornerSettings) -> CornerBoxes:
    """Best first, without what is too poor or beyond the number allowed."""
    index = np.argsort(-boxes.scores, kind="stable")
    index = index[boxes.scores[index] >= settings.box_threshold]
    return boxes.take(index[: settings.max_boxes])


def pair_by_truth(
    peaks: CornerPeaks,
    boxes: Sequence[np.ndarray],
    classes: Sequence[np.ndarray],
    reach: float = 0.1,
    least: float = 1.5,
) -> list[CornerBoxes]:
    """What perfect pairing would make of the corners: each true corner takes its nearest peak.

    For diagnosis: it separates faults of the tags from faults of the heatmaps.

    boxes: for each image (N, 4), x1, y1, x2, y2 in cells; classes: for each image (N,).
    reach: a peak counts within this share of the square root of the box's area, and within
        `least` cells in any case. Each peak serves one box; both corners must be found.
    """
    out = []
    for image, (truth, names) in enumerate(zip(boxes, classes)):
        found = peaks.image(image)
        middle = found.starts[0, 1]
        truth = np.asarray(truth, np.float64).reshape(-1, 4)
        size = np.sqrt(np.prod(np.maximum(truth[:, 2:] - truth[:, :2], 0), axis=1))
        limit = np.maximum(reach * size, least)
        pairs = np.full((len(truth), 2), -1)
        for kind, part in enumerate((slice(0, middle), slice(middle, len(found)))):
            distance = np.linalg.norm(
                truth[:, None, 2 * kind : 2 * kind + 2] - found.xy[None, part], axis=2
            )
            allowed = (distance <= limit[:, None]) & (
                np.asarray(names)[:, None] == found.classes[None, part]
            )
            box, peak = linear_sum_assignment(np.where(allowed, distance, 1e6))
            kept = allowed[box, peak]
            pairs[box[kept], kind] = peak[kept] + part.start
        pairs = pairs[(pairs >= 0).all(axis=1)]
        paired = boxes_of(found, pairs, np.sqrt(found.score[pairs].prod(axis=1)))
        out.append(paired.take(np.argsort(-paired.scores, kind="stable")))
    return out
