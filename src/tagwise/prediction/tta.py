"""Test-time augmentation: several passes over an image, mirrored and at several scales.

When maps are merged, heatmaps are averaged and the tags of all passes are stacked as additional
components (Newell et al. 2017, section 4.1), so that tags are compared with tags of the same pass
only. Only functions that compute with tensors import torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tagwise.runtime import current_gpu
from tagwise.tasks.base import Head

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Maps: TypeAlias = dict[str, "Tensor"]


@dataclass(frozen=True)
class Pass:
    """One forward run over a batch of images.

    maps: name -> (B, C, h, w), as returned by the network.
    scale: size of the input, relative to the size that the predictor uses.
    mirrored: whether the input, and therefore its maps, are mirrored left to right.
    """

    maps: Maps
    scale: float
    mirrored: bool = False

    def upright(self, heads: Mapping[str, Head], flip: Sequence[int]) -> Pass:
        """Return the pass with its maps mirrored back; heads, flip: see `unmirror`."""
        return Pass(unmirror(self.maps, heads, flip), self.scale) if self.mirrored else self


@dataclass(frozen=True)
class HostPasses:
    """Passes over a batch whose maps are in the memory of the host, or on their way to it.

    wait: returns when they have arrived.
    """

    computed: Sequence[Pass]
    wait: Callable[[], object] | None = None

    @property
    def images(self) -> int:
        """The number of images of the batch."""
        return len(next(iter(self.computed[0].maps.values())))

    def passes(self, first: int, count: int) -> list[Pass]:
        """The passes with the maps of some images of the batch; waits until they are there."""
        if self.wait is not None:
            self.wait()
        if count == self.images:
            return list(self.computed)
        part = slice(first, first + count)
        return [
            replace(one, maps={name: maps[part] for name, maps in one.maps.items()})
            for one in self.computed
        ]


def to_host(passes: Sequence[Pass]) -> HostPasses:
    """Copy the maps of passes to the memory of the host; does not wait for a CUDA device."""
    import torch

    device = next(maps.device for one in passes for maps in one.maps.values())
    if device.type != "cuda":
        return HostPasses(
            [replace(o, maps={n: m.cpu() for n, m in o.maps.items()}) for o in passes]
        )
    copied = []
    with current_gpu(device):
        stream = _copying_stream(device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for one in passes:
                maps = {}
                for name, source in one.maps.items():
                    maps[name] = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
                    maps[name].copy_(source, non_blocking=True)
                    source.record_stream(stream)  # its memory is free once it has been copied
                copied.append(replace(one, maps=maps))
            # Threads that wait sleep; otherwise they would keep a core busy each.
            event = torch.cuda.Event(blocking=True)
            event.record()
    return HostPasses(copied, event.synchronize)


@cache
def _copying_stream(device: torch.device) -> Any:
    """A stream of its own, so that the next batch need not wait for the maps to be copied."""
    import torch

    return torch.cuda.Stream(device)


def joined(parts: Sequence[HostPasses]) -> HostPasses:
    """The passes over a batch from those over its parts, in order."""
    if len(parts) == 1:
        return parts[0]
    import torch

    rows = zip(*(part.passes(0, part.images) for part in parts))
    return HostPasses(
        [
            replace(row[0], maps={n: torch.cat([o.maps[n] for o in row]) for n in row[0].maps})
            for row in rows
        ]
    )


def mirror(images: Tensor) -> Tensor:
    """Mirror images or maps (..., H, W) left to right."""
    return images.flip(-1)


def unmirror(outputs: Maps, heads: Mapping[str, Head], flip: Sequence[int]) -> Maps:
    """Convert maps of a mirrored image to maps of the image itself.

    outputs: name -> (B, C, h, w), channels keypoint-major (C = K · n).
    heads: name -> Head. Offsets (x, y of each type) change the sign of x; heatmaps and tags keep
        their values.
    flip: K indices, the type of the mirror image of each type.
    """
    import torch

    unmirrored = {}
    for name, maps in outputs.items():
        batch, channels, height, width = maps.shape
        if channels % len(flip):
            raise ValueError(f"{name} has {channels} channels, not a multiple of {len(flip)}")
        # Lists as indices and new tensors would be copied to a GPU, which makes it wait.
        typed = mirror(maps).reshape(batch, len(flip), -1, height, width).unbind(1)
        typed = torch.stack([typed[k] for k in flip], 1)
        if heads[name].kind == "offset":
            typed = torch.stack([-typed[:, :, 0], typed[:, :, 1]], 2)
        unmirrored[name] = typed.reshape(batch, channels, height, width)
    return unmirrored


def resample(maps: Tensor, size: tuple[int, int], scale: tuple[float, float]) -> Tensor:
    """Resample maps bilinearly to another grid with the same centre; edges are repeated.

    maps: (B, C, h, w). size: (h', w') of the new grid. scale: (x, y), width and height
        of a new cell in old cells. Letterboxing needs no shift: it keeps the image centred, to
        within half a pixel of the input.
    """
    (height, width), (x_scale, y_scale) = maps.shape[-2:], scale
    if (height, width) == tuple(size) and (x_scale, y_scale) == (1.0, 1.0):
        return maps
    import torch
    import torch.nn.functional as F

    # Coordinates of grid_sample run from -1 to 1 between the edges of the old grid.
    x = torch.arange(size[1], device=maps.device, dtype=torch.float32) - (size[1] - 1) / 2
    y = torch.arange(size[0], device=maps.device, dtype=torch.float32) - (size[0] - 1) / 2
    x, y = x * (2 * x_scale / width), y * (2 * y_scale / height)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)


def _sigmoid(raw: Tensor) -> Tensor:
    return raw.sigmoid()


def _logit(values: Tensor) -> Tensor:
    return values.logit()


def merge(
    passes: Sequence[Maps],
    heads: Mapping[str, Head],
    *,
    to_values: Callable[[Tensor], Tensor] = _sigmoid,
    to_raw: Callable[[Tensor], Tensor] = _logit,
    tag_norm: str = "l2",
) -> Maps:
    """Merge the maps of several passes over the same grid.

    passes: for each pass, name -> (B, K·n, h, w), all of the same shapes.
    to_values, to_raw: functions from raw heatmaps to scores in [0, 1], and back. Scores are
        averaged, and the result is raw again, as decoders expect.
    tag_norm: norm in which tags are compared. "l2" divides tags by the root of the number of
        passes, so that a tag threshold means the same with and without augmentation; "rms" needs
        no division.

    Heatmaps and offsets are means; tags (B, K·D, h, w) become (B, K·P·D, h, w) for P passes.
    """
    if len(passes) == 1:
        return passes[0]
    import torch

    merged = {}
    for name, head in heads.items():
        maps = [outputs[name].float() for outputs in passes]
        if head.kind == "heatmap":
            merged[name] = to_raw(torch.stack([to_values(m) for m in maps]).mean(0))
        elif head.kind == "offset":
            merged[name] = torch.stack(maps).mean(0)
        else:
            merged[name] = stack_tags(maps, _types(heads))
            if tag_norm == "l2":
                merged[name] = merged[name] / math.sqrt(len(passes))
    return merged


def _types(heads: Mapping[str, Head]) -> int:
    return next(head.channels for head in heads.values() if head.kind == "heatmap")


def stack_tags(maps: list[Tensor], types: int) -> Tensor:
    """Stack tags (B, K·D, h, w) of P passes to (B, K·P·D, h, w), keypoint-major; K: types."""
    import torch

    batch, channels, height, width = maps[0].shape
    typed = [m.reshape(batch, types, channels // types, height, width) for m in maps]
    return torch.cat(typed, dim=2).reshape(batch, -1, height, width)
