"""Batches of a recipe contain the right samples for any step and number of processes."""

from dataclasses import replace

import pytest
import torch

from small_runs import FIGURE, recipe_for
from tagwise.data.augment import Augment
from tagwise.errors import UserError
from tagwise.models import create_model
from tagwise.tasks import PoseTask
from tagwise.training.data import make_loader, open_datasets


@pytest.fixture
def recipe(scenes):
    whole = recipe_for(scenes, 4)
    return replace(whole, optim=replace(whole.optim, batch=2))


def batches(recipe, processes=1, start=0):
    datasets, _, _ = open_datasets(recipe)
    model = create_model("small", PoseTask(FIGURE), width=8)
    return list(make_loader(recipe, datasets, model, processes, start))


def test_batch_contains_images_and_targets_per_stride(recipe):
    images, targets = batches(recipe)[0]
    assert images.shape == (2, 96, 96, 3)
    assert images.dtype == torch.uint8
    assert set(targets) == {4}
    assert targets[4]["heatmaps"].shape == (2, 4, 24, 24)


def test_samples_depend_on_their_number_alone(recipe):
    whole = batches(recipe)
    assert len(whole) == 4
    resumed = batches(recipe, start=1)
    assert len(resumed) == 3
    for (ours, _), (theirs, _) in zip(resumed, whole[1:], strict=True):
        assert torch.equal(ours, theirs)
    # Two processes take turns: one list of batches, twice as long.
    shared = batches(recipe, processes=2)
    assert len(shared) == 8
    for (ours, _), (theirs, _) in zip(shared, whole, strict=False):
        assert torch.equal(ours, theirs)
    assert len(batches(recipe, processes=2, start=3)) == 2


def test_missing_dataset_is_named(recipe):
    missing = replace(recipe.data.train[0], annotations="nowhere.json")
    with pytest.raises(UserError, match=r"nowhere\.json"):
        open_datasets(replace(recipe, data=replace(recipe.data, train=(missing,))))


def with_data(recipe, **changes):
    return replace(recipe, data=replace(recipe.data, **changes))


def mirror_lines(error):
    return [line for line in error.splitlines() if line.startswith("in a mirror")]


def test_swapped_keypoint_types_are_printed(recipe, capsys):
    sets, val, task = open_datasets(recipe)
    assert mirror_lines(capsys.readouterr().err) == [
        "in a mirrored image, left_foot and right_foot change places"
    ]
    assert sets[0].flip == val.flip == task.skeleton.flip == (0, 1, 3, 2)


def test_pairs_of_the_recipe_take_precedence_over_names(recipe, capsys):
    stated = with_data(recipe, flip_pairs=(("head", "trunk"),), augment=Augment(flip=1.0))
    sets, val, task = open_datasets(stated)
    assert sets[0].flip == val.flip == task.skeleton.flip == (1, 0, 2, 3)
    (line,) = mirror_lines(capsys.readouterr().err)
    assert line.startswith(
        "in a mirrored image, head and trunk change places; sides without a pair: left_f"
    )


def test_sides_without_a_pair_are_accepted_without_flip(recipe, capsys):
    open_datasets(with_data(recipe, flip_pairs=(), augment=Augment(flip=0.0)))
    lines = mirror_lines(capsys.readouterr().err)
    assert lines == ["in a mirrored image, no keypoint types change places"]


def test_pairs_of_unknown_types_are_refused(recipe):
    with pytest.raises(UserError, match=r"unknown keypoint of flip_pairs: 'trunc'; did you mean"):
        open_datasets(with_data(recipe, flip_pairs=(("head", "trunc"),)))


def test_endless_trainings_need_no_memory(recipe):
    steps = 10**9
    recipe = replace(recipe, optim=replace(recipe.optim, steps=steps, batch=2))
    sets, _, task = open_datasets(recipe)
    model = create_model("small", task, width=16)
    loader = make_loader(recipe, sets, model, 1, steps - 2)
    first = 2 * steps - 4
    assert len(loader) == 2
    assert list(loader.batch_sampler) == [[first, first + 1], [first + 2, first + 3]]
