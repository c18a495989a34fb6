"""Files of an earlier version, in `earlier`, load and give the same results."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from tagwise.grouping import GroupingSettings
from tagwise.label_maps import rle_mask
from tagwise.models import load_model
from tagwise.prediction.predictor import Predictor
from tagwise.tasks import create_task, read_result
from tagwise.training.recipe import load_recipe

EARLIER = Path(__file__).parent / "earlier"
TASKS = ("pose", "corners", "pixels")
LABELS = {
    "pose": {
        "skeleton": {
            "name": "pin",
            "keypoints": ["head", "tail"],
            "edges": [[0, 1]],
            "sigmas": [0.2, 0.2],
        }
    },
    "corners": {"classes": ["brick", "ring"]},
    "pixels": {},
}


def stored(name):
    return json.loads((EARLIER / name).read_text())


def instances_of(model, task):
    found = Predictor(model, device="cpu", precision="fp32")(EARLIER / f"{task}.png")
    return found.to_dict()["instances"]


def assert_same(found, expected, atol=0.05):
    """The same instances, best first; processors round differently, by much less than `atol`."""
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if name == "mask":
                masks = rle_mask(one[name]).astype(bool), rle_mask(value).astype(bool)
                assert (masks[0] & masks[1]).sum() > 0.95 * (masks[0] | masks[1]).sum()
            elif isinstance(value, str):
                assert one[name] == value
            else:
                ours, theirs = np.array(one[name], float), np.array(value, float)
                np.testing.assert_allclose(ours, theirs, atol=atol, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_earlier_model_gives_the_same_results(task):
    expected = stored(f"{task}.predictions.json")["instances"]
    assert_same(instances_of(EARLIER / f"{task}.safetensors", task), expected)


def test_earlier_onnx_file_gives_the_same_results():
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    expected = stored("pose.predictions.json")["instances"]
    assert_same(instances_of(EARLIER / "pose.onnx", "pose"), expected)


@pytest.mark.parametrize("preset", ["higherhrnet", "poseae", "mmpose1"])
def test_earlier_settings_contain_published_rules(preset, tmp_path):
    entry, model = stored("pose.presets.json")[preset], tmp_path / "pose.safetensors"
    assert "join_equal" in entry["header"]["task_options"]["grouping"]
    weights = load_file(EARLIER / "pose.safetensors")
    save_file(weights, model, metadata={"tagwise": json.dumps(entry["header"])})
    assert load_model(model).task.grouping == GroupingSettings.preset(preset)
    assert_same(instances_of(model, "pose"), entry["instances"])


@pytest.mark.parametrize("task", TASKS)
def test_earlier_recipe_has_the_same_settings(task):
    recipe, resolved = (load_recipe(EARLIER / f"{task}{kind}.yaml") for kind in ("", ".resolved"))
    assert recipe == resolved
    written = yaml.safe_load((EARLIER / f"{task}.yaml").read_text())
    assert recipe.optim.steps == written["optim"]["steps"]
    made = create_task(recipe.task, **LABELS[task], **recipe.task_options)
    assert made == load_model(EARLIER / f"{task}.safetensors").task


@pytest.mark.parametrize("task", TASKS)
def test_earlier_predictions_are_read_and_written_unchanged(task):
    record = stored(f"{task}.predictions.json")
    again = read_result(record).to_dict()
    # A pose's box follows from its keypoints, which the record has rounded.
    assert_same(again.pop("instances"), record.pop("instances"), atol=0.011)
    assert again == record
