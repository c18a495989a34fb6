"""`make verify` measures public models on COCO val2017, or says where to get it."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from tagwise.skeletons import COCO17

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def verify(monkeypatch, tmp_path):
    """Run the script with some arguments; returns its exit code."""
    monkeypatch.delenv("TAGWISE_SHARED", raising=False)
    monkeypatch.setenv("TAGWISE_BENCHMARKS", str(tmp_path / "measured"))
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "_bench", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["verify.py", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(FOLDER / "verify.py"), run_name="__main__")
        return end.value.code

    return run


def write_set(annotations, images):
    """One photo with one person, as COCO JSON."""
    for folder in (annotations.parent, images):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy("photo.png", images / "photo.png")
    keypoints = [value for k in range(17) for value in (20 + 5 * k, 20 + 3 * k, 2)]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 90, 70]}
    annotation |= {"keypoints": keypoints, "iscrowd": 0, "area": 5000, "num_keypoints": 17}
    content = {
        "images": [{"id": 1, "file_name": "photo.png", "width": 121, "height": 90}],
        "annotations": [annotation],
        "categories": [COCO17.to_coco()],
    }
    annotations.write_text(json.dumps(content))


def test_without_photos_it_explains(server, known, verify, capsys):
    assert verify() == 0
    assert "make verify COCO=/path/to/that/folder" in capsys.readouterr().out
    assert server.requests == []


def test_published_and_measured_stand_in_one_row(server, known, verify, capsys, monkeypatch):
    write_set(Path("coco/annotations/person_keypoints_val2017.json"), Path("coco/val2017"))
    write_set(Path("shared/data/people_coco/val.json"), Path("shared/data/people_coco/images"))
    monkeypatch.setenv("TAGWISE_SHARED", "shared")
    assert verify("--coco", "coco") == 0
    title, val, people = (line.split() for line in capsys.readouterr().out.splitlines()[:3])
    assert title == ["model", "photos", "published", "measured", "AP50"]
    assert val[:5] == ["tiny-hrnet", "COCO", "val2017,", "1", "67.1"]
    assert people[:3] == ["tiny-hrnet", "people_coco,", "1"]
    assert len(people) == len(val) - 2  # nothing is published for these photos


def test_what_cannot_be_measured_is_said(server, known, verify, capsys):
    assert verify("--coco", "nowhere") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("tiny-hrnet: ")
