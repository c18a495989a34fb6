"""Oracles for segmentation models, which replace one part of a model by the ground truth.

With "foreground", the foreground is that of the true instances; the remaining errors are those of
the tags and seeds. With "grouping", the tags of the pixels that the model found are replaced by a
unique tag for each true instance (the nearest one for pixels outside); the remaining errors are not
caused by the tags. With "both", foreground and tags are true, which shows what the maps can
express.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tagwise.data.transforms import Affine

if TYPE_CHECKING:
    from torch import Tensor

PIXEL_ORACLES = ("grouping", "foreground", "both")

_SEED_LOGIT = 9.0  # sigmoid(9) = .9999
_TAG_STEP = 100.0  # difference of the tags of two instances, larger than any bandwidth


def maps_with_truth(
    oracle: str, outputs: dict[str, Tensor], labels: np.ndarray, to_cells: Affine
) -> dict[str, Tensor]:
    """The maps of one image, with some of them replaced by the ground truth.

    oracle: "grouping", "foreground" or "both". outputs: raw maps by name, of a batch of one.
    labels: (H, W), the true label map, numbered from 1. to_cells: from its pixels to cells of the
        maps.
    """
    size = outputs["tags"].shape[:1:-1]
    if oracle in ("foreground", "both"):
        covered = _warped(labels > 0, to_cells, size, cv2.INTER_LINEAR)
        import torch

        logits = torch.from_numpy(covered).logit(eps=1e-4)
        outputs = {**outputs, "foreground": logits[None, None]}
    if oracle == "foreground":
        return outputs
    return {**outputs, **true_tags(_warped(labels, to_cells, size, cv2.INTER_NEAREST), outputs)}


def true_tags(cells: np.ndarray, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tag maps, and seeds if the network has any, of a model that separates instances perfectly.

    cells: (h, w), the true instance of each cell from 1, 0 for none. outputs: the network's maps,
    by name, of a batch of one. A cell outside all instances has the tag of the nearest instance.
    """
    import torch
    from scipy import ndimage

    if not cells.any():
        return {}
    nearest = ndimage.distance_transform_edt(
        cells == 0, return_distances=False, return_indices=True
    )
    values = torch.from_numpy(_TAG_STEP * cells[tuple(nearest)].astype(np.float32))
    maps = {"tags": values.expand_as(outputs["tags"])}
    if "seeds" in outputs:
        inside = torch.from_numpy(cells > 0)
        maps["seeds"] = outputs["seeds"].float().cpu().masked_fill(inside, _SEED_LOGIT)
    return maps


def _warped(labels: np.ndarray, affine: Affine, size: tuple[int, int], how: int) -> np.ndarray:
    """Warp a map (H, W) to the grid of cells, (h, w) float32; size: (w, h)."""
    return cv2.warpAffine(labels.astype(np.float32), affine.matrix, size, flags=how)


def pixel_tags(labels: np.ndarray, tags: Tensor, to_cells: Affine, points: int = 12) -> np.ndarray:
    """The tags that a network predicts in some cells of each true instance of one image.

    labels: (H, W), the true label map, numbered 1 to N. tags: (D, h, w). to_cells: from its pixels
    to cells of the maps. points: cells of an instance, evenly in reading order.
    Returns (N, points, D) float32, NaN where an instance has fewer cells.
    """
    values = tags.detach().float().cpu().numpy()
    cells = _warped(labels, to_cells, values.shape[:0:-1], cv2.INTER_NEAREST).astype(np.int64)
    found = np.full((int(labels.max(initial=0)), points, len(values)), np.nan, np.float32)
    order = np.argsort(cells.ravel(), kind="stable")
    starts = np.searchsorted(cells.ravel()[order], np.arange(1, len(found) + 2))
    flat = values.reshape(len(values), -1)
    for n, (start, end) in enumerate(pairwise(starts)):
        count = min(points, end - start)
        chosen = order[np.linspace(start, end - 1, count).astype(int)]
        found[n, :count] = flat[:, chosen].T
    return found
