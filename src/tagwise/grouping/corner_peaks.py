"""Finding corners in corner maps: local maxima over all classes, with their tags and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagwise.grouping.inputs import check_type, read_map
from tagwise.grouping.kernels import corners as corner_kernels
from tagwise.grouping.kernels import peaks as kernels
from tagwise.grouping.maps import Maps, as_array, on_host
from tagwise.grouping.settings import CornerSettings


@dataclass(frozen=True)
class CornerPeaks:
    """Corners of a batch, sorted by image, then top-left before bottom-right, then falling score.

    Arrays live on the CPU.

    xy: (P, 2) float32, x and y in cells: the cell's index plus the offset, so that integers are the
        edges of cells.
    cells: (P, 2) int64, x and y of the cell with the local maximum.
    scores: (P,) float32, the heatmap value.
    classes: (P,) int64.
    tags: (P, D) float32.
    starts: (B, 3) int64; the top-left corners of image b are starts[b, 0] to starts[b, 1], the
        bottom-right ones follow to starts[b, 2].
    """

    xy: np.ndarray
    cells: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    tags: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def image(self, index: int) -> CornerPeaks:
        """The corners of one image, as a batch of one."""
        first, _, last = self.starts[index]
        part = slice(first, last)
        return CornerPeaks(
            self.xy[part],
            self.cells[part],
            self.scores[part],
            self.classes[part],
            self.tags[part],
            self.starts[index : index + 1] - first,
        )


def find_corners(
    tl_heat: Maps,
    br_heat: Maps,
    tl_tag: Maps,
    br_tag: Maps,
    tl_off: Maps | None = None,
    br_off: Maps | None = None,
    settings: CornerSettings | None = None,
) -> CornerPeaks:
    """Find local maxima above the threshold, with their tags and offsets; top_k of each corner.

    The maps are those of `decode_corners`. They are read on their own device; only the corners are
    copied to the CPU. Corners with a score, tag or offset that is not finite are left out.
    """
    settings = check_type("settings", settings or CornerSettings(), CornerSettings)
    tl_heat, tl_tag, tl_off = _read_maps("tl", tl_heat, tl_tag, tl_off)
    br_heat, br_tag, br_off = _read_maps("br", br_heat, br_tag, br_off)
    for tl, br, name in ((tl_heat, br_heat, "heat"), (tl_tag, br_tag, "tag")):
        if tl.shape != br.shape:
            raise ValueError(
                f"tl_{name} and br_{name} must have the same shape, got {tuple(tl.shape)} and "
                f"{tuple(br.shape)}"
            )
    tl = _find(tl_heat, tl_tag, tl_off, settings)
    br = _find(br_heat, br_tag, br_off, settings)
    return join_corners(tl, br, batch=len(tl_heat))


def join_corners(tl: Sequence[np.ndarray], br: Sequence[np.ndarray], *, batch: int) -> CornerPeaks:
    """Join the top-left and the bottom-right corners of a batch.

    tl, br: image (P,), then xy, cells, scores, classes and tags; each sorted by image.
    """
    image, *fields = (np.concatenate(parts) for parts in zip(tl, br))
    block = 2 * image + np.repeat((0, 1), (len(tl[0]), len(br[0])))
    order = np.argsort(block, kind="stable")
    bounds = 2 * np.arange(batch)[:, None] + np.arange(3)
    starts = np.searchsorted(block[order], bounds)
    return CornerPeaks(*(field[order] for field in fields), starts)


def _read_maps(corner, heat, tag, off):
    """The maps of one corner, "tl" or "br", after checks of their shapes."""
    heat = read_map(f"{corner}_heat", heat, "BCHW")
    tag = read_map(f"{corner}_tag", tag, "BDHW")
    batch, _, height, width = heat.shape
    if tag.shape[0] != batch or tag.shape[2:] != heat.shape[2:]:
        raise ValueError(
            f"{corner}_tag is {tuple(tag.shape)}; {corner}_heat {tuple(heat.shape)} needs "
            f"({batch}, D, {height}, {width})"
        )
    if off is not None:
        off = read_map(f"{corner}_off", off, "BCHW")
        if off.shape != (batch, 2, height, width):
            raise ValueError(
                f"{corner}_off is {tuple(off.shape)}, not ({batch}, 2, {height}, {width})"
            )
    return heat, tag, off


def _find(heat, tag, off, settings):
    """Image (P,), then xy, cells, scores, classes and tags of one of the two corners."""
    scan = _scan_on_cpu if on_host(heat) else _scan_on_device
    image, index = scan(heat, settings)
    classes, y, x = np.unravel_index(index, heat.shape[1:])
    cells = np.stack([x, y], axis=1)
    rows = _values_at((image, classes, y, x), heat, tag, off)
    finite = np.isfinite(rows).all(axis=1)
    image, cells, classes, rows = (part[finite] for part in (image, cells, classes, rows))
    scores, tags, shifts = np.split(rows, [1, 1 + tag.shape[1]], axis=1)
    xy = cells + (shifts if off is not None else np.float32(0))
    return image, xy.astype(np.float32), cells, scores[:, 0], classes, tags


def _values_at(places, heat, tag, off) -> np.ndarray:
    """Heatmap value, tag and offset at places (image, class, y, x), (P, 1 + D + 2) float32."""
    maps = [heat, tag, *([] if off is None else [off])]
    join = np.concatenate
    if not all(isinstance(one, np.ndarray) for one in maps):
        import torch

        join, maps = torch.cat, [torch.as_tensor(one) for one in maps]
        places = [torch.as_tensor(part, device=maps[0].device) for part in places]
    image, classes, y, x = places
    heat, *others = maps
    values = [heat[image, classes, y, x][:, None], *(one[image, :, y, x] for one in others)]
    return as_array(join(values, 1))


def _scan_on_cpu(heat: Maps, settings: CornerSettings):
    """Image (P,) and flat index into (C, H, W) of each image's corners, best first."""
    parts = [np.zeros(0, np.int64)]
    for maps in as_array(heat):
        maxima = kernels.block_maxima(maps)
        blocks = np.flatnonzero(maxima > settings.corner_threshold)
        blocks = blocks[np.argsort(-maxima.ravel()[blocks], kind="stable")]
        parts.append(
            corner_kernels.best_peaks(
                maps,
                maxima,
                blocks,
                settings.nms_window // 2,
                settings.corner_threshold,
                min(settings.top_k, maps.size),
            )
        )
    image = np.repeat(np.arange(len(heat)), [len(index) for index in parts[1:]])
    return image, np.concatenate(parts)


def _scan_on_device(heat: Maps, settings: CornerSettings):
    """Like `_scan_on_cpu`, with tensor operations; here every cell of a plateau is a peak."""
    from torch.nn.functional import max_pool2d

    window = settings.nms_window
    highest = max_pool2d(heat, window, stride=1, padding=window // 2)
    peaks = heat.where(heat == highest, heat.new_zeros(())).flatten(1)
    score, index = peaks.topk(min(settings.top_k, peaks.shape[1]), dim=1)
    image, rank = (score > settings.corner_threshold).nonzero(as_tuple=True)
    return image.cpu().numpy(), index[image, rank].cpu().numpy()
