"""Tests of the scripts in recipes/, which prepare labels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tagwise.data.coco import CocoKeypoints

RECIPES = Path(__file__).parents[1] / "recipes"
PIN = {"id": 1, "name": "pin", "keypoints": ["top", "foot"], "skeleton": [[1, 2]]}


def run(script, *arguments):
    command = [sys.executable, str(RECIPES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_set(folder, count, category=PIN):
    """A COCO file of `count` images with as many pins as their number, from 1."""
    images, labels = [], []
    for number in range(1, count + 1):
        size = {"width": 64, "height": 48}
        images.append({"id": number, "file_name": f"{number}.png", **size})
        for _ in range(number):
            label = {"id": len(labels), "image_id": number, "category_id": 1, "iscrowd": 0}
            label |= {"keypoints": [5, number, 2, 9, 9, 2], "num_keypoints": 2}
            labels.append({**label, "bbox": [5, 5, 9, 9], "area": 81})
    (folder / "images").mkdir(parents=True)
    for image in images:
        (folder / "images" / image["file_name"]).touch()
    content = {"images": images, "annotations": labels, "categories": [category]}
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


def test_joined_files_have_the_images_and_labels_of_each(tmp_path):
    write_set(tmp_path / "a", 2)
    write_set(tmp_path / "b", 3)
    assert (
        run("join.py", tmp_path, "a/train.json", "b/train.json", "--out", "all.json").stderr == ""
    )
    dataset = CocoKeypoints(tmp_path / "all.json", tmp_path)
    names = [str(dataset.path(n).relative_to(tmp_path)) for n in range(len(dataset))]
    assert names == [f"a/images/{n}.png" for n in (1, 2)] + [f"b/images/{n}.png" for n in (1, 2, 3)]
    content = json.loads((tmp_path / "all.json").read_text())
    assert [a["image_id"] for a in content["annotations"]] == [0, 1, 1, 2, 3, 3, 4, 4, 4]
    assert len({a["id"] for a in content["annotations"]}) == 9


def test_files_with_other_categories_are_not_joined(tmp_path):
    write_set(tmp_path / "a", 1)
    write_set(tmp_path / "b", 1, {**PIN, "keypoints": ["foot", "top"]})
    ran = run("join.py", tmp_path, "a/train.json", "b/train.json", "--out", "all.json")
    assert ran.returncode == 1
    assert "b/train.json has other categories than a/train.json" in ran.stderr


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_split_holds_out_the_last_images(tmp_path, share):
    path = write_set(tmp_path, 10)
    assert run("split.py", path, "--share", share).returncode == 0
    fit, held = (json.loads((tmp_path / f"train.{n}.json").read_text()) for n in ("fit", "held"))
    names = sorted(f"{n}.png" for n in range(1, 11))
    assert [i["file_name"] for i in fit["images"] + held["images"]] == names
    assert len(held["images"]) == 10 * share
    for part in (fit, held):
        assert {a["image_id"] for a in part["annotations"]} == {i["id"] for i in part["images"]}
