"""Run a network tile by tile over images that are larger than its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tagwise.tasks.base import Head

Maps = dict[str, Tensor]


def in_tiles(
    forward: Callable[[Tensor], Maps],
    images: Tensor,
    heads: Mapping[str, Head],
    *,
    tile: tuple[int, int],
    overlap: int,
    multiple: int,
    stride: int,
) -> Maps:
    """Run a network over images of any size in overlapping tiles, and blend their maps.

    forward: a function from images (B, 3, h, w) to maps (B, C, h / stride, w / stride). Tags of a
        head with a `position` include the position in the tile.
    images: (B, 3, H, W), sides multiples of `multiple`. tile: largest width and height of a tile.
    overlap: least number of pixels that neighbouring tiles share.

    The weight of a tile is 1 in its middle and falls towards edges inside the image, so that
    neither heatmaps nor tags have seams. Positions in tags are changed from those in the tile to
    those in the image. One tile is in memory at a time; the sums over all tiles need as much
    memory as the maps.
    """
    height, width = images.shape[-2:]
    across = _starts(width, tile[0], overlap, multiple)
    down = _starts(height, tile[1], overlap, multiple)
    if len(across) == len(down) == 1:
        return forward(images)
    total: Maps = {}
    weights = images.new_zeros(height // stride, width // stride, dtype=torch.float32)
    for y, rows in down.items():
        for x, columns in across.items():
            maps = forward(images[..., y : y + rows, x : x + columns])
            weight = torch.outer(
                _ramp(y, rows, height, overlap, stride),
                _ramp(x, columns, width, overlap, stride),
            ).to(images.device)
            part = (
                slice(y // stride, (y + rows) // stride),
                slice(x // stride, (x + columns) // stride),
            )
            weights[part] += weight
            for name, values in maps.items():
                if name not in total:
                    total[name] = values.new_zeros(*values.shape[:2], *weights.shape)
                total[name][..., part[0], part[1]] += _moved(values, heads[name], x, y) * weight
    return {name: values.div_(weights) for name, values in total.items()}


def _starts(length: int, tile: int, overlap: int, multiple: int) -> dict[int, int]:
    """Return the starts of tiles along an axis, with their common length.

    Both are multiples of `multiple`. There are as few tiles as possible, spread evenly.
    """
    tile = max(tile // multiple * multiple, multiple)
    if length <= tile:
        return {0: length}
    step = max(tile - -(-overlap // multiple) * multiple, multiple)
    count = 1 + -(-(length - tile) // step)
    places = [(length - tile) * n // (count - 1) // multiple * multiple for n in range(count)]
    return dict.fromkeys(places, tile)


def _ramp(start: int, size: int, length: int, overlap: int, stride: int) -> Tensor:
    """Return the weights (size / stride,) of a tile's cells along an axis.

    They are 1, and fall within `overlap` of each end that is not an end of the image.
    """
    position = torch.arange(size // stride, dtype=torch.float32) + 0.5
    reach = max(overlap // stride, 1)
    weight = torch.ones_like(position)
    if start > 0:
        weight = torch.minimum(weight, position / reach)
    if start + size < length:
        weight = torch.minimum(weight, position.flip(0) / reach)
    return weight


def _moved(values: Tensor, head: Head, x: int, y: int) -> Tensor:
    """Change positions in the tags of a tile at x, y to positions in the image.

    Even tag maps contain x and odd ones y, see `tagwise.models.heads.add_position`.
    """
    if head.kind != "tag" or head.position is None:
        return values
    offset = values.new_tensor([x, y]) / head.position
    return values + offset.repeat(values.shape[1] // 2).view(-1, 1, 1)
