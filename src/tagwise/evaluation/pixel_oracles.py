"""Which part of a model that segments limits it: oracles put the truth in place of one part.

With "foreground" the true instances say which pixels belong to anything; what is still wrong then
is how tags and seeds tell them apart. With "grouping" every pixel that the model found has a tag
that its true instance, or the nearest one, shares with no other; what is still wrong then is not
the tags' fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from tagwise.data.images import read_image
from tagwise.data.label_maps import LabelMaps
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.results import Masks

if TYPE_CHECKING:
    from tagwise.prediction.predictor import Predictor

ORACLES = ("grouping", "foreground")

_SURE = 9.0  # a logit: sigmoid(9) is .9999
_APART = 100.0  # tags so far apart that no bandwidth joins them


def oracle_masks(
    predictor: Predictor, data: LabelMaps, images: Sequence[dict[str, Any]], oracle: str
) -> Iterator[Masks | UserError]:
    """What the predictor would find in each of these images, had it an oracle's help.

    images: entries of the data, with its ids. oracle: "grouping" or "foreground". An image that
    cannot be read gives the error in place of masks.
    """
    for image in images:
        index = data.ids.index(image["id"])
        try:
            pixels, labels = read_image(data.path(index)), data.label_map(index)
            yield _helped(predictor, pixels, labels, oracle)
        except UserError as error:
            yield error


def _helped(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray, oracle: str) -> Masks:
    """Masks of one image, in its pixels; labels (H, W) of the truth, from 1."""
    outputs, affine = predictor.maps(pixels)
    to_cells = Affine.scaling(1 / predictor.stride) @ affine
    size = outputs["tags"].shape[:1:-1]
    if oracle == "foreground":
        covered = _warped(labels > 0, to_cells, size, cv2.INTER_LINEAR)
        helped = {"foreground": torch.logit(torch.from_numpy(covered), eps=1e-4)[None, None]}
    else:
        helped = true_tags(_warped(labels, to_cells, size, cv2.INTER_NEAREST), outputs)
    view = (affine, pixels.shape[1::-1])
    return predictor.task.decode({**outputs, **helped}, predictor.stride, [view])[0]


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
