"""ONNX files that `tagwise export` wrote, run by onnxruntime or OpenVINO on numpy arrays.

Nothing here needs torch: `tagwise.models.onnx` makes a torch module of it. The package onnx, which
examines a graph before it is run, is optional.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.files import SNIFFED, kind_of, open_regular
from tagwise.models.checks import check_maps, check_values
from tagwise.models.onnx_graph import fault_of
from tagwise.models.onnx_sessions import (
    OnnxRuntimeSession,
    OpenVinoSession,
    Session,
    need_onnxruntime,
)
from tagwise.models.spec import HEADER, ModelSpec, parse_spec
from tagwise.tasks import create_task

INPUT = "images"

FileRuntime = Literal["onnxruntime", "openvino"]


class OnnxModel:
    """A network that maps arrays to arrays.

    session: the graph. multiple, stride: attributes of the network that was exported.
    maps: names of the maps, as in `Task.heads`. candidates: names of the other outputs, see
        `Task.candidates`; files of earlier versions have none.
    runtime, precisions, parallel: those of the session.
    """

    def __init__(self, session: Session, spec: ModelSpec, multiple: int, stride: int) -> None:
        self.spec, self.multiple, self.stride = spec, multiple, stride
        self.task = create_task(spec.task, **spec.task_options)
        self._session, heads = session, self.task.heads()
        self.maps = [name for name in session.outputs if name in heads]
        self.candidates = [name for name in session.outputs if name not in heads]
        self.runtime, self.precisions = session.runtime, session.precisions
        self.parallel = session.parallel

    def use(self, precision: str) -> None:
        """Run in one of `precisions` from now on; before, it is fp32."""
        self._session.use(precision)

    def __call__(
        self, images: np.ndarray, names: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """RGB images (B, 3, H, W) float32 in [0, 1] to outputs by name; by default the maps.

        Raises UserError for images of a size that the graph does not take.
        """
        names = list(self.maps if names is None else names)
        try:
            found = self._session.run(np.ascontiguousarray(images, np.float32), names)
        except UserError:
            raise
        except Exception as error:  # onnxruntime's own classes, e.g. for a graph of fixed size
            shape = " × ".join(map(str, images.shape))
            raise UserError(
                f"the ONNX network fails on images of {shape}: {_reason(error)}"
            ) from error
        return dict(zip(names, found, strict=True))


def read_onnx_model(
    path: Path, device: str = "cpu", runtime: FileRuntime = "onnxruntime"
) -> OnnxModel:
    """The model of an ONNX file that `tagwise export` wrote.

    The graph is run only after checks that `tagwise export` wrote it and, if the package onnx is
    installed, that it is harmless. device: see `find_provider`; OpenVINO runs on the CPU.
    Raises UserError for damaged files and files of other programs, and if `runtime` is missing.
    """
    with open_regular(path, "ONNX file") as file:
        data = file.read()
    if find_spec("onnx"):
        _check_graph(data, path)
    try:
        session = _open(data, path, device, runtime)
        header = session.entry(HEADER)
        if header is None:
            raise _of_others(path)
        spec, sides = parse_spec(header, path), json.loads(header)
        multiple, stride = (int(sides[name]) for name in ("multiple", "stride"))
        model = OnnxModel(session, spec, multiple, stride)
        _check_outputs(model, session.inputs)
    except UserError:
        raise
    except Exception as error:  # onnxruntime has its own class for each type of damage
        raise _damaged(path, _reason(error)) from error
    check_maps(model, model, path)
    return model


def _open(data: bytes, path: Path, device: str, runtime: FileRuntime) -> Session:
    if runtime == "openvino":
        return OpenVinoSession(data, path)
    return OnnxRuntimeSession(data, device)


def _check_graph(data: bytes, path: Path) -> None:
    """Raise UserError for a graph that must not be run, before it is opened."""
    import onnx
    from onnx import TensorProto, numpy_helper

    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own classes
        raise _damaged(path, kind_of(data[:SNIFFED]) or "damaged") from error
    if all(entry.key != HEADER for entry in model.metadata_props):
        raise _of_others(path)
    try:
        fault = fault_of(onnx, model, len(data))
    except Exception as error:
        fault = _reason(error)
    if fault:
        raise _damaged(path, fault)
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    for tensor in model.graph.initializer:
        if tensor.data_type in floats:
            check_values(tensor.name, numpy_helper.to_array(tensor), path)


def _check_outputs(model: OnnxModel, inputs: list[str]) -> None:
    """Raise ValueError unless the graph takes images and returns what its task decodes."""
    other = set(model.task.heads()) != set(model.maps)
    if inputs != [INPUT] or other or min(model.multiple, model.stride) < 1:
        computed = ", ".join((*model.maps, *model.candidates))
        raise ValueError(f"it computes {brief(computed, 200)} from {', '.join(inputs)}")


def _of_others(path: Path) -> UserError:
    return UserError(
        f"{path} was not written by `tagwise export`: it has no description of its maps"
    )


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is not a readable ONNX file ({reason}); get it again")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def openvino_alone() -> bool:
    """Whether OpenVINO is the only installed program that runs ONNX files."""
    return find_spec("onnxruntime") is None and find_spec("openvino") is not None


def find_provider(device: str = "auto") -> str:
    """The device that runs ONNX files: "cpu", or "cuda" with the onnxruntime for GPUs.

    Raises UserError for other devices, and if neither onnxruntime nor OpenVINO is installed.
    """
    alone = openvino_alone()
    providers = () if alone else need_onnxruntime().get_available_providers()
    runs_cuda = "CUDAExecutionProvider" in providers
    if device == "auto":
        return "cuda" if runs_cuda else "cpu"
    kind, _, index = device.partition(":")
    if kind == "cuda" and runs_cuda and (not index or index.isdecimal()):
        return device
    if device != "cpu":
        program = "OpenVINO" if alone else "this onnxruntime"
        raise UserError(
            f"device {device!r} is not available: {program} runs on "
            f"{'cpu and cuda' if runs_cuda else 'the cpu only'}; use --device cpu"
        )
    return device
