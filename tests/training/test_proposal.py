"""Proposed settings: those of the recipes that were written by hand, from the labels alone."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from shared_folder import SHARED
from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.labels.survey import Survey, direction_spread, survey
from tagwise.tasks import create_task
from tagwise.training.proposal import propose
from tagwise.training.recipe import Recipe
from tagwise.training.start import Start

RECIPES = Path(__file__).parents[2] / "recipes"
DATA = SHARED / "data"
START = Start("imagenet")


def a_survey(sides, sizes=(640, 480), counts=None, **facts):
    """A survey of images of one size with instances of these sides."""
    images = 100
    owners = np.arange(len(sides)) % images
    counts = np.bincount(owners, minlength=images) if counts is None else counts
    return Survey(
        np.tile(np.array(sizes, float), (images, 1)),
        counts,
        np.array(sides, float),
        owners,
        **facts,
    )


def recipe_of(choices):
    """The recipe, which checks every value."""
    tree = {**choices.tree}
    tree["data"] = {**tree["data"], "train": [{"annotations": "a", "images": "b"}]}
    return Recipe.from_dict(tree)


def shared_set(name):
    if not DATA.is_dir():
        pytest.skip("needs the shared data")
    folder = DATA / name
    if name == "nuclei":
        return LabelMaps(folder / "train" / "images", folder / "train" / "labels")
    kind = CocoBoxes if name == "blood" else CocoKeypoints
    return kind(folder / "train.json", folder / "images")


@pytest.mark.parametrize(
    ("name", "task"),
    [("bees", "pose"), ("robots", "pose"), ("blood", "corners"), ("nuclei", "pixels")],
)
def test_proposal_is_close_to_the_recipe_that_was_written_by_hand(name, task):
    dataset = shared_set(name)
    ours = recipe_of(propose(task, survey(dataset), START, len(dataset)))
    theirs = Recipe.from_dict(yaml.safe_load((RECIPES / f"{name}.yaml").read_text()))
    mine, hand = ours.data, theirs.data
    assert ours.task_options["tag_dim"] == theirs.task_options["tag_dim"]
    assert ours.task_options["position"] == pytest.approx(theirs.task_options["position"], rel=0.5)
    for size in ("input_size", "val_size"):
        close = pytest.approx(getattr(hand, size), rel=0.35)
        assert getattr(mine, size) == close, size
    for setting in ("scale", "focus_size"):
        close = pytest.approx(getattr(hand.augment, setting), rel=0.6)
        assert getattr(mine.augment, setting) == close, setting
    for setting in ("focus", "mosaic", "paste", "quarter", "shift", "brightness", "contrast"):
        close = pytest.approx(getattr(hand.augment, setting), abs=0.15)
        assert getattr(mine.augment, setting) == close, setting
    assert mine.augment.rotate == pytest.approx(hand.augment.rotate, abs=10)
    assert mine.augment.zoom == pytest.approx(hand.augment.zoom, rel=0.4)
    assert mine.augment.native == hand.augment.native
    assert ours.optim.steps == pytest.approx(theirs.optim.steps, rel=0.25)
    assert ours.model.freeze == theirs.model.freeze


def test_small_instances_get_a_larger_input():
    small, large = (
        recipe_of(propose("pose", a_survey(np.full(200, side)), START, 100)).data.val_size
        for side in (30, 240)
    )
    assert small == (800, 608)
    assert large == (352, 256)


def test_portrait_and_landscape_photos_get_a_square():
    sizes = np.array([[640, 480], [480, 640]] * 10, float)
    mixed = Survey(sizes, np.ones(20, int), np.full(20, 100.0), np.arange(20))
    data = recipe_of(propose("pose", mixed, START, 20)).data
    assert data.val_size[0] == data.val_size[1]


@pytest.mark.parametrize(
    ("most", "mosaic", "paste"), [(1, 0.0, 0.0), (3, 0.15, 0.3), (40, 0.1, 0.3)]
)
def test_crowds_are_made_only_where_images_have_several_instances(most, mosaic, paste):
    found = a_survey(np.full(100 * most, 80.0))
    recipe = recipe_of(propose("pose", found, START, 100))
    assert (recipe.data.augment.mosaic, recipe.data.augment.paste) == (mosaic, paste)
    grouping = recipe.task_options.get("grouping", {})
    assert grouping == ({"top_k": 80, "max_instances": 80} if most == 40 else {})


def test_directions_decide_the_rotation():
    def rotation(**facts):
        augment = recipe_of(propose("pose", a_survey([90.0] * 9, **facts), START, 9)).data.augment
        return augment.rotate

    assert rotation(spread=120.0) == 180
    assert rotation(spread=15.0) == 18
    assert rotation() == 20


def test_spread_is_that_of_a_wrapped_normal_distribution():
    rng = np.random.default_rng(0)
    angles = np.radians(rng.normal(90, 25, 4000))
    keypoints = np.full((4000, 2, 3), 2.0)
    keypoints[:, 0, :2] = 100
    keypoints[:, 1, :2] = 100 + 30 * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert direction_spread(keypoints) == pytest.approx(25, rel=0.05)
    assert direction_spread(keypoints[:5]) is None


def test_images_without_colours_are_not_coloured():
    colours = recipe_of(propose("corners", a_survey([60.0] * 50, grey=1.0), START, 50)).data.augment
    assert (colours.hue, colours.saturation, colours.tint) == (0, 0, 0)


def test_proposals_of_every_task_fit_the_task():
    for task, more in (("pose", {}), ("corners", {"classes": ["a"]}), ("pixels", {})):
        options = recipe_of(propose(task, a_survey([60.0] * 500), START, 99)).task_options
        if task == "pose":
            more = {"skeleton": {"name": "x", "keypoints": ["a", "b"]}}
        create_task(task, **more, **options)


def test_masks_far_from_the_usual_size_are_zoomed():
    def zoom(side):
        found = a_survey(np.full(300, side))
        return recipe_of(propose("pixels", found, START, 100)).task_options["zoom"]

    assert [zoom(side) for side in (5.0, 20.0, 200.0)] == [4.0, 1.0, 0.125]
