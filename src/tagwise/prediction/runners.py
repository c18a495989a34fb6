"""How a predictor runs its network: with torch on tensors, or without it on arrays.

`TensorRunner` runs any network on tensors, several passes over an image included. `ArrayRunner`
runs an ONNX file of `tagwise export`, one pass over an image; what the file gives is decoded as it
is. It needs no torch, so torch is imported here only where tensors are made.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tagwise import models
from tagwise.console.streams import print_note
from tagwise.errors import UserError, need_torch
from tagwise.files import refuse_address
from tagwise.models.onnx_model import OnnxModel, find_provider, read_onnx_model
from tagwise.prediction import tta
from tagwise.prediction.fitting import FitInside, Fitting
from tagwise.prediction.lost_devices import is_out_of_memory, network_moved_to
from tagwise.prediction.options import Runtime
from tagwise.prediction.runtimes import runtime_of_file
from tagwise.prediction.tta import HostPasses, Maps, Pass
from tagwise.runtime import current_gpu, find_device
from tagwise.tasks.base import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_NETWORKS = 8  # most threads that run a network at the same time
_PIXELS = 4_000_000  # of the inputs of all of them; maps take about 500 bytes per pixel

Inputs = Sequence[Sequence[np.ndarray]]
"""For each scale, the inputs (H, W, 3) uint8 of the images of a batch."""


def open_model(
    weights: str | Path | nn.Module, device: str | torch.device, one_pass: bool, runtime: Runtime
) -> tuple[Any, str | torch.device, str]:
    """Load a model for prediction; returns it, its device and its name.

    one_pass: whether images are run once, neither mirrored nor at other scales. An ONNX file is
        then opened as an `OnnxModel`, unless a published fitting joins its maps.
    runtime: for ONNX files; for others, see `open_forward`.
    Raises UserError if it cannot be loaded, or needs torch and torch is not installed.
    """
    is_file = isinstance(weights, str | os.PathLike)
    if is_file and Path(weights).suffix == ".onnx":
        refuse_address(weights)
        model, device_used = _open_onnx(Path(weights), str(device), runtime)
        if one_pass and "fitting" not in model.spec.decoder:
            return model, device_used, Path(weights).stem
        need_torch(f"{weights} with these options")
        return models.OnnxNetwork(model), find_device(device), Path(weights).stem
    need_torch(f"{weights} with these options" if is_file else "this model")
    found = find_device(device)
    with network_moved_to(found):
        if not is_file:
            return weights.to(found).eval(), found, weights.spec.name
        return models.load_model(weights, device=found, fuse=True).eval(), found, Path(weights).stem


def _open_onnx(path: Path, device: str, runtime: Runtime) -> tuple[OnnxModel, str]:
    """An ONNX file and its device. Where "auto" is OpenVINO and it fails, onnxruntime runs it."""
    device = find_provider(device)
    chosen = runtime_of_file(runtime, device)
    try:
        return read_onnx_model(path, device, chosen), device
    except UserError as error:
        if (runtime, chosen) != ("auto", "openvino") or find_spec("onnxruntime") is None:
            raise
        model = read_onnx_model(path, device)  # fails too if the file is damaged
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        print_note(f"OpenVINO cannot run {path}, but onnxruntime can ({reason})")
        return model, device


@dataclass
class Runner(ABC):
    """Runs the network of a predictor; fields: those of `Predictor`.

    part_size: images per forward pass. parallel: whether several threads may run the network at the
    same time.
    """

    model: Any
    task: Task
    fitting: Fitting
    scales: tuple[float, ...]
    flip: bool
    size: tuple[int, int]
    part_size: int
    parallel: bool

    @property
    def most_networks(self) -> int:
        """How many threads may run the network: all of them have the maps of images in memory."""
        width, height = self.size
        pixels = self.part_size * width * height * max(self.scales) ** 2
        return max(1, min(_NETWORKS, int(_PIXELS / pixels))) if self.parallel else 1

    @abstractmethod
    def run(self, inputs: Inputs) -> HostPasses:
        """Run a batch of images whose inputs have the same shapes; returns what is decoded."""

    @abstractmethod
    def raw_maps(self, inputs: Inputs) -> Sequence[Pass]:
        """The passes of a batch with raw maps as tensors, all of them or one that joins them."""


class ArrayRunner(Runner):
    """Runs an `OnnxModel` once over each image."""

    def run(self, inputs: Inputs) -> HostPasses:
        # Tiles are joined to whole maps before they are decoded, and a file has the candidates of
        # its own task only.
        usable = isinstance(self.fitting, FitInside) and self.task == self.model.task
        names = self.model.maps
        if usable and self.model.candidates:
            names = [*self.model.candidates, *self.task.maps_beside_candidates]
        return HostPasses([Pass(self._outputs(inputs, names), 1.0)])

    def raw_maps(self, inputs: Inputs) -> Sequence[Pass]:
        import torch

        maps = self._outputs(inputs, self.model.maps)
        return [Pass({name: torch.from_numpy(values) for name, values in maps.items()}, 1.0)]

    def _outputs(self, inputs: Inputs, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The named outputs for the images of a batch."""

        def network(images: np.ndarray) -> dict[str, np.ndarray]:
            return self.model(images.astype(np.float32) / np.float32(255), names)

        return self.fitting.run(network, np.stack(inputs[0]).transpose(0, 3, 1, 2))


