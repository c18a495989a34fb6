"""Reading maps: tensors of any float type and device, or numpy arrays.

Arrays are read without torch, so that the maps of an ONNX file can be decoded where torch is not
installed. Only functions that work on tensors import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar, Union

import numpy as np

if TYPE_CHECKING:
    import torch

Maps: TypeAlias = Union[np.ndarray, "torch.Tensor"]
AnyMaps = TypeVar("AnyMaps", np.ndarray, "torch.Tensor")


def on_host(maps: Maps) -> bool:
    """Whether maps are in the memory of the host, where the compiled loops can read them."""
    return isinstance(maps, np.ndarray) or maps.device.type == "cpu"


def readable(maps: Maps) -> Maps:
    """The same maps without a gradient: an array for contiguous float32 on the host, else a tensor.

    A value of an array is read in a fraction of the time that one of a tensor takes.
    """
    if isinstance(maps, np.ndarray):
        return maps
    maps = maps.detach() if maps.requires_grad else maps
    # Attributes are read without releasing Python's lock; methods of tensors release it.
    is_float32 = maps.dtype.is_floating_point and maps.dtype.itemsize == 4
    return maps.numpy() if is_float32 and on_host(maps) and maps.is_contiguous() else maps


def as_array(maps: Maps) -> np.ndarray:
    """Maps as a contiguous float32 array; a copy only if they are not one already."""
    if not isinstance(maps, np.ndarray):
        maps = maps.detach().float().cpu().numpy()
    return np.ascontiguousarray(maps, np.float32)


def take(maps: Maps, index: np.ndarray) -> np.ndarray:
    """The values of maps at flat indices, float32 on the CPU."""
    if isinstance(maps, np.ndarray):
        return maps.take(index).astype(np.float32, copy=False)
    import torch

    return maps.take(torch.as_tensor(index, device=maps.device)).float().cpu().numpy()


def take_channels(maps: Maps, index: np.ndarray, channels: int) -> np.ndarray:
    """The values of maps (..., K * channels, H, W) at flat indices into (..., K, H, W).

    Returns (P, channels).
    """
    area = maps.shape[-2] * maps.shape[-1]
    first = index // area * (channels * area) + index % area
    return take(maps, first[:, None] + np.arange(channels) * area)
