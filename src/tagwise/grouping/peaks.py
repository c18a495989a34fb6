"""From heatmaps to peaks: local maxima, the best of each type, and the tags found there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from tagwise.geometry import cell_to_pixel, pixel_to_cell
from tagwise.grouping.kernels import peaks as _kernels
from tagwise.grouping.settings import GroupingSettings

__all__ = ["Peaks", "cell_to_pixel", "find_peaks", "locate", "pixel_to_cell"]


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
    tag = _take_channels(tags, index, tags.shape[1] // kinds)
    finite = np.isfinite(tag).all(axis=1)
    if not finite.all():
        index, tag = index[finite], tag[finite]
    xy, score = locate(heatmaps, index, settings.subcell, offsets)
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
    radius, plateaus = settings.nms_window // 2, settings.plateaus == "all"
    cells, counts = _kernels.scan_peaks(
        maps, maxima, settings.peak_threshold, radius, settings.top_k, plateaus
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


def locate(
    heatmaps: Tensor,
    index: np.ndarray,
    how: str,
    offsets: Tensor | None = None,
    lowest: int | None = None,
):
    """Sub-cell positions of cells of heatmaps, and the values there.

    heatmaps: (..., K, H, W); index: (P,) int64 into them, flat; how: as settings.subcell;
    offsets: (..., 2 * K, H, W) in cells; lowest: the last row in which a neighbour below is looked
    for, the map's last if None. Returns xy (P, 2) and values (P,), float32.
    """
    height, width = heatmaps.shape[-2:]
    xy = np.empty((len(index), 2), np.float32)
    xy[:, 0], xy[:, 1] = index % width, index // width % height
    if how == "none":
        return xy, _take(heatmaps, index)
    if how == "offset" or (how == "auto" and offsets is not None):
        return xy + _take_channels(offsets, index, 2), _take(heatmaps, index)
    lowest = height - 1 if lowest is None else lowest
    values = _take(heatmaps, _kernels.neighbours(index, height, width, lowest))
    if how == "inner_quarter":
        return xy + _inner_quarter(values, xy, (width, height)), values[0]
    shift = _kernels.quarter_shift if how == "quarter" else _kernels.parabola_shift
    return xy + shift(values), values[0]


def _inner_quarter(values: np.ndarray, xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(P, 2), a quarter cell towards the larger of two neighbours, as "inner_quarter" has it.

    values: (5, P) at `neighbours`; xy: (P, 2) cells; size: width and height of the maps.
    """
    inside = (xy > 1) & (xy < np.array(size) - 1) & (xy[:, ::-1] > 0)
    return np.float32(0.25) * np.sign(values[3:] - values[1:3]).T * inside


def _take(maps: Tensor, index: np.ndarray) -> np.ndarray:
    """Values of maps at flat indices, float32 on the CPU."""
    return maps.take(torch.as_tensor(index, device=maps.device)).float().cpu().numpy()


def _take_channels(maps: Tensor, index: np.ndarray, channels: int) -> np.ndarray:
    """(P, channels) values of maps (..., K * channels, H, W), at indices into (..., K, H, W)."""
    area = maps.shape[-2] * maps.shape[-1]
    first = index // area * (channels * area) + index % area
    return _take(maps, first[:, None] + np.arange(channels) * area)
