"""label and suggest: pseudo-labels that training reads, and the list of what to label next."""

import csv
import json
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from small_runs import FIGURE
from tagwise.commands import label as label_module
from tagwise.commands import suggest as suggest_module
from tagwise.commands.label import label
from tagwise.commands.suggest import suggest
from tagwise.data.coco import CocoKeypoints
from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.prediction.predictor import Outcome
from tagwise.results import Poses
from tagwise.tasks import PoseTask

SIZE = (160, 120)


class Planted:
    """A predictor that finds the instances that a test planted, by the name of the photo."""

    scores: ClassVar[dict[str, list[tuple[float, float]]]] = {}

    def __init__(self, weights, *, conf=None, **options):
        self.task = PoseTask(FIGURE)
        self.threshold = 0.3 if conf is None else conf

    def outcomes(self, images):
        for path in images:
            image = read_image(path)
            yield Outcome(path, image, self.found(path.stem, str(path)))

    def found(self, name, file=None):
        scores = self.scores.get(name, [])
        keypoints = np.zeros((len(scores), 4, 3), np.float32)
        for n, (score, weakest) in enumerate(scores):
            x = 30 + 50 * n
            keypoints[n] = [
                [x, 20, score],
                [x, 50, score],
                [x - 8, 80, score],
                [x + 8, 80, weakest],
            ]
        tags = np.arange(len(scores))[:, None, None] * np.ones((1, 4, 1)) * 3
        found = Poses(keypoints, np.array([s for s, _ in scores]), tags, FIGURE, file, *SIZE)
        return found.above(self.threshold)

    def __call__(self, image):
        return Poses(np.zeros((0, 4, 3)), np.zeros(0), None, FIGURE, None, *SIZE)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos with a confident, an unsure and a faint instance; with an unsure one; with none."""
    monkeypatch.setattr(label_module, "Predictor", Planted)
    monkeypatch.setattr(suggest_module, "Predictor", Planted)
    Planted.scores = {
        "three": [(0.9, 0.9), (0.3, 0.3), (0.05, 0.05)],
        "foot": [(0.8, 0.1)],
        "unsure": [(0.3, 0.3)],
    }
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("three", "foot", "unsure", "empty"):
        noise = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), noise)
    return folder


def test_training_reads_confident_instances_and_ignores_the_rest(photos, tmp_path):
    found = label(photos, "planted", tmp_path / "pseudo.json", quiet=True)
    assert (found.kept, found.seen, found.labels, found.ignored) == (2, 4, 2, 2)
    dataset = CocoKeypoints(found.annotations, found.images)
    assert not dataset.report
    samples = {dataset.info(index).file: dataset[index] for index in range(len(dataset))}
    three, foot = samples["three.png"], samples["foot.png"]
    assert three.keypoints.shape == (1, 4, 3)
    assert three.keypoints[0, :, 0].tolist() == [30, 30, 22, 38]
    assert three.ignore[20:80, 80].all()  # the unsure instance
    assert not three.ignore[:, 25:36].any()  # the confident one
    assert not three.ignore[:, 125:].any()  # the faint one counts as background
    assert foot.keypoints[0, :, 2].tolist() == [2, 2, 2, 0]
    assert foot.ignore[80, 38]
    assert not foot.ignore[:70].any()


def test_bounds_of_scores_are_checked(photos, tmp_path):
    with pytest.raises(UserError, match=r"least is 0\.6 and confident is 0\.5"):
        label(photos, "planted", tmp_path / "pseudo.json", least=0.6, quiet=True)
    with pytest.raises(UserError, match=r"no instance in 4 photos has a score of at least 0\.95"):
        label(photos, "planted", tmp_path / "pseudo.json", confident=0.95, quiet=True)
    assert not (tmp_path / "pseudo.json").exists()


def test_photos_with_planted_doubts_are_suggested_first(photos, tmp_path):
    rows = suggest(photos, "planted", tmp_path / "next", count=3, mirror=False, quiet=True)
    assert [Path(row["file"]).stem for row in rows[:2]] == ["three", "unsure"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert rows == json.loads((tmp_path / "next" / "suggestions.json").read_text())
    with (tmp_path / "next" / "suggestions.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [row["file"] for row in rows]
    sheet = cv2.imread(str(tmp_path / "next" / "sheet.jpg"))
    assert sheet.shape[1] > sheet.shape[0]
    labels = json.loads((tmp_path / "next" / "labels.json").read_text())
    assert labels["images"][0]["file_name"] == "three.png"
    assert {each["score"] for each in labels["annotations"]} == {0.3, 0.9, 0.8}
    assert labels["categories"][0]["keypoints"] == list(FIGURE.keypoints)
    assert (tmp_path / "next" / "images" / "unsure.png").is_file()


def test_labelled_photos_are_not_suggested(photos, tmp_path):
    labelled = label(photos, "planted", tmp_path / "photos" / "done.json", quiet=True).annotations
    rows = suggest(photos, "planted", tmp_path / "next", labelled=labelled, quiet=True)
    assert {row["file"].rpartition("/")[2] for row in rows} == {"unsure.png", "empty.png"}
    with pytest.raises(UserError, match="count is 0; use at least 1"):
        suggest(photos, "planted", tmp_path / "next", count=0, quiet=True)
