"""Public models and published checkpoints are tested as published, or fast."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from checkpoints import published
from servers import digest
from tagwise import Predictor, cli, create_model, evaluate, save_model
from tagwise.errors import UserError
from tagwise.grouping.settings import CornerSettings, GroupingSettings
from tagwise.models.cornernet import CornerNet
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask


@pytest.fixture
def weights(cache, checkpoint):
    """The checkpoint as a file of the user."""
    Path("theirs.pth").write_bytes(checkpoint)
    return "theirs.pth"


def labels(name):
    """A labelled set of photo.png with one person, in a file of this name."""
    keypoints = [value for k in range(17) for value in (20 + 5 * k, 20 + 3 * k, 2)]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 90, 70]}
    annotation |= {"keypoints": keypoints, "iscrowd": 0, "area": 5000, "num_keypoints": 17}
    content = {
        "images": [{"id": 1, "file_name": "photo.png", "width": 121, "height": 90}],
        "annotations": [annotation],
        "categories": [COCO17.to_coco()],
    }
    Path(name).write_text(json.dumps(content))
    return name


def people(predictor):
    found = predictor("photo.png")
    return np.nan_to_num(found.keypoints), found.scores


@pytest.mark.parametrize("by_name", [True, False])
def test_published_is_the_test_of_the_authors(server, known, weights, by_name):
    given = "tiny-hrnet" if by_name else weights
    ours = Predictor(given, protocol="published", size=128, threshold=0)
    assert (ours.flip, ours.scales) == (True, (1.0,))
    for one, other in zip(
        people(ours), people(Predictor(weights, flip=True, size=128, threshold=0))
    ):
        np.testing.assert_array_equal(one, other)


def test_scales_of_the_published_test_are_used_unless_others_are_given(server, use, checkpoint):
    use(digest(checkpoint), scales=(0.5, 1.0, 2.0))
    assert Predictor("tiny-hrnet", protocol="published").scales == (0.5, 1.0, 2.0)
    assert Predictor("tiny-hrnet", protocol="published", scales=(1.0, 2.0)).scales == (1.0, 2.0)
    assert Predictor("tiny-hrnet").scales == (1.0,)


@pytest.mark.parametrize("given", ["tiny-hrnet", "theirs.pth"])
def test_fast_is_the_decoder_of_tagwise_without_flip(server, known, weights, given):
    fast = Predictor(given, protocol="fast")
    assert not fast.flip
    assert fast.task.grouping == GroupingSettings()
    assert fast.model.task.grouping.published is not None
    assert fast.settings()["protocol"] == "fast"
    assert len(fast("photo.png").keypoints) >= 0


def test_the_default_is_fast_by_name_and_as_before_by_file(server, known, weights):
    assert Predictor("tiny-hrnet").protocol == "fast"
    plain = Predictor(weights)
    assert plain.protocol is None
    assert "protocol" not in plain.settings()
    assert plain.task.grouping.published is not None


def test_cornernet_has_both(cache):
    published(CornerNet(3, squeeze=False, width=32), "module.", [], seed=1)
    assert Predictor("weights.pth", protocol="fast").task.pairing == CornerSettings()
    assert Predictor("weights.pth", protocol="published").flip
    published(CornerNet(3, squeeze=True, width=32), "module.", [], seed=1)
    assert not Predictor("weights.pth", protocol="published").flip


def test_other_models_have_no_protocol(cache, capsys):
    command = ["predict", "photo.png", "--weights", "people", "--protocol", "published"]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("tagwise: people has no published test")
    assert said.count("\n") == 1
    with pytest.raises(UserError, match="unknown protocol 'quick'"):
        Predictor("people", protocol="quick")


def test_predict_and_track_take_a_protocol(server, known, cache):
    flags = ("--weights", "tiny-hrnet", "--protocol", "published")
    assert cli.main(["predict", "photo.png", *flags, "--out", "found", "--threshold", "0"]) == 0
    record = json.loads(Path("found/photo.predictions.json").read_text())
    wanted = Predictor("tiny-hrnet", protocol="published", threshold=0)("photo.png")
    assert len(record["instances"]) == len(wanted)
    Path("clip").mkdir()
    shutil.copy("photo.png", "clip/0.png")
    assert cli.main(["track", "clip", *flags, "--no-pictures"]) == 0


@pytest.mark.parametrize("name", ["person_keypoints_val2017.json", "mine.json"])
def test_eval_prints_the_published_ap_next_to_the_measured_one(server, known, capsys, name):
    command = ["eval", "--weights", "tiny-hrnet", "--annotations", labels(name), "--images", "."]
    assert cli.main([*command, "--out", "report.json"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.match(
        r"published AP 67\.1 on COCO val2017 \(flip, one scale\), measured here \d+\.\d "
        r"\(published protocol\)",
        line,
    )
    assert ("other photos" in line) == (name == "mine.json")
    report = json.loads(Path("report.json").read_text())
    assert report["published"] == {
        "AP": pytest.approx(0.671),
        "set": "COCO val2017",
        "test": "flip, one scale",
    }
    assert report["settings"]["flip"] is True
    assert report["settings"]["protocol"] == "published"
    limited = evaluate("tiny-hrnet", name, ".", limit=1, protocol="fast", quiet=True)
    assert limited["settings"]["flip"] is False


def test_eval_of_other_models_has_nothing_published(weights):
    report = evaluate(weights, labels("val2017.json"), ".", quiet=True)
    assert "published" not in report
    assert report["settings"]["protocol"] is None
    assert report["settings"]["flip"] is False


def test_a_model_that_was_trained_further_is_no_public_model(server, known, tmp_path):
    model = create_model("higherhrnet_w32", PoseTask(COCO17), "tiny-hrnet", width=8)
    save_model(model, "mine.safetensors")
    assert Predictor("mine.safetensors").protocol is None
    with pytest.raises(UserError, match="mine has no published test"):
        Predictor("mine.safetensors", protocol="fast")
