"""Prediction from ONNX files in a process that has no torch: the same results as with it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import without_torch
from tagwise import Predictor
from tagwise.commands.export import export
from tagwise.grouping import CornerSettings
from tagwise.models import create_model, save_model
from tagwise.skeletons import Skeleton
from tagwise.tasks import CornerTask, PixelTask, PoseTask

pytest.importorskip("onnx", reason="needs the extra 'export'")
pytest.importorskip("onnxruntime", reason="needs the extra 'export'")

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"
LINE = Skeleton("line", ("head", "middle", "tail"), ((0, 1), (1, 2)))
TASKS = {
    "pose": PoseTask(LINE, tag_dim=2, position=8, offsets=True, heatmap_loss="focal"),
    "corners": CornerTask(["dot", "box"], centres=True, pairing=CornerSettings(top_k=40)),
    "pixels": PixelTask(position=8, zoom=0.25),
}

# Python, then the command line; prints what is compared.
PREDICT = """
import json, sys
import tagwise
from tagwise.cli import main

photo, *files = sys.argv[1:]
for file in files:
    predictor = tagwise.Predictor(file, threshold=0)
    print(json.dumps([result.to_dict() for result in predictor.stream([photo, photo])]))
    assert predictor(photo).plot().size == (548, 342)
code = main(["predict", photo, "--weights", file, "--out", "found", "--threshold", "0"])
assert code == 0 and "torch" not in sys.modules
"""

OPENVINO = """
import json, os, sys
import tagwise

os.environ["OMP_NUM_THREADS"] = "2"  # threads that run the network at the same time
photo, file = sys.argv[1:]
predictor = tagwise.Predictor(file, conf=0, precision="fp32")
first, *others = predictor.stream([photo] * 4)
assert predictor.runtime == "openvino" and "torch" not in sys.modules
assert all(other.to_dict() == first.to_dict() for other in others)
print(json.dumps(first.to_dict()))
"""

REFUSED = """
import sys
import tagwise

for weights, options in (("people", {}), (sys.argv[1], {"flip": True})):
    try:
        tagwise.Predictor(weights, **options)
    except tagwise.UserError as error:
        print(error)
"""

COMMAND = """
import sys
from tagwise.cli import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Exported files of untrained networks, one per task, by its name."""
    folder, paths = tmp_path_factory.mktemp("exported"), {}
    for name, task in TASKS.items():
        torch.manual_seed(0)
        model = create_model("small", task, input_size=(96, 64), width=8, channels=8)
        for head, branch in model.heads.items():
            if task.heads()[head].kind == "heatmap":
                branch.output.weight.data.mul_(300)
                branch.output.bias.data.zero_()
        save_model(model, folder / f"{name}.safetensors", half=False)
        paths[name] = export(folder / f"{name}.safetensors", out=folder / f"{name}.onnx")
    return paths


def numbers(value):
    """All numbers in the values of a JSON document, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for each in value for number in numbers(each)]
    return [] if isinstance(value, str | None) else [float(value)]


def test_results_are_those_of_the_network(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = without_torch.run(PREDICT, PHOTO, *files.values())
    assert done.returncode == 0, done.stderr
    for line, path in zip(done.stdout.splitlines(), files.values()):
        found = json.loads(line)
        ours = Predictor(path.with_suffix(".safetensors"), threshold=0, precision="fp32")(PHOTO)
        assert len(ours) > 1
        for record in found:
            assert record.keys() == ours.to_dict().keys()
            assert len(record["instances"]) == len(ours)
            np.testing.assert_allclose(numbers(record), numbers(ours.to_dict()), atol=0.02)
    (record,) = Path("found").glob("*.json")
    assert json.loads(record.read_text())["instances"] == found[0]["instances"]
    assert record.with_suffix(".jpg").stat().st_size > 1000


def test_openvino_alone_runs_exported_files(files, tmp_path, monkeypatch):
    """Without torch and onnxruntime, the results are the same."""
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("OpenVINO fails if oneDNN alone is limited")
    monkeypatch.chdir(tmp_path)
    file = files["pose"]
    ours = Predictor(file, threshold=0)(PHOTO)
    hidden = (*without_torch.MISSING, "onnxruntime")
    done = without_torch.run(OPENVINO, PHOTO, file, missing=hidden)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_allclose(numbers(found), numbers(ours.to_dict()), atol=0.02)


def test_what_needs_torch_says_so(files):
    done = without_torch.run(REFUSED, files["pose"])
    first, second = done.stdout.splitlines()
    assert first.startswith("people with these options needs torch: pip install torch. Without it")
    assert "pose.onnx with these options needs torch" in second
    commands = (["predict", PHOTO], ["train", "recipe.yaml"], ["models"])
    for command in commands:
        done = without_torch.run(COMMAND, *command)
        assert done.returncode == 2
        assert "needs torch: pip install torch" in done.stderr
        assert len(done.stderr.splitlines()) == 1
