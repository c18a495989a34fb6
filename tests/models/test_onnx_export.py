"""Models as ONNX files: the same maps at any size, and the same results of `Predictor`."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tagwise import Predictor, load_model
from tagwise.commands.export import export
from tagwise.errors import UserError
from tagwise.grouping.candidates import peaks_of
from tagwise.grouping.peaks import find_peaks
from tagwise.models import create_model, save_model, shipped_models
from tagwise.models.onnx import OnnxNetwork
from tagwise.models.onnx_export import check_graph
from tagwise.models.onnx_model import read_onnx_model
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask

onnx = pytest.importorskip("onnx", reason="needs the extra 'export'")
pytest.importorskip("onnxruntime", reason="needs the extra 'export'")

OUTPUTS = ["heatmaps", "tags", "peak_scores", "peak_xy", "peak_cells", "peak_tags"]
OUTPUTS += ["heatmap_scores"]
PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"


@pytest.fixture
def small(tmp_path):
    """The file of a small untrained pose model."""
    torch.manual_seed(0)
    model = create_model("small", PoseTask(COCO17, tag_dim=2, position=8), input_size=(96, 64))
    save_model(model, tmp_path / "small.safetensors", half=False)
    return tmp_path / "small.safetensors"


def maps(model, images):
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (3, 3, 64, 160)])
def test_maps_of_any_size_equal_those_of_the_network(small, shape):
    path = export(small, out=small.with_name("m.onnx"))
    images = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    expected, found = maps(load_model(small), images), maps(load_model(path), images)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", shipped_models())
def test_exported_shipped_model_gives_the_same_instances(name, tmp_path):
    """Poses, boxes with corner pooling, masks in tiles; once mirrored too, which needs torch."""
    path = export(name, out=tmp_path / f"{name}.onnx")
    assert bool(Predictor(path).model.candidates) == (name != "nuclei")
    for flip in (False, True) if name == "people" else (False,):
        ours = Predictor(name, precision="fp32", size=256, flip=flip, threshold=0.05)(PHOTO)
        theirs = Predictor(path, size=256, flip=flip, threshold=0.05)(PHOTO)
        assert len(theirs) == len(ours) > 0
        assert theirs.model == name
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-3)
        np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=0.2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hourglass", {"stacks": 2, "channels": 8, "increase": 4}),
        ("higherhrnet_w32", {"width": 16}),
        ("cornernet_squeeze", {"width": 32}),
    ],
)
def test_published_networks_are_exported(name, options, tmp_path):
    task = CornerTask(("a", "b")) if "corner" in name else PoseTask(COCO17)
    torch.manual_seed(0)
    save_model(create_model(name, task, **options), tmp_path / "m.safetensors")
    path = export(tmp_path / "m.safetensors", out=tmp_path / "m.onnx")
    assert isinstance(load_model(path), OnnxNetwork)


def test_file_describes_its_use(small):
    path = export(small, out=small.with_name("m.onnx"))
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert [entry.name for entry in model.graph.input] == ["images"]
    assert [entry.name for entry in model.graph.output] == OUTPUTS
    header = json.loads({entry.key: entry.value for entry in model.metadata_props}["tagwise"])
    assert header["input_size"] == [96, 64]
    assert (header["multiple"], header["stride"]) == (32, 4)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (3, 3, 64, 160)])
def test_candidates_are_the_peaks_of_the_maps(small, shape):
    """Also in an image that has fewer cells than there are candidates."""
    model = read_onnx_model(export(small, out=small.with_name("m.onnx")))
    images = np.random.default_rng(0).random(shape, np.float32)
    found = model(images, OUTPUTS)
    chosen = dataclasses.replace(model.task.grouping, peak_threshold=0)
    expected = find_peaks(found["heatmaps"].clip(0, 1), found["tags"], chosen)
    peaks = peaks_of(found, chosen)
    assert len(peaks) > 10
    np.testing.assert_array_equal(peaks.cells, expected.cells)
    np.testing.assert_allclose(peaks.xy, expected.xy, atol=1e-5)
    np.testing.assert_array_equal(peaks.tags, expected.tags)
    one = model(images[:1], OUTPUTS[2:])
    np.testing.assert_allclose(one["peak_scores"], found["peak_scores"][:1], atol=1e-6)


def test_files_of_earlier_versions_have_maps_only(small, monkeypatch):
    new = export(small, out=small.with_name("new.onnx"))
    monkeypatch.setattr(PoseTask, "candidates", lambda task, maps: {})
    old = export(small, out=small.with_name("old.onnx"))
    monkeypatch.undo()
    first, second = Predictor(old, threshold=0), Predictor(new, threshold=0)
    assert not first.model.candidates
    assert second.model.candidates == OUTPUTS[2:]
    found, expected = first(PHOTO), second(PHOTO)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)


def test_wrong_candidates_are_refused(small, monkeypatch):
    """The graph is compared with what the task finds in its maps."""
    path = export(small, out=small.with_name("m.onnx"))
    model = load_model(small)
    grouping = dataclasses.replace(model.task.grouping, nms_window=9)
    model.task = dataclasses.replace(model.task, grouping=grouping)
    with pytest.raises(UserError, match=r"peak_scores on images of .* are not those of its maps"):
        check_graph(model, path.read_bytes())


def test_published_fittings_have_no_candidates(tmp_path):
    """They resize the maps before peaks are found."""
    model = create_model("small", PoseTask(COCO17), width=8, channels=8)
    model.spec = dataclasses.replace(model.spec, decoder={"fitting": "higherhrnet"})
    save_model(model, tmp_path / "m.safetensors")
    path = export(tmp_path / "m.safetensors", out=tmp_path / "m.onnx")
    assert read_onnx_model(path).candidates == []
    assert isinstance(Predictor(path).model, OnnxNetwork)


def test_by_default_the_file_is_named_after_the_model(small, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert export(small) == Path("small.onnx")
    assert (tmp_path / "elsewhere" / "small.onnx").exists()


def test_graph_that_differs_is_refused(small):
    model = load_model(small)
    path = export(small, out=small.with_name("m.onnx"))
    with torch.no_grad():
        next(model.heads["tags"].parameters()).mul_(1.1)
    with pytest.raises(UserError, match="tags differ by"):
        check_graph(model, path.read_bytes())


def test_invalid_input_is_refused(small, tmp_path):
    with pytest.raises(UserError, match=r"m\.pt; give a name that ends in \.onnx"):
        export(small, out=tmp_path / "m.pt")
    path = export(small, out=tmp_path / "m.onnx")
    with pytest.raises(UserError, match="is already an ONNX file"):
        export(path)
    with pytest.raises(
        UserError, match="onnxruntime runs this file in fp32, not in bf16; use --runtime op"
    ):
        Predictor(path, precision="bf16")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"cut\.onnx is not a readable ONNX file"):
        load_model(tmp_path / "cut.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match=r"other\.onnx was not written by `tagwise export`"):
        load_model(tmp_path / "other.onnx")


def test_missing_extra_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'tagwise\[export\]'"):
        export(small, out=small.with_name("m.onnx"))
    assert not small.with_name("m.onnx").exists()


def test_configuration_for_triton_matches_the_graph(tmp_path):
    page = (PHOTO.parents[2] / "docs" / "export.md").read_text()
    graph = onnx.load(export("people", out=tmp_path / "people.onnx")).graph
    sides = {"rows": 512, "columns": 512}
    kinds = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64"}
    stated = {}
    for value in [*graph.input, *graph.output]:
        kind = value.type.tensor_type
        first, *dims = (side.dim_param or side.dim_value for side in kind.shape.dim)
        assert first == "batch"
        stated[value.name] = kinds[kind.elem_type], [sides.get(side, side) for side in dims]
    config = re.findall(r'name: "(\w+)", data_type: (\w+), dims: (\[[^]]*\])', page)
    assert len(config) == 5
    for name, kind, dims in config:
        assert stated[name] == (kind, json.loads(dims))
