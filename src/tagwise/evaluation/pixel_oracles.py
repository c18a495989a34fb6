"""Which part of a segmenting model limits it: oracles put the truth in place of one part.

With "foreground" the true instances say which pixels belong to anything; what is still wrong then
is how tags and seeds tell them apart. With "grouping" every pixel that the model found has a tag
that its true instance, or the nearest one, shares with no other; what is still wrong then is not
the tags' fault.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from tagwise.data.transforms import Affine

PIXEL_ORACLES = ("grouping", "foreground")

_SURE = 9.0  # a logit: sigmoid(9) is .9999
_APART = 100.0  # tags so far apart that no bandwidth joins them


def maps_with_truth(
    oracle: str, outputs: dict[str, Tensor], labels: np.ndarray, to_cells: Affine
) -> dict[str, Tensor]:
    """The maps of one image with the truth in place of some of them.

    oracle: "grouping" or "foreground". outputs: raw maps by name, of a batch of one.
    labels: (H, W) of the truth, from 1. to_cells: from its pixels to cells of the maps.
    """
    size = outputs["tags"].shape[:1:-1]
    if oracle == "foreground":
        covered = _warped(labels > 0, to_cells, size, cv2.INTER_LINEAR)
        logits = torch.logit(torch.from_numpy(covered), eps=1e-4)
        return {**outputs, "foreground": logits[None, None]}
    return {**outputs, **true_tags(_warped(labels, to_cells, size, cv2.INTER_NEAREST), outputs)}


def true_tags(cells: np.ndarray, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tag maps, and seeds if the network has any, of a model that tells instances apart perfectly.

    cells: (h, w), the true instance of each cell from 1, 0 for none. outputs: the network's maps,
    by name, of a batch of one. A cell outside of all instances has the tag of the nearest.
    """
    if not cells.any():
        return {}
    nearest = ndimage.distance_transform_edt(
        cells == 0, return_distances=False, return_indices=True
    )
    values = torch.from_numpy(_APART * cells[tuple(nearest)].astype(np.float32))
    helped = {"tags": values.expand_as(outputs["tags"])}
    if "seeds" in outputs:
        inside = torch.from_numpy(cells > 0)
        helped["seeds"] = outputs["seeds"].float().cpu().masked_fill(inside, _SURE)
    return helped


def _warped(labels: np.ndarray, affine: Affine, size: tuple[int, int], how: int) -> np.ndarray:
    """(H, W) as (h, w) float32 on the grid of cells; size: w, h."""
    return cv2.warpAffine(labels.astype(np.float32), affine.matrix, size, flags=how)
