"""Tests of the learned score of poses, on real photos."""

import json

from tagwise import Predictor, calibrate
from tagwise.evaluation.pose_score import PoseScore
from tagwise.models.model_file import read_model_file


def test_a_model_file_keeps_the_score_of_poses(shared, tmp_path):
    """As many instances are shown as before, in another order."""
    robots = shared / "data" / "robots"
    labels = json.loads((robots / "val.json").read_text())
    labels["images"] = labels["images"][::3]
    (tmp_path / "val.json").write_text(json.dumps(labels))
    given, path = (tmp_path / "val.json", robots / "images"), tmp_path / "scored.safetensors"
    calibrate("robots", *given, path, pose_score=True, sigmas=(0.4,), quiet=True)
    spec, _ = read_model_file(path)
    score = PoseScore.from_dict(spec.task_options["score"])
    assert Predictor(path).task.score == score
    results = [Predictor(w, conf=0) for w in ("robots", path)]
    photos = [robots / "images" / image["file_name"] for image in labels["images"][:8]]
    old, new = ([list(r.scores) for r in predictor.stream(photos)] for predictor in results)
    assert list(map(len, old)) == list(map(len, new))
    assert old != new
