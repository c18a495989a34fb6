"""Training targets that several tasks share: Gaussians, cells around points, batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tagwise import losses
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine
from tagwise.errors import unknown_name
from tagwise.geometry import edges_to_cells, pixel_to_cell

if TYPE_CHECKING:
    from torch import Tensor


def draw_gaussian(
    heatmap: np.ndarray, x: float, y: float, sigma: float, beyond: float = 0.0
) -> None:
    """Draw a Gaussian into `heatmap` (h, w), in place; larger values are kept.

    x, y: its centre in cells, not necessarily whole numbers. sigma: in cells. The Gaussian is
    cut off at 3 sigma plus `beyond` cells.
    """
    height, width = heatmap.shape
    reach = 3 * sigma + beyond
    x0, x1 = max(0, int(np.ceil(x - reach))), min(width, int(np.floor(x + reach)) + 1)
    y0, y1 = max(0, int(np.ceil(y - reach))), min(height, int(np.floor(y + reach)) + 1)
    if x0 >= x1 or y0 >= y1:
        return
    across = np.exp(-np.square(np.arange(x0, x1) - x) / (2 * sigma**2))
    down = np.exp(-np.square(np.arange(y0, y1) - y) / (2 * sigma**2))
    window = heatmap[y0:y1, x0:x1]
    np.maximum(window, down[:, None] * across, out=window)


def gaussian_radius(
    height: np.ndarray, width: np.ndarray, overlap: float, legacy: bool = False
) -> np.ndarray:
    """Return how far both corners of a box may move before its IoU falls to `overlap`.

    height, width: (N,) in cells. overlap: IoU with the original box, in (0, 1).
    legacy: reproduce the bug of CenterNet, ExtremeNet and other public code, which take the wrong
        root of each quadratic equation and do not divide by its leading coefficient.
    Returns (N,) float64 in cells: the minimum over the three cases, one corner inwards and one
    outwards, both inwards, both outwards (CornerNet, section 3.2 and its public code).

    >>> gaussian_radius(np.array([10.0]), np.array([10.0]), 0.5).round(2)
    array([1.46])
    """
    sides, area = np.add(height, width, dtype=float), np.multiply(height, width, dtype=float)
    cases = (  # a, b, c of a r² - b r + c = 0, and the sign of the root
        (1, sides, area * (1 - overlap) / (1 + overlap), -1),
        (4, 2 * sides, area * (1 - overlap), -1),
        (4 * overlap, -2 * overlap * sides, area * (overlap - 1), +1),
    )
    radii = []
    for a, b, c, sign in cases:
        root = np.sqrt(b**2 - 4 * a * c)
        radii.append((b + root) / 2 if legacy else (b + sign * root) / (2 * a))
    return np.minimum.reduce(radii)


def learned_cells(sample: Sample, stride: int) -> np.ndarray:
    """Return (h, w) bool, True for cells with less than half in an ignored region."""
    height, width = (side // stride for side in sample.image.shape[:2])
    ignored = sample.ignore[: height * stride, : width * stride]
    return ignored.reshape(height, stride, width, stride).mean((1, 3)) < 0.5


class Neighbourhood(NamedTuple):
    """The cells around M points, P cells in total.

    which: (P,) int64, index of the point of each cell. xy: (P, 2) int64, the cell.
    offset: (P, 2) float32, from the cell to the point. weight: (P,) float32, in (0, 1].
    """

    which: np.ndarray
    xy: np.ndarray
    offset: np.ndarray
    weight: np.ndarray


def cells_around(
    places: np.ndarray, nearest: np.ndarray, reach: int, size: tuple[int, int], middle: float = 0.0
) -> Neighbourhood:
    """Return the (2 reach + 1)² cells around each point, where its tag and offset are learned.

    A predicted peak may be one cell off; it should still have the same tag, and the offset to the
    point. Weights are a Gaussian of the distance, like the target heatmap.

    places: (M, 2) x, y in cells. nearest: (M, 2) int, the cell that each point is in.
    size: (height, width) of the map; cells outside it are left out.
    middle: the coordinate of the centre of cell 0, from which distances are measured.
    """
    steps = np.arange(-reach, reach + 1)
    around = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    xy = nearest[:, None] + around  # (M, cells around, 2)
    offset = places[:, None] - xy
    weight = np.exp(-np.square(offset - middle).sum(-1) / (2 * max(reach, 0.5) ** 2))
    inside = ((xy >= 0) & (xy < size[::-1])).all(-1)
    which = np.broadcast_to(np.arange(len(places))[:, None], inside.shape)
    return Neighbourhood(
        which[inside].astype(np.int64),
        xy[inside].astype(np.int64),
        offset[inside].astype(np.float32),
        weight[inside].astype(np.float32),
    )


def loss_weights(defaults: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every loss term: the given ones, and defaults for the others.

    Raises UserError for a term that has no default.
    """
    for name in given:
        if name not in defaults:
            raise unknown_name("loss term", name, defaults)
    return {**defaults, **given}


