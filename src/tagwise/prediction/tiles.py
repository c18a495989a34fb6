"""Run a network tile by tile over images that are larger than its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tagwise.grouping.maps import AnyMaps
from tagwise.tasks.base import Head


def in_tiles(
    forward: Callable[[AnyMaps], dict[str, AnyMaps]],
    images: AnyMaps,
    heads: Mapping[str, Head],
    *,
    tile: tuple[int, int],
    overlap: int,
    multiple: int,
    stride: int,
) -> dict[str, AnyMaps]:
    """Run a network over images of any size in overlapping tiles, and blend their maps.

    forward: a function from images (B, 3, h, w) to maps (B, C, h / stride, w / stride). Tags of a
        head with a `position` include the position in the tile.
    images: (B, 3, H, W), a tensor or an array, with sides that are multiples of `multiple`. The
        maps have its type. tile: largest width and height of a tile.
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
    total: dict[str, AnyMaps] = {}
    weights = np.zeros((height // stride, width // stride), np.float32)
    for y, rows in down.items():
        for x, columns in across.items():
            maps = forward(images[..., y : y + rows, x : x + columns])
            weight = np.outer(
                _ramp(y, rows, height, overlap, stride),
                _ramp(x, columns, width, overlap, stride),
            )
            part = (
                slice(y // stride, (y + rows) // stride),
                slice(x // stride, (x + columns) // stride),
            )
            weights[part] += weight
            for name, values in maps.items():
                if name not in total:
                    total[name] = _zeros_like(values, (*values.shape[:2], *weights.shape))
                moved = _moved(values, heads[name], x, y)
                total[name][..., part[0], part[1]] += moved * _of_type(values, weight)
    for values in total.values():
        values /= _of_type(values, weights)
    return total


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


def _ramp(start: int, size: int, length: int, overlap: int, stride: int) -> np.ndarray:
    """Return the weights (size / stride,) of a tile's cells along an axis.

    They are 1, and fall within `overlap` of each end that is not an end of the image.
    """
    position = np.arange(size // stride, dtype=np.float32) + np.float32(0.5)
    reach = max(overlap // stride, 1)
    weight = np.ones_like(position)
    if start > 0:
        weight = np.minimum(weight, position / np.float32(reach))
    if start + size < length:
        weight = np.minimum(weight, position[::-1] / np.float32(reach))
    return weight


def _moved(values: AnyMaps, head: Head, x: int, y: int) -> AnyMaps:
    """Change positions in the tags of a tile at x, y to positions in the image.

    Even tag maps contain x and odd ones y, see `tagwise.models.heads.add_position`.
    """
    if head.kind != "tag" or head.position is None:
        return values
    # Added as numbers: an array would be copied to a GPU, which makes it wait.
    moved = _zeros_like(values, values.shape)
    for axis, start in enumerate((x, y)):
        offset = float(np.float32(start) / np.float32(head.position))
        moved[:, axis::2] = values[:, axis::2] + offset
    return moved


def _zeros_like(values: AnyMaps, shape: Sequence[int]) -> AnyMaps:
    """Zeros of a shape, of the type and on the device of other maps."""
    return (
        np.zeros(shape, np.float32) if isinstance(values, np.ndarray) else values.new_zeros(shape)
    )


def _of_type(values: AnyMaps, array: np.ndarray) -> AnyMaps:
    """An array as the type of other maps, on their device."""
    return array if isinstance(values, np.ndarray) else values.new_tensor(array)
