"""The forward pass: in which precision it runs, and which program runs it.

Files of `tagwise export` are run without torch, so it is imported only where tensors are made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagwise import models
from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.models.onnx_model import FileRuntime, openvino_alone
from tagwise.prediction.options import Precision, Runtime, check_choice
from tagwise.prediction.tta import Maps
from tagwise.runtime import fastest_precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEAST_PHOTOS = 100
"""Photos from which on it pays to start OpenVINO, which takes as long as about 60 photos."""

_SMALL = 20_000_000  # parameters; HRNet-W32 has 29 million, the shipped models 3 to 5
_HALF = {"bf16": "bfloat16", "fp16": "float16"}
_OPENVINO = {"fp32": "f32", "bf16": "bf16"}

PRECISIONS = ("fp32", *_HALF)
"""Those of networks that torch runs."""


class Forward:
    """The forward pass of a network in some precision.

    runtime: "torch", "openvino", or "onnxruntime".
    parallel: whether several threads may run the network at the same time, see `_is_parallel`, and
        for files, `Session`.
    exact: whether float32 is computed as such on a GPU too, where convolutions round the factors to
        TF32, of 10 bits, by default.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Maps],
        device: torch.device,
        precision: str,
        runtime: str,
        parallel: bool = False,
        exact: bool = False,
    ) -> None:
        self.exact = exact and device.type == "cuda"
        self.precision, self.runtime, self.parallel = precision, runtime, parallel
        self._network, self._device = network, device
        self._half = _dtype(precision) if runtime == "torch" else None

    def __call__(self, images: Tensor) -> Maps:
        """Return the network's maps of images (B, 3, H, W) uint8."""
        import torch

        half = self._half
        with (
            torch.autocast(self._device.type, dtype=half) if half else nullcontext(),
            _without_tf32() if self.exact else nullcontext(),
        ):
            return self._network(images.float().div_(255))


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Let convolutions and matrix products on a GPU compute in float32."""
    import torch

    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [each.allow_tf32 for each in settings]
    try:
        for each in settings:
            each.allow_tf32 = False
        yield
    finally:
        for each, value in zip(settings, before):
            each.allow_tf32 = value


def choose_precision(
    model: Any, precision: Precision, device: torch.device | str, exact: bool
) -> str:
    """The precision that "auto" stands for; exact: whether results are only right in float32.

    Raises UserError for a network that does not run in the given precision.
    """
    able = tuple(getattr(model, "precisions", PRECISIONS))
    if precision == "auto":
        # Asking for the fastest may need torch, which files run without.
        fastest = "fp32" if exact or able == ("fp32",) else fastest_precision(device)
        return fastest if fastest in able else "fp32"
    if precision not in able:
        bf16_elsewhere = (model.runtime, precision, str(device)) == ("onnxruntime", "bf16", "cpu")
        hint = "; use --runtime openvino" if bf16_elsewhere else ""
        those = " or ".join(able)
        raise UserError(f"{model.runtime} runs this file in {those}, not in {precision}{hint}")
    return precision


def open_forward(
    model: Any,
    device: torch.device,
    precision: str,
    runtime: Runtime,
    loaded: bool,
    exact: bool = False,
) -> Forward:
    """The forward pass of a network, by the runtime that was asked for or that is the fastest.

    loaded: whether the network was loaded from a file, so that nobody else uses it.
    exact: see `Forward`.
    Raises UserError for a runtime that cannot run on the device or in the precision. If OpenVINO
    cannot convert the network, one line says so, and torch runs it.
    """
    if hasattr(model, "precisions"):  # of a file that torch does not run
        model.use(precision)
        return Forward(model, device, precision, model.runtime, model.parallel)
    if not isinstance(model, models.Network):
        return Forward(model, device, precision, "torch", exact=exact)
    if runtime == "auto":
        runtime = _fastest(model, device, precision, loaded)
    elif runtime == "openvino":
        _check_openvino(device, precision)
    parallel = _is_parallel(model, device, loaded)
    if runtime == "openvino":
        try:
            network = models.to_openvino(model, _OPENVINO[precision], keep=loaded)
            return Forward(network, device, precision, "openvino", parallel)
        except UserError as error:
            if find_spec("openvino") is None:
                raise
            print_note(f"{error}; torch runs it")
    if loaded and (half := _dtype(precision)):
        model.hold_weights(half)
    return Forward(model, device, precision, "torch", parallel, exact)


def _is_parallel(model: models.Network, device: torch.device, loaded: bool) -> bool:
    """Whether threads may run a network at the same time: a small one of a file, on a CPU.

    The maps of a large one would fill the memory, and it uses several threads well. A network that
    a program made may have hooks that expect to be called in turn.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    return device.type == "cpu" and loaded and count < _SMALL


def runtime_of_file(runtime: Runtime, device: str) -> FileRuntime:
    """The program that runs an ONNX file on a device: "cpu" or "cuda", see `find_provider`.

    It is OpenVINO where "auto" stands for it, and where onnxruntime is missing.
    Raises UserError if OpenVINO was asked for on a GPU.
    """
    if runtime == "auto":
        runtime = _asked() or ("openvino" if device == "cpu" and _has_openvino() else "torch")
    if runtime == "openvino":
        _check_on_cpu(device)
    return "openvino" if runtime == "openvino" or openvino_alone() else "onnxruntime"


def runtime_for(runtime: Runtime, weights: Any, photos: int | None) -> Runtime:
    """The runtime for a number of photos, None if it is unknown: "auto" is torch for a few.

    Exported files need no conversion, so a few photos are enough for OpenVINO. With onnxruntime,
    they would be run in another precision than many.
    """
    few = photos is not None and photos < LEAST_PHOTOS and Path(str(weights)).suffix != ".onnx"
    return "torch" if runtime == "auto" and few else runtime


def _dtype(precision: str) -> torch.dtype | None:
    """The type of half precision, None for fp32."""
    import torch

    return getattr(torch, _HALF[precision]) if precision in _HALF else None


def _fastest(model: models.Network, device: torch.device, precision: str, loaded: bool) -> str:
    """The runtime that "auto" stands for.

    OpenVINO is no faster for corner pooling, and published networks are not measured with it.
    """
    if asked := _asked():
        return asked
    suits = loaded and not model.corners and "converted_from" not in model.spec.info
    able = device.type == "cpu" and precision in _OPENVINO and _has_openvino()
    return "openvino" if suits and able else "torch"


def _asked() -> Runtime | None:
    """The runtime that TAGWISE_RUNTIME in the environment sets in place of "auto"."""
    asked = os.environ.get("TAGWISE_RUNTIME") or "auto"
    check_choice("TAGWISE_RUNTIME", asked, Runtime)
    return None if asked == "auto" else asked


def _has_openvino() -> bool:
    """Whether OpenVINO is installed, and works.

    It has instructions of its own beside those of oneDNN. Limits for oneDNN alone break it.
    """
    return "ONEDNN_MAX_CPU_ISA" not in os.environ and find_spec("openvino") is not None


def _check_openvino(device: torch.device, precision: str) -> None:
    _check_on_cpu(str(device))
    if precision not in _OPENVINO:
        raise UserError(f"the runtime openvino runs in fp32 or bf16, not in {precision}")


def _check_on_cpu(device: str) -> None:
    if device != "cpu":
        raise UserError(f"the runtime openvino runs on the CPU, not on {device}; use --device cpu")