@dataclass
class TensorRunner(Runner):
    """Runs a network on tensors, with every pass over an image; device: of `Predictor`.

    forward: the network, from images (B, 3, H, W) uint8 to maps; see `runtimes`.
    """

    forward: Callable[[Tensor], Maps]
    device: torch.device

    def run(self, inputs: Inputs) -> HostPasses:
        """Run a batch; one that does not fit into the memory of the GPU is halved.

        So are the next ones. Raises UserError if a single image does not fit.
        """
        import torch

        count = len(inputs[0])
        size = min(self.part_size, count)
        while True:
            try:
                parts = [[one[k : k + size] for one in inputs] for k in range(0, count, size)]
                return tta.joined([tta.to_host(self.raw_maps(part)) for part in parts])
            except RuntimeError as error:  # the base class of torch.OutOfMemoryError
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise UserError(
                        f"{self.device} has too little memory for one image at {self.size[0]} × "
                        f"{self.size[1]}; use a smaller size, or the device cpu"
                    ) from error
                self.part_size = size = -(-size // 2)
                print_note(f"{self.device} is out of memory; going on with batches of {size}")
                torch.cuda.empty_cache()

    def raw_maps(self, inputs: Inputs) -> Sequence[Pass]:
        import torch

        with torch.inference_mode(), current_gpu(self.device):
            stacked = [self._stacked(arrays) for arrays in inputs]
            passes = list(self._passes(stacked))
            if self.task.merges == "results":
                return passes
            base, heads = self.fitting.base, self.task.heads()
            height, width = stacked[base].shape[1:3]
            upright = [one.upright(heads, self.task.flip) for one in passes]
            joined = self.fitting.join(upright, self.task, (width, height))
            return [Pass(joined, self.scales[base])]

    def _passes(self, inputs: list[Tensor]) -> Iterator[Pass]:
        """Yield every pass over a batch; inputs: (B, H, W, 3) uint8 of each scale."""
        for scale, images in zip(self.scales, inputs, strict=True):
            # (B, H, W, 3) read as (B, 3, H, W) is what channels_last means: no copy.
            images = images.permute(0, 3, 1, 2)
            yield Pass(self.fitting.run(self.forward, images), scale)
            if self.flip:
                mirrored = self.fitting.run(self.forward, tta.mirror(images))
                yield Pass(mirrored, scale, mirrored=True)

    def _stacked(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Copy inputs (H, W, 3) uint8 to the device as one tensor (B, H, W, 3)."""
        import torch

        if len(arrays) == 1:
            return torch.from_numpy(arrays[0])[None].to(self.device)
        pinned = self.device.type == "cuda"
        stacked = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, pin_memory=pinned)
        np.stack(arrays, out=stacked.numpy())
        return stacked.to(self.device, non_blocking=True)
