"""Graphs that OpenVINO runs on the CPU, for images of any size; needs the extra "openvino"."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from tagwise.errors import UserError, optional
from tagwise.runtime import count_threads, has_bf16, sharing_threads

Shape = tuple[int | None, ...]

_OWN = 4  # shapes of images with a graph of their own
_MOST_VALUES = 1 << 28  # of a tensor, per image; the largest of a HigherHRNet has 1 << 24
_REFUSED = frozenset(("Assign", "If", "Loop", "ReadValue", "TensorIterator"))
_TELEMETRY = "openvino_telemetry"


class OpenVinoGraph:
    """An OpenVINO graph with images as its only input, for images of any size.

    A graph of fixed size is reshaped for images of another one, as Open Model Zoo's demos do. The
    first few shapes of images have a compiled graph of their own. All others share one, which takes
    about a tenth longer; compiling takes as long as several images. Threads may share a graph. It
    runs in one of them at a time, except in those that called `tagwise.runtime.share_threads`.

    path: for errors. model: an openvino.Model. precision: of the computation; a processor without
    instructions for bf16 uses f32.
    """

    def __init__(self, path: Path, model: Any, precision: Literal["f32", "bf16"] = "f32") -> None:
        self._path, self._model = path, model
        self._precision = precision if has_bf16() else "f32"
        self._core = need_openvino().Core()
        # The keys begin with the number of threads that run the graph at the same time.
        self._compiled: dict[tuple[int, Shape], Any] = {}
        self._any_shape: dict[int, Any] = {}
        self._lock = Lock()
        self._idle: dict[Any, list[Any]] = {}  # what runs each compiled graph, when nobody uses it
        shape = model.input(0).get_partial_shape()
        self.shape = tuple(side.get_length() if side.is_static else None for side in shape)
        self.outputs = [_names_of(port) for port in model.outputs]

    def __call__(self, images: np.ndarray, places: Sequence[int] | None = None) -> list[np.ndarray]:
        """(B, C, H, W) to outputs (B, ...) of the graph; those of floats are float32.

        places: of the outputs to return, in `outputs`; by default all.
        """
        places = range(len(self.outputs)) if places is None else places
        if self.shape[0] is None or self.shape[0] == len(images):
            return self._run(images, places)
        parts = [self._run(images[n : n + 1], places) for n in range(len(images))]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def output_shapes(self, height: int, width: int) -> list[Shape]:
        """The shapes of the outputs for one image of this size; None for an unknown side."""
        shapes = [port.get_partial_shape() for port in self._for(1, height, width).outputs]
        return [tuple(s.get_length() if s.is_static else None for s in shape) for shape in shapes]

    def _run(self, images: np.ndarray, places: Sequence[int]) -> list[np.ndarray]:
        try:
            kind = self._model.input(0).get_element_type().to_dtype()
            inputs = images if np.issubdtype(kind, np.floating) else np.rint(images)
            with self._request(images.shape) as request:
                found = request.infer([np.ascontiguousarray(inputs, kind)], share_inputs=True)
                return [_copy(found[place]) for place in places]
        except Exception as error:  # OpenVINO raises RuntimeErrors of its own, of many lines
            shape = " × ".join(map(str, images.shape))
            raise UserError(
                f"{self._path} fails on images of {shape}: {reason_of(error)}"
            ) from error

    @contextmanager
    def _request(self, shape: tuple[int, ...]) -> Iterator[Any]:
        """What runs the graph on images of a shape, for one thread at a time.

        It is kept for the next call from any thread. One that belonged to a thread would be
        destroyed in the middle of the thread's end, where OpenVINO gives up Python's lock.
        """
        streams = sharing_threads()
        with self._lock:
            graph = self._graph(streams, shape)
            idle = self._idle.setdefault(graph, [])
            request = idle.pop() if idle else graph.create_infer_request()
        yield request
        with self._lock:
            idle.append(request)

    def _graph(self, streams: int, shape: tuple[int, ...]) -> Any:
        """The graph compiled for images of a shape, or for images of any shape."""
        if (streams, shape) not in self._compiled:
            model = self._for(shape[0], *shape[2:])
            if sum(own == streams for own, _ in self._compiled) < _OWN:
                self._compiled[streams, shape] = self._compile(streams, model)
            else:
                if streams not in self._any_shape:
                    model = self._reshaped([self.shape[0] or -1, -1, -1])
                    self._any_shape[streams] = self._compile(streams, model)
                self._compiled[streams, shape] = self._any_shape[streams]
        return self._compiled[streams, shape]

    def _compile(self, streams: int, model: Any) -> Any:
        config = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": streams * count_threads(),
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # reading and decoding run at the same time
        }
        return self._core.compile_model(model, "CPU", config)

    def _for(self, batch: int, height: int, width: int) -> Any:
        """The graph for images of one shape; the original is not changed."""
        if self.shape == (batch, self.shape[1], height, width):
            return self._model
        model = self._reshaped([batch, height, width])
        if fault := fault_of(model, batch):
            raise ValueError(fault)
        return model

    def _reshaped(self, sides: list[int]) -> Any:
        model = self._model.clone()
        model.reshape({model.input(0): [sides[0], self.shape[1], *sides[1:]]})
        return model


def _copy(values: np.ndarray) -> np.ndarray:
    """A copy of an output, which the next images will overwrite."""
    return np.array(values, np.float32 if np.issubdtype(values.dtype, np.floating) else None)


def fault_of(model: Any, images: int = 1) -> str | None:
    """The reason not to compile a graph for a number of images, or None.

    OpenVINO computes constants when it compiles a graph, even if they exhaust the memory.
    """
    for node in model.get_ops():
        if node.get_type_name() in _REFUSED:
            return f"it has {node.get_type_name()}, which networks for images do not need"
        for port in node.outputs():
            shape = port.get_partial_shape()
            if shape.is_static and math.prod(shape.to_shape()) > _MOST_VALUES * images:
                return f"its tensor {node.get_friendly_name()!r} has the shape {shape}"
    return None


def need_openvino(what: str = "OpenVINO files need") -> Any:
    """Import openvino, which then sends no data about its use, as it would by default.

    what: the start of the error if it is missing. Raises UserError that names the extra.
    """
    with _FIRST_USE, _without_telemetry():
        openvino = optional("openvino", "openvino", f"{what} openvino")
        # OpenVINO looks for numpy when it first needs it, here. If two threads did so at once, one
        # would wait for the other without releasing Python's lock, which the other needs: forever.
        openvino.Type.f32.to_dtype()
    return openvino


_FIRST_USE = Lock()


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let the import of a package that sends data fail; openvino then uses an empty one."""
    if _TELEMETRY in sys.modules:
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]


def reason_of(error: Exception) -> str:
    """The last line of an error of OpenVINO, which has one for every place that it passed."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[-1].split())[:200]


def _names_of(port: Any) -> set[str]:
    """The names of an output: of its tensor, and of the node that computes it."""
    return {*port.get_names(), port.get_node().input_value(0).get_node().get_friendly_name()}
