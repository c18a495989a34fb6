"""The init command: from labels to a recipe that training takes as it is."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lab_files import save_sleap, sleap_labels, write_video
from labelled_sets import bees, coco_of, write_set
from small_runs import write_scenes
from tagwise.cli import main
from tagwise.commands.init import init, parse_pairs
from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.training import first_recipe
from tagwise.training.data import open_datasets
from tagwise.training.recipe import load_recipe
from tagwise.training.timing import seconds_per_step
from tagwise.training.validation import check_best


@pytest.fixture
def fast(monkeypatch, tmp_path):
    """Do not measure the time of training, and work in an empty folder."""
    monkeypatch.setattr(first_recipe, "seconds_per_step", lambda *_: 1.0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def labels(tmp_path):
    """Labels of 10 images with 3 bees each, without edges."""
    rng = np.random.default_rng(0)
    return write_set(tmp_path / "lab", coco_of([bees(rng, 3) for _ in range(10)]))


def test_command_line_leads_to_a_trained_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scenes(tmp_path, "scenes", 10, seed=0)
    command = [sys.executable, "-m", "tagwise", "init", "scenes.json", "--images", "scenes"]
    ran = subprocess.run(
        [*command, "--name", "figure"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for text in (
        "scenes.json is a COCO file: 10 images",
        "keypoint types: 0 head, 1 trunk, 2 left_foot, 3 right_foot",
        "left and right, from the names: left_foot and right_foot",
        "at random, seed 0",
        "8 images to train on, 2 to validate on",
        "measured)",
        "tagwise train figure.yaml",
    ):
        assert text in ran.stdout, text
    for name in ("labels.jpg", "samples.jpg"):
        assert cv2.imread(str(tmp_path / "figure" / name)).shape[1] > 900
    monkeypatch.chdir(tmp_path.parent)  # the recipe can be used from any folder
    out = tmp_path / "run"
    few = ["--optim.steps", "2", "--optim.batch", "2", "--out", str(out)]
    assert main(["train", str(tmp_path / "figure.yaml"), *few]) == 0
    task = load_model(out / "best.safetensors").task
    assert task.skeleton.keypoints == ("head", "trunk", "left_foot", "right_foot")
    assert task.skeleton.edges == ((0, 1), (1, 2), (1, 3))


def test_recipe_states_its_reasons(labels, fast, tmp_path):
    report = init(labels, name="bee", yes=True)
    text = report.recipe.read_text("utf-8")
    assert "# instances have no usual direction" in text
    unwrapped = text.replace("\n# ", " ")
    assert unwrapped.startswith(f"# Written by `tagwise init` from {labels}.")
    recipe = load_recipe(report.recipe)
    assert recipe.sigmas == 0.05
    assert recipe.data.augment.rotate == 180
    assert recipe.data.flip_pairs == (("left_antenna", "right_antenna"),)
    assert recipe.tuned is None
    train, val = (
        CocoKeypoints(tmp_path / part.annotations, part.images)
        for part in (recipe.data.train[0], recipe.data.val)
    )
    assert (len(train), len(val)) == (8, 2)
    assert not {info.file for info in map(train.info, range(8))} & {val.info(0).file}
    # The edges were proposed, since the labels have none.
    assert train.skeleton.edges == ((0, 1), (1, 2), (2, 3), (2, 4))


def test_problems_are_listed_and_kept(labels, fast):
    content = json.loads(labels.read_text())
    content["annotations"][0]["keypoints"][:3] = [9000, 10, 2]
    content["annotations"].append({**content["annotations"][3], "id": 99})
    labels.write_text(json.dumps(content))
    report = init(labels, yes=True)
    kept = json.loads((report.folder / "problems.json").read_text())
    assert [(each["kind"], each["annotation_id"]) for each in kept] == [
        ("keypoint outside the image, left out", 1),
        ("instance is labelled twice", 99),
    ]
    assert "1 × instance is labelled twice" in str(report)
    assert "frame_002.png, image 2, annotation 99" in str(report)


def test_earlier_files_are_kept(labels, fast):
    report = init(labels, yes=True)
    before = report.recipe.read_bytes()
    with pytest.raises(UserError, match=r"my_animal\.yaml exists; add --overwrite"):
        init(labels, yes=True, val=0.5)
    assert report.recipe.read_bytes() == before
    report = init(labels, yes=True, val=0.5, overwrite=True)
    assert len(json.loads((report.folder / "val.json").read_text())["images"]) == 5


def test_frames_of_a_video_in_a_sleap_file(fast, tmp_path):
    video = write_video(tmp_path / "clip.mp4")
    save_sleap(sleap_labels(video, frames=(1, 3, 5, 7, 9)), tmp_path / "labels.slp")
    report = init(tmp_path / "labels.slp", yes=True)
    text = str(report)
    assert "labels.slp is a SLEAP file: 5 frames" in text
    assert "0 head, 1 tail tip, 2 尾" in text
    assert "left and right, from the labels: tail tip and 尾" in text
    recipe = load_recipe(report.recipe)
    assert recipe.data.flip_pairs == (("tail tip", "尾"),)
    images = json.loads((report.folder / "val.json").read_text())["images"]
    assert [image["frame"] for image in images] == [9]  # the last of the video


def assert_trains(recipe):
    """Make a step with one image, as training does, and open the photos to validate on."""
    datasets, val, task = open_datasets(recipe)
    few = replace(recipe, optim=replace(recipe.optim, batch=1))
    assert seconds_per_step(few, datasets[0], task, steps=1) > 0
    check_best(recipe.run.best, task, val)


def test_boxes(fast, tmp_path):
    scenes = SyntheticShapes(("disc", "star"), 8, size=(160, 120), count=(3, 5), radius=(9, 20))
    write_scenes_of(scenes, tmp_path / "shapes")
    report = init(tmp_path / "shapes" / "labels.json", yes=True)
    recipe = load_recipe(report.recipe)
    assert recipe.task == "corners"
    assert recipe.model.drop_head
    assert "boxes of 2 classes: disc, star" in report.lines
    assert_trains(recipe)


def write_scenes_of(scenes, folder):
    content = scenes.to_coco()
    folder.mkdir()
    for index, image in enumerate(content["images"]):
        image["file_name"] = f"{index}.png"
        cv2.imwrite(str(folder / f"{index}.png"), scenes[index].image[..., ::-1])
    (folder / "labels.json").write_text(json.dumps(content))


def test_masks(fast, tmp_path):
    scenes = SyntheticShapes(
        ("disc",), 6, size=(256, 256), count=(6, 9), radius=(9, 14), masks=True
    )
    for index in range(6):
        for name, picture in (("images", scenes[index].image), ("masks", scenes[index].labels)):
            (tmp_path / "cells" / name).mkdir(parents=True, exist_ok=True)
            picture = picture.astype(np.uint16) if name == "masks" else picture
            cv2.imwrite(str(tmp_path / "cells" / name / f"{index}.png"), picture)
    report = init(tmp_path / "cells", yes=True, val=0.34)
    recipe = load_recipe(report.recipe)
    assert (recipe.task, recipe.model.pretrained, recipe.model.drop_head) == (
        "pixels",
        "nuclei",
        False,
    )
    folder = report.folder
    sets = [
        LabelMaps(folder / part / "images", folder / part / "labels") for part in ("train", "val")
    ]
    assert [len(each) for each in sets] == [4, 2]
    assert_trains(recipe)


def test_outlines_become_masks(fast, tmp_path):
    """Two squares that overlap: the smaller one is in front. One instance has only a box."""
    big, small = [[20, 20, 120, 20, 120, 120, 20, 120]], [[100, 100, 140, 100, 140, 140, 100, 140]]
    content = coco_of([np.zeros((0, 5, 3))] * 4, size=(160, 160))
    for image in content["images"]:
        for outline in (small, big, None):
            annotation = {"image_id": image["id"], "category_id": 1, "bbox": [1, 1, 9, 9]}
            annotation |= {"segmentation": outline, "id": len(content["annotations"]) + 1}
            content["annotations"].append(annotation)
    labels = write_set(tmp_path / "lab", content)
    report = init(labels, yes=True, task="pixels", val=0.25)
    dataset = LabelMaps(report.folder / "train" / "images", report.folder / "train" / "labels")
    assert len(dataset) == 3
    found = dataset.label_map(0)
    assert found[110, 110] == found[130, 130] != found[50, 50]
    assert found[0, 0] == 0
    assert "4 × instance without a mask, left out" in str(report)


# ---------------------------------------------------------------------- bad input


def test_one_labelled_frame_is_enough_for_a_recipe(fast, tmp_path):
    labels = write_set(tmp_path / "lab", coco_of([bees(np.random.default_rng(0), 2)]))
    report = init(labels, yes=True)
    assert "split one image only: nothing is left to validate on" in report.lines
    assert load_recipe(report.recipe).data.val is None


def test_other_category_and_missing_images_are_named(labels, fast):
    content = json.loads(labels.read_text())
    content["categories"].append({"id": 2, "name": "wasp 蜂", "keypoints": ["a", "b"]})
    wasp = {"image_id": 1, "category_id": 2, "keypoints": [5, 5, 2, 30, 30, 2]}
    content["annotations"] += [{"id": 100, **wasp}]
    content["images"].append({"id": 77, "file_name": "lost.png", "width": 640, "height": 480})
    labels.write_text(json.dumps(content))
    report = init(labels, yes=True)
    assert (
        "left out: 1 instances of category 'wasp 蜂'; one recipe learns one category, here 'bee' "
        "(see --category)"
    ) in report.lines
    assert "1 × image file not found (give its folder with --images)" in str(report)
    assert "keypoint types: 0 a, 1 b" in str(init(labels, name="w", category="wasp 蜂", yes=True))


def test_sides_without_a_pair_turn_mirroring_off(fast, tmp_path):
    names = ("tail", "thorax", "head", "left_antenna", "tongue")
    content = coco_of([bees(np.random.default_rng(n), 2) for n in range(6)], names)
    report = init(write_set(tmp_path / "lab", content), yes=True)
    assert "sides without a pair: left_antenna" in str(report)
    assert load_recipe(report.recipe).data.augment.flip == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": "1.5"}, "val is 1.5; give a share above 0 and below 1"),
        ({"category": "ant"}, "unknown category with keypoints 'ant'"),
        ({"start": "rabbits"}, "unknown start 'rabbits'"),
        ({"start": "blood"}, "blood is a model of the task corners, not pose"),
        ({"images": "nowhere"}, "no such folder of images: nowhere"),
        ({"task": "pixels"}, "no instance of the labels has a mask"),
    ],
)
def test_bad_arguments(options, message, labels, fast):
    with pytest.raises(UserError, match=message):
        init(labels, yes=True, **options)
    assert not Path("my_animal").exists()


def test_bad_labels(fast, tmp_path):
    (tmp_path / "lab").mkdir()
    empty = coco_of([np.zeros((0, 5, 3))] * 3)
    with pytest.raises(UserError, match="has no labelled instance"):
        init(write_set(tmp_path / "lab", empty), yes=True)
    (tmp_path / "notes.txt").write_text("no labels")
    with pytest.raises(UserError, match=r"notes\.txt is not a file of labels"):
        init(tmp_path / "notes.txt", yes=True)
    assert not list(tmp_path.glob("my_animal*"))


# ---------------------------------------------------------------------- questions


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("typed", "pairs", "asked"),
    [
        ("\n", (("left_antenna", "right_antenna"),), 1),
        ("none\n", (), 1),
        ("tail=wing\n0 = 2\n", (("tail", "head"),), 2),
    ],
)
def test_pairs_are_confirmed_on_a_terminal(typed, pairs, asked, labels, fast, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", screen)
    recipe = load_recipe(init(labels).recipe)
    assert recipe.data.flip_pairs == pairs
    assert screen.getvalue().count("Are left and right correct?") == asked


def test_answers_name_pairs():
    names = ("nose", "ear, left", "b", "c")
    assert parse_pairs("b=c", names) == [(2, 3)]
    with pytest.raises(UserError, match="unknown keypoint of the answer: 'd'"):
        parse_pairs("b=d", names)
