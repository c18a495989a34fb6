"""Every benchmark has a help text, names missing data, and uses the current package."""

import contextlib
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from shared_folder import SHARED
from tagwise.data import SyntheticShapes
from tagwise.errors import UserError
from tagwise.results import Poses
from tagwise.skeletons import Skeleton

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCENES = ["corners.py", "decode.py"]  # scripts that need the scenes of the shared folder
# These need photos, labels, a GPU, another package or hours.
LONG = {
    "everyday.py",
    "faster_rcnn.py",
    "gpu.py",
    "learning_curve.py",
    "losses.py",
    "models.py",
    "nuclei.py",
    "pipeline.py",
    "predict.py",
    "suggestions.py",
    "verify.py",
}
SCRIPTS = sorted(path.name for path in FOLDER.glob("[!_]*.py"))


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("name", SCRIPTS)
def test_benchmark_has_a_help_text(monkeypatch, capsys, name):
    assert run(monkeypatch, name, "--help") == 0
    title = (FOLDER / name).read_text().splitlines()[0].strip('"')
    assert " ".join(title.split()) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", SCENES)
def test_missing_scenes_are_named(monkeypatch, capsys, tmp_path, name):
    assert run(monkeypatch, name, str(tmp_path)) == 0
    assert f"skipped: {tmp_path} has no " in capsys.readouterr().err


def test_everyday_pictures_count_skeletons_where_no_person_is(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    import everyday

    skeleton = Skeleton("pin", ("top", "foot"))
    poses = Poses(
        [[[90, 90, 1], [90, 110, 1]], [[600, 90, 1], [600, 110, 1]]], [0.9, 0.3], None, skeleton
    )
    assert len(everyday.false_skeletons("leaf.jpg", poses)) == 2
    assert everyday.false_skeletons("basketball1.png", poses) == []
    assert all(everyday.is_found(poses, man) for man in everyday.MEN["basketball1.png"])
    assert [row["x"] for row in everyday.false_skeletons("left03.jpg", poses)] == [90]
    assert everyday.false_skeletons("leaf.jpg", poses[:0]) == []
    assert len(everyday.PEOPLE) == 29
    for name in ("b.png", "a.jpg", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in everyday.pictures(tmp_path)] == ["a.jpg", "b.png"]
    with pytest.raises(UserError, match="no pictures"):
        everyday.pictures(tmp_path / "none")


QUICK = [name for name in SCRIPTS if name not in LONG]


@pytest.mark.parametrize("name", QUICK)
def test_benchmark_runs_at_its_smallest_size(monkeypatch, capsys, tmp_path, name):
    if name == "tracking.py":
        pytest.importorskip("motmetrics")
    scenes = [str(SHARED / "bench")] if name in SCENES else []
    monkeypatch.setattr(sys, "argv", [name, "--quick", *scenes])
    monkeypatch.syspath_prepend(str(FOLDER))
    import _bench

    monkeypatch.setattr(_bench, "OUT", tmp_path)
    with contextlib.suppress(SystemExit):  # without the shared scenes
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    said = capsys.readouterr()
    if "skipped: " not in said.err:
        assert re.search(r"\b(met|missed)\b", said.out)
        assert list(tmp_path.glob("*.json"))


def test_faster_rcnn_is_a_task_that_can_be_scored(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    from _faster_rcnn import FasterRCNNTask

    shapes = SyntheticShapes(("disc", "star"), 3, size=(96, 96), count=(2, 4), radius=(8, 20))
    annotations = shapes.save(tmp_path)
    first = FasterRCNNTask.open_dataset(annotations, tmp_path / "images")
    task = FasterRCNNTask.from_dict(first.labels_of_task())
    assert FasterRCNNTask.from_dict(task.to_dict()) == task
    dataset = task.open_dataset(annotations, tmp_path / "images", like=task)
    scorer = task.make_scorer(dataset)
    for index in range(len(dataset)):
        targets = task.collate([task.encode(dataset[index], stride=4)])
        outputs = {"network": PerfectDetector(), "truth": targets}
        (found,) = task.decode(outputs, stride=4)
        scorer.add(index, found)
        assert task.loss(outputs, targets)["total"] == 3
    assert scorer.figures()["AP"] == 1


class PerfectDetector:
    """A substitute for torchvision's network that finds the true boxes and has two loss terms."""

    def detect(self, outputs, targets=None):
        if targets is not None:
            return [], {"first": torch.tensor(1.0), "second": torch.tensor(2.0)}
        pairs = zip(outputs["truth"]["boxes"], outputs["truth"]["labels"], strict=True)
        found = [{"boxes": b, "labels": n, "scores": torch.ones(len(n))} for b, n in pairs]
        return found, {}
