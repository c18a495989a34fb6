"""The programs that run ONNX files have the same outputs."""

import os

import numpy as np
import pytest
import torch

from tagwise.grouping import CornerSettings
from tagwise.models import create_model
from tagwise.models.onnx_export import onnx_file
from tagwise.models.onnx_sessions import OnnxRuntimeSession, OpenVinoSession
from tagwise.models.spec import HEADER
from tagwise.runtime import has_bf16
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PixelTask, PoseTask

for module in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(module, reason="needs the extras 'export' and 'openvino'")

TASKS = {
    "pose": PoseTask(COCO17, tag_dim=2, position=8, offsets=True),
    "corners": CornerTask(["dot", "box"], centres=True, pairing=CornerSettings(top_k=40)),
    "pixels": PixelTask(position=8),
}


@pytest.fixture(scope="module", params=TASKS)
def sessions(request, tmp_path_factory):
    """Those of both programs for the graph of an untrained network."""
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("OpenVINO fails if oneDNN alone is limited")
    torch.manual_seed(0)
    graph = onnx_file(create_model("small", TASKS[request.param], width=8, channels=8).eval())
    path = tmp_path_factory.mktemp("sessions") / "a.onnx"
    return OnnxRuntimeSession(graph), OpenVinoSession(graph, path)


def test_inputs_outputs_and_entries(sessions):
    theirs, ours = sessions
    assert ours.inputs == theirs.inputs == ["images"]
    assert ours.outputs == theirs.outputs
    assert ours.entry(HEADER) == theirs.entry(HEADER)
    assert ours.entry("nothing") is theirs.entry("nothing") is None
    assert ours.parallel
    assert theirs.parallel


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (3, 3, 128, 64)])
def test_outputs_are_equal(sessions, shape):
    theirs, ours = sessions
    images = np.random.default_rng(0).random(shape, np.float32)
    names = ours.outputs[::-1]
    found, expected = ours.run(images, names), theirs.run(images, names)
    for name, one, other in zip(names, found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if name.endswith(("_cells", "_classes", "_xy", "_tags")):
            continue  # rounding decides which of two nearly equal cells is a peak
        np.testing.assert_allclose(one, other, atol=1e-4 * abs(other).max(), err_msg=name)


def test_half_precision_is_near_and_can_be_left(sessions):
    _, ours = sessions
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    name = ours.outputs[0]
    (exact,) = ours.run(images, [name])
    ours.use("bf16")
    (near,) = ours.run(images, [name])
    ours.use("fp32")
    (again,) = ours.run(images, [name])
    np.testing.assert_allclose(near, exact, atol=0.1 * abs(exact).max())
    assert np.array_equal(near, exact) != has_bf16()
    np.testing.assert_array_equal(again, exact)


def test_damaged_graphs_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ONNX|model"):
        OpenVinoSession(b"\x08\x08nothing", tmp_path / "a.onnx")
