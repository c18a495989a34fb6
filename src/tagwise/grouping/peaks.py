"""Finding the peaks of heatmaps: the best local maxima of each type, with their tags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagwise.geometry import cell_to_pixel, pixel_to_cell
from tagwise.grouping import published, subcell
from tagwise.grouping.inputs import check_type, read_map
from tagwise.grouping.kernels import peaks as kernels
from tagwise.grouping.kernels import published as published_kernels
from tagwise.grouping.maps import Maps, as_array, on_host, take_channels
from tagwise.grouping.settings import GroupingSettings

__all__ = ["Peaks", "cell_to_pixel", "find_peaks", "pixel_to_cell"]


@dataclass(frozen=True)
class Peaks:
    """Peaks of a batch, sorted by image, keypoint type, falling score. Arrays are on the CPU.

    xy: (P, 2) float32, x and y in cells, sub-cell.
    cells: (P, 2) int64, x and y of the cell with the local maximum.
    scores: (P,) float32, the heatmap value.
    tags: (P, D) float32.
    starts: (B, K + 1) int64; peaks of type k in image b are starts[b, k] to starts[b, k + 1].
    block_maxima: (B, K, ceil(H / 16), ceil(W / 16)) float32 if the maps were on the CPU.
    """

    xy: np.ndarray
    cells: np.ndarray
    scores: np.ndarray
    tags: np.ndarray
    starts: np.ndarray
    block_maxima: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def types(self) -> np.ndarray:
        """(P,) int64, the keypoint type of each peak."""
        images, types = self.starts.shape[0], self.starts.shape[1] - 1
        return np.repeat(np.tile(np.arange(types), images), np.diff(self.starts, axis=1).ravel())

    def image(self, index: int) -> Peaks:
        """The peaks of one image, as a batch of one."""
        first, last = self.starts[index, 0], self.starts[index, -1]
        part = slice(first, last)
        maxima = None if self.block_maxima is None else self.block_maxima[index : index + 1]
        starts = self.starts[index : index + 1] - first
        return Peaks(
            self.xy[part], self.cells[part], self.scores[part], self.tags[part], starts, maxima
        )


def find_peaks(
    heatmaps: Maps,
    tags: Maps,
    settings: GroupingSettings | None = None,
    offsets: Maps | None = None,
) -> Peaks:
    """Find local maxima above the threshold, the top_k of each map, with their tags.

    heatmaps: (B, K, H, W), tensors of any float type and device, or arrays, in [0, 1].
    tags: (B, K * D, H, W), channel k * D + d.
    offsets: (B, 2 * K, H, W), x and y of the keypoint relative to the cell's centre, in cells.

    The maps are read on their own device; only the peaks are copied to the CPU. Coordinates are in
    cells; `cell_to_pixel` converts them. Peaks with a tag that is not finite are left out.

    >>> heatmaps = np.zeros((1, 1, 8, 8))
    >>> heatmaps[0, 0, 2, 5] = 1
    >>> find_peaks(heatmaps, np.ones((1, 1, 8, 8))).cells.tolist()
    [[5, 2]]
    """
    settings = check_type("settings", settings or GroupingSettings(), GroupingSettings)
    heatmaps, tags = read_map("heatmaps", heatmaps, "BKHW"), read_map("tags", tags, "BCHW")
    offsets = None if offsets is None else read_map("offsets", offsets, "BCHW")
    _check_maps(heatmaps, tags, offsets, settings)
    if on_host(heatmaps):
        index, maxima = _scan_on_cpu(heatmaps, settings)
    else:
        index, maxima = _scan_on_device(heatmaps, settings)
    batch, types, height, width = heatmaps.shape
    peak_tags = take_channels(tags, index, tags.shape[1] // types)
    finite = np.isfinite(peak_tags).all(axis=1)
    if not finite.all():
        index, peak_tags = index[finite], peak_tags[finite]
    locate = published.locate if settings.published else subcell.locate
    xy, scores = locate(heatmaps, index, settings, offsets)
    cells = np.stack([index % width, index // width % height], axis=1)
    bounds = np.arange(batch)[:, None] * types + np.arange(types + 1)
    starts = np.searchsorted(index // (height * width), bounds)
    return Peaks(xy, cells, scores, peak_tags, starts, maxima)


def _check_maps(heatmaps, tags, offsets, settings) -> None:
    batch, types, height, width = heatmaps.shape
    fits = tags.ndim == 4 and tags.shape[0] == batch and tags.shape[2:] == heatmaps.shape[2:]
    if not fits or not types or tags.shape[1] % types or not tags.shape[1]:
        raise ValueError(
            f"tags are {tuple(tags.shape)}; heatmaps {tuple(heatmaps.shape)} need "
            f"({batch}, {types} * D, {height}, {width})"
        )
    if offsets is not None and offsets.shape != (batch, 2 * types, height, width):
        raise ValueError(
            f"offsets are {tuple(offsets.shape)}, not ({batch}, {2 * types}, {height}, {width})"
        )
    if settings.subcell == "offset" and offsets is None:
        raise ValueError('subcell is "offset" but no offset maps are given')


def _scan_on_cpu(heatmaps: Maps, settings: GroupingSettings):
    """Flat indices of the peaks into the heatmaps, in their order, and the block maxima."""
    batch, types, height, width = heatmaps.shape
    maps = as_array(heatmaps).reshape(-1, height, width)
    maxima = kernels.block_maxima(maps)
    all_cells = settings.published is not None and settings.published.plateaus == "all"
    scan = published_kernels.scan_plateaus if all_cells else kernels.scan_peaks
    top_k = min(settings.top_k, height * width)
    cells, counts = scan(maps, maxima, settings.peak_threshold, settings.nms_window // 2, top_k)
    is_peak = np.arange(top_k) < counts[:, None]
    index = (cells + np.arange(len(maps))[:, None] * (height * width))[is_peak]
    return index, maxima.reshape(batch, types, *maxima.shape[1:])


def _scan_on_device(heatmaps: Maps, settings: GroupingSettings):
    """Like `_scan_on_cpu`, with tensor operations; here every cell of a plateau is a peak."""
    import torch
    from torch.nn.functional import max_pool2d

    batch, types, height, width = heatmaps.shape
    window = settings.nms_window
    highest = max_pool2d(heatmaps, window, stride=1, padding=window // 2)
    peaks = torch.where(heatmaps == highest, heatmaps, heatmaps.new_zeros(())).flatten(2)
    score, cell = peaks.topk(min(settings.top_k, height * width), dim=2)
    is_peak = score > settings.peak_threshold
    base = torch.arange(batch * types, device=heatmaps.device).view(batch, types, 1)
    index = (cell + base * (height * width))[is_peak]
    return index.cpu().numpy(), None
