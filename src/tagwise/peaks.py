"""From heatmaps to peaks: local maxima, the best of each type, and the tags found there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from tagwise import _kernels
from tagwise.grouping_settings import GroupingSettings


def cell_to_pixel(xy, stride: float):
    """Image pixels of map cells: (cell + .5) stride - .5, for any numbers, arrays or tensors.

    (0, 0) is the centre of the top-left pixel and of the top-left cell; sub-cell positions are
    fractions. Every other part of the program maps through here.

    >>> cell_to_pixel(0, 4)
    1.5
    """
    return (xy + 0.5) * stride - 0.5


def pixel_to_cell(xy, stride: float):
    """Map cells of image pixels, the inverse of `cell_to_pixel`.

    >>> pixel_to_cell(1.5, 4)
    0.0
    """
    return (xy + 0.5) / stride - 0.5


@dataclass(frozen=True)
class Peaks:
    """Peaks of a batch, ordered by image, keypoint type, falling score. Arrays live on the CPU.

    xy: (P, 2) float32, x and y in cells, sub-cell.
    cell: (P, 2) int64, x and y of the heatmap's largest cell.
    score: (P,) float32, the heatmap there.
    tag: (P, D) float32.
    starts: (B, K + 1) int64; peaks of type k in image b are starts[b, k] to starts[b, k + 1].
    block_maxima: (B, K, ceil(H / 16), ceil(W / 16)) float32 where the maps were on the CPU.
    """

    xy: np.ndarray
    cell: np.ndarray
    score: np.ndarray
    tag: np.ndarray
    starts: np.ndarray
    block_maxima: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    @property
    def kind(self) -> np.ndarray:
        """(P,) int64, the keypoint type of each peak."""
        images, kinds = self.starts.shape[0], self.starts.shape[1] - 1
        return np.repeat(np.tile(np.arange(kinds), images), np.diff(self.starts, axis=1).ravel())

    def image(self, index: int) -> Peaks:
        """The peaks of one image, as a batch of one."""
        first, last = self.starts[index, 0], self.starts[index, -1]
        part = slice(first, last)
        maxima = None if self.block_maxima is None else self.block_maxima[index : index + 1]
        starts = self.starts[index : index + 1] - first
        return Peaks(
            self.xy[part], self.cell[part], self.score[part], self.tag[part], starts, maxima
        )


@torch.no_grad()
def find_peaks(
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings | None = None,
    offsets: Tensor | None = None,
) -> Peaks:
    """Local maxima above the threshold, the top_k of each map, with the tags found there.

    heatmaps: (B, K, H, W), any float type and device, values in [0, 1].
    tags: (B, K * D, H, W), channel k * D + d.
    offsets: (B, 2 * K, H, W), x and y of the keypoint relative to the cell's centre, in cells.

    The maps are read on their own device; only what is found there reaches the CPU. Coordinates
    are in cells, to be mapped by `cell_to_pixel`. Peaks with a tag that is not finite are left out.

    >>> heatmaps = torch.zeros(1, 1, 8, 8)
    >>> heatmaps[0, 0, 2, 5] = 1
    >>> find_peaks(heatmaps, torch.ones(1, 1, 8, 8)).cell.tolist()
    [[5, 2]]
    """
    settings = settings or GroupingSettings()
    _check_maps(heatmaps, tags, offsets, settings)
    if heatmaps.device.type == "cpu":
        index, maxima = _scan_on_cpu(heatmaps, settings)
    else:
        index, maxima = _scan_on_device(heatmaps, settings)
    batch, kinds, height, width = heatmaps.shape
    maps = heatmaps.reshape(-1, height, width)
    if offsets is not None:
        offsets = offsets.reshape(-1, 2, height, width)
    place = torch.as_tensor(index, device=heatmaps.device)
    plane, cell = place // (height * width), place % (height * width)
    tag = _at(tags.reshape(batch * kinds, -1, height, width), plane, cell)
    index = index[np.isfinite(tag).all(axis=1)]
    tag = tag[np.isfinite(tag).all(axis=1)]
    xy, score = locate(maps, index, settings.subcell, offsets)
    cell = np.stack([index % width, index // width % height], axis=1)
    bounds = np.arange(batch)[:, None] * kinds + np.arange(kinds + 1)
    starts = np.searchsorted(index // (height * width), bounds)
    return Peaks(xy, cell, score, tag, starts, maxima)


def _check_maps(heatmaps, tags, offsets, settings) -> None:
    batch, kinds, height, width = heatmaps.shape
    fits = tags.ndim == 4 and tags.shape[0] == batch and tags.shape[2:] == heatmaps.shape[2:]
    if not fits or tags.shape[1] % kinds or not tags.shape[1]:
        raise ValueError(
            f"tags are {tuple(tags.shape)}; heatmaps {tuple(heatmaps.shape)} need "
            f"({batch}, {kinds} * D, {height}, {width})"
        )
    if offsets is not None and offsets.shape != (batch, 2 * kinds, height, width):
        raise ValueError(
            f"offsets are {tuple(offsets.shape)}, not ({batch}, {2 * kinds}, {height}, {width})"
        )
    if settings.subcell == "offset" and offsets is None:
        raise ValueError('subcell is "offset" but no offset maps are given')


def _scan_on_cpu(heatmaps: Tensor, settings: GroupingSettings):
    """Flat indices of the peaks into the heatmaps, in their order, and the block maxima."""
    batch, kinds, height, width = heatmaps.shape
    maps = heatmaps.detach().float().contiguous().numpy().reshape(-1, height, width)
    maxima = _kernels.block_maxima(maps)
    cells, counts = _kernels.scan_peaks(
        maps, maxima, settings.peak_threshold, settings.nms_window // 2, settings.top_k
    )
    found = np.arange(settings.top_k) < counts[:, None]
    index = (cells + np.arange(len(maps))[:, None] * (height * width))[found]
    return index, maxima.reshape(batch, kinds, *maxima.shape[1:])


def _scan_on_device(heatmaps: Tensor, settings: GroupingSettings):
    """The same with tensor operations. Cells of a plateau all count as peaks here."""
    batch, kinds, height, width = heatmaps.shape
    window = settings.nms_window
    highest = max_pool2d(heatmaps, window, stride=1, padding=window // 2)
    peaks = torch.where(heatmaps == highest, heatmaps, heatmaps.new_zeros(())).flatten(2)
    score, cell = peaks.topk(min(settings.top_k, height * width), dim=2)
    found = score > settings.peak_threshold
    base = torch.arange(batch * kinds, device=heatmaps.device).view(batch, kinds, 1)
    index = (cell + base * (height * width))[found]
    return index.cpu().numpy(), None


def _at(maps: Tensor, plane: Tensor, cell: Tensor) -> np.ndarray:
    """Values of maps (M, C, H, W) at cells of planes, (P, C) float32 on the CPU."""
    width = maps.shape[3]
    return maps[plane, :, cell // width, cell % width].float().cpu().numpy()


def _around(maps: Tensor, plane: Tensor, cell: Tensor) -> np.ndarray:
    """The 3 x 3 values around cells of maps (M, H, W), (P, 3, 3) float32; edges repeat."""
    height, width = maps.shape[1:]
    step = torch.arange(-1, 2, device=maps.device)
    rows = (cell[:, None] // width + step).clamp(0, height - 1)
    columns = (cell[:, None] % width + step).clamp(0, width - 1)
    return maps[plane[:, None, None], rows[:, :, None], columns[:, None, :]].float().cpu().numpy()


def locate(maps: Tensor, index: np.ndarray, how: str, offsets: Tensor | None = None):
    """Sub-cell positions of cells of maps, and the values there.

    maps: (M, H, W); index: (P,) int64 into the flat maps; how: as settings.subcell;
    offsets: (M, 2, H, W) in cells. Returns xy (P, 2) and values (P,), float32.
    """
    height, width = maps.shape[1:]
    place = torch.as_tensor(index, device=maps.device)
    plane, cell = place // (height * width), place % (height * width)
    around = _around(maps, plane, cell)
    xy = np.stack([index % width, index // width % height], axis=1).astype(np.float32)
    if how == "offset" or (how == "auto" and offsets is not None):
        return xy + _at(offsets, plane, cell), around[:, 1, 1]
    return xy + _subcell(around, how), around[:, 1, 1]


def _subcell(around: np.ndarray, how: str) -> np.ndarray:
    """Where in its cell a peak lies, (P, 2) as x and y, from (P, 3, 3) values around it."""
    before = np.stack([around[:, 1, 0], around[:, 0, 1]], axis=1)
    after = np.stack([around[:, 1, 2], around[:, 2, 1]], axis=1)
    if how == "quarter":
        return np.where(after > before, 0.25, -0.25).astype(np.float32)
    if how == "none":
        return np.zeros_like(before)
    tiny = 1e-6
    low, high = np.log(np.maximum(before, tiny)), np.log(np.maximum(after, tiny))
    centre = np.log(np.maximum(around[:, 1, 1], tiny))[:, None]
    curvature = 2 * centre - low - high
    shift = (high - low) / (2 * np.maximum(curvature, tiny))
    return np.where(curvature > tiny, np.clip(shift, -0.5, 0.5), 0).astype(np.float32)
