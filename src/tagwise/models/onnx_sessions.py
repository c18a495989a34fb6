"""The programs that run the graph of an ONNX file: onnxruntime, and OpenVINO on a CPU.

Both take arrays, and neither needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tagwise.errors import optional
from tagwise.models.openvino_graph import OpenVinoGraph, fault_of, need_openvino, reason_of
from tagwise.runtime import count_threads, sharing_threads

_LARGE = 80_000_000  # bytes of a file, 20 million float32 weights; see `runtimes._is_parallel`


class Session(ABC):
    """A graph that is ready to run.

    runtime: the name of the program. precisions: those in which it can run the graph.
    parallel: whether several threads may run it at the same time, each with its share of the cores.
    inputs, outputs: their names.
    """

    runtime: str
    precisions: tuple[str, ...] = ("fp32",)
    parallel: bool
    inputs: list[str]
    outputs: list[str]

    @abstractmethod
    def entry(self, name: str) -> str | None:
        """An entry of the metadata of the file."""

    @abstractmethod
    def use(self, precision: str) -> None:
        """Run in one of `precisions` from now on; before, it is fp32."""

    @abstractmethod
    def run(self, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """The named outputs for images (B, 3, H, W) float32; floats are float32."""


class OnnxRuntimeSession(Session):
    """A graph that onnxruntime runs, with as many threads as torch would use.

    Raises UserError if onnxruntime is missing, and its own errors for damaged graphs.
    """

    runtime = "onnxruntime"

    def __init__(self, graph: bytes, device: str = "cpu") -> None:
        self._graph, self._device = graph, device
        self.parallel = device == "cpu" and len(graph) < _LARGE
        self._opened: dict[int, Any] = {}  # by the number of callers at the same time
        self._lock = Lock()
        session = self._session()
        self.inputs = [each.name for each in session.get_inputs()]
        self.outputs = [each.name for each in session.get_outputs()]

    def entry(self, name: str) -> str | None:
        return self._session().get_modelmeta().custom_metadata_map.get(name)

    def use(self, precision: str) -> None:
        """Do nothing: there is one precision."""

    def run(self, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        return self._session().run(list(names), {self.inputs[0]: images})

    def _session(self) -> Any:
        """What runs the graph in the calling thread and those that share the cores with it.

        Each caller computes too, beside the threads of the session, which serve all callers.
        """
        callers = sharing_threads()
        with self._lock:
            if callers not in self._opened:
                threads = callers * (count_threads() - 1) + 1
                self._opened[callers] = _open_session(self._graph, self._device, threads)
            return self._opened[callers]


def _open_session(graph: bytes, device: str, threads: int) -> Any:
    """An `onnxruntime.InferenceSession`."""
    runtime = need_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised; print nothing else
    providers: list[Any] = ["CPUExecutionProvider"]
    kind, _, index = device.partition(":")
    if kind == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(index or 0)}))
    # With the CPU alone there is nothing to fall back to, and no reason to print that.
    fall_back = int(len(providers) > 1)
    return runtime.InferenceSession(graph, options, providers=providers, enable_fallback=fall_back)


class OpenVinoSession(Session):
    """A graph that OpenVINO runs on the CPU, see `OpenVinoGraph`.

    Raises UserError if openvino is missing, and ValueError for damaged graphs.
    """

    runtime = "openvino"
    precisions = ("fp32", "bf16")

    def __init__(self, graph: bytes, path: Path) -> None:
        core = need_openvino("the runtime openvino needs").Core()
        try:
            self._model = core.read_model(graph, b"")
            fault = fault_of(self._model)
        except RuntimeError as error:  # with one line for each place that the error passed
            raise ValueError(reason_of(error)) from error
        if fault:
            raise ValueError(fault)
        self._path, self.parallel = path, len(graph) < _LARGE
        self.inputs = [port.get_any_name() for port in self._model.inputs]
        self.outputs = [port.get_any_name() for port in self._model.outputs]
        self._places = {name: place for place, name in enumerate(self.outputs)}
        self._precision = ""
        self.use("fp32")

    def entry(self, name: str) -> str | None:
        place = ["framework", name]
        return (
            self._model.get_rt_info(place).astype(str) if self._model.has_rt_info(place) else None
        )

    def use(self, precision: str) -> None:
        if precision != self._precision:
            kind = {"fp32": "f32", "bf16": "bf16"}[precision]
            self._precision, self._graph = precision, OpenVinoGraph(self._path, self._model, kind)

    def run(self, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        return self._graph(images, [self._places[name] for name in names])


def need_onnxruntime() -> Any:
    """Import onnxruntime. Raises UserError that names the extra if it is missing."""
    return optional("onnxruntime", "onnx", "ONNX files need onnxruntime")