def collate(
    targets: Sequence[dict[str, np.ndarray]], maps: Sequence[str], points: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Combine the targets of several samples into one batch.

    maps: names of the arrays that are stacked. points: names of those that are concatenated; the
        index of each point's image is added as "image" (P,) int64, and the groups of points with
        "group" and "weight" as "layout", see `losses.layout_groups`.
    """
    import torch

    batch = {key: torch.from_numpy(np.stack([t[key] for t in targets])) for key in maps}
    if not points:
        return batch
    for key in points:
        batch[key] = torch.from_numpy(np.concatenate([t[key] for t in targets]))
    lengths = [len(t[points[0]]) for t in targets]
    batch["image"] = torch.from_numpy(np.repeat(np.arange(len(targets)), lengths))
    if {"group", "weight"} <= batch.keys():
        batch["layout"] = losses.layout_groups(
            batch["group"], batch["image"], used=batch["weight"] > 0, batch=len(targets)
        )
    return batch


def divisors(targets: dict[str, Tensor], heatmaps: Iterable[str], focal: bool) -> dict[str, Tensor]:
    """Return `Task.divisors` of heatmaps and offsets: scalars, float32.

    targets: of a batch, with the maps of these names, "mask" and the "weight" of each point.
    focal: heatmaps are divided by the number of positive cells, otherwise by the sum of their
        values.
    """
    found = {"offsets": targets["weight"].float().sum()}
    for name in heatmaps:
        target = targets[name] * (targets["mask"] > 0)
        found[name] = (target == 1 if focal else target).float().sum()
    return found


def keypoints_in_cells(sample: Sample, to_input: Affine, stride: int) -> np.ndarray:
    """The true keypoints (N, K, 3) of a sample in cells of the maps, float64.

    to_input: from pixels of the image to pixels of the network's input.
    """
    truth = sample.keypoints.astype(np.float64)
    truth[..., :2] = pixel_to_cell(to_input.points(truth[..., :2]), stride)
    return truth


def published_keypoint_targets(sample: Sample, stride: int, sigma: float) -> dict[str, np.ndarray]:
    """The targets of HigherHRNet and pose-ae, named and shaped as those of `PoseTask.encode`.

    A keypoint is in the cell int(x / stride), where its Gaussian is 1: both programs measure
    coordinates from the edge of the first pixel, not from its centre.
    """
    height, width = (side // stride for side in sample.image.shape[:2])
    heatmaps = np.zeros((len(sample.labelled), height, width), np.float32)
    places = edges_to_cells(sample.keypoints[..., :2], stride)
    cells = np.trunc(places).astype(np.int64)
    inside = ((cells >= 0) & (cells < (width, height))).all(-1)
    instance, types = np.nonzero((sample.keypoints[..., 2] > 0) & inside)
    for k, (x, y) in zip(types, cells[instance, types], strict=True):
        draw_gaussian(heatmaps[k], x, y, sigma, beyond=1)
    x, y = cells[instance, types].T
    return {
        "heatmaps": heatmaps,
        "mask": learned_cells(sample, stride)[None] & sample.labelled[:, None, None],
        "points": np.stack([types, y, x], -1),
        "group": instance.astype(np.int64),
        "weight": np.ones(len(types), np.float32),
        "offset": places[instance, types] - cells[instance, types] - 0.5,
    }
