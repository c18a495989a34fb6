"""The short form of `fuzzed_models.py`, and messages that name what is wrong in a model file."""

import json
import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits memory as Unix does")

fuzzed_models = pytest.importorskip("fuzzed_models")
from tagwise.errors import UserError  # noqa: E402
from tagwise.models import load_model  # noqa: E402
from tagwise.prediction.predictor import Predictor  # noqa: E402

EVERY = 101


@pytest.mark.parametrize("task", fuzzed_models.TASKS)
@pytest.mark.filterwarnings("ignore")
def test_damaged_models_are_refused_or_predict(tmp_path, task):
    faults = []
    for number, case in enumerate(fuzzed_models.cases(tmp_path, 0, (task,))):
        if number % EVERY == 0:
            what, text = fuzzed_models.outcome(case, tmp_path)
            assert number or what == "read", text  # the first one is sound
            faults += [f"{case.kind}: {text}"] if what == "fault" else []
    assert faults == []


@pytest.mark.parametrize(
    ("path", "new", "says"),
    [
        (("task_options", "tag_dim"), 1, "tag_dim is 1, but position 16.0 needs an even number"),
        (("task_options", "grouping", "top_k"), -1, "grouping: top_k is -1; use a whole number"),
        (("task_options", "sigma"), "x", "sigma is 'x'; use a number above 0"),
        (("task_options", "tag_dimm"), 2, "did you mean 'tag_dim'?"),
        (("task",), "poses", "did you mean 'pose'?"),
        (("name",), "smal", "did you mean 'small'?"),
        (("name",), 3, "name is 3; use text"),
        (("options", "width"), [8], "width must be a whole number from 1 to 4096, not [8]"),
        (("options", "width"), 16, "size mismatch"),
        (("input_size",), [0, 64], "input_size is [0, 64]; use two whole numbers from 1 to 16384"),
        (("input_size",), "64", "input_size is '64'; use two whole numbers"),
        (("decoder", "threshold"), 7, "decoder.threshold is 7; use a score from 0 to 1"),
        (("decoder", "threshold"), "x", "decoder.threshold is 'x'"),
        (("decoder", "fitting"), 3, "decoder.fitting is 3; use a name"),
        (("decoder",), [], "decoder is []; use names and values"),
        (("task_options", "offsets"), False, "Unexpected key"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_on_load(tmp_path, path, new, says):
    header, data = fuzzed_models.model_file(fuzzed_models.TASKS["pose"], tmp_path)
    spec = json.loads(header["__metadata__"]["tagwise"])
    file = tmp_path / "fox.safetensors"
    file.write_bytes(
        fuzzed_models._with_spec(header, fuzzed_models._changed(spec, path, new), data)
    )
    with pytest.raises(UserError) as caught:
        load_model(file)
    assert "fox.safetensors" in str(caught.value)
    assert says in str(caught.value)


def test_an_input_size_that_is_no_multiple_is_padded(tmp_path):
    header, data = fuzzed_models.model_file(fuzzed_models.TASKS["pose"], tmp_path)
    spec = json.loads(header["__metadata__"]["tagwise"])
    file = tmp_path / "fox.safetensors"
    spec["input_size"] = [50, 70]
    file.write_bytes(fuzzed_models._with_spec(header, spec, data))
    predictor = Predictor(file, device="cpu")
    maps, _ = predictor.maps(fuzzed_models.IMAGE)
    assert maps["heatmaps"].shape[-2:] == (16, 16)  # of 64 × 64 pixels
