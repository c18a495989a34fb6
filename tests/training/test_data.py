"""Batches of a recipe: which samples they hold, whatever the step and the number of processes."""

from dataclasses import replace

import pytest
import torch

from small_runs import FIGURE, recipe_for
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


def test_a_batch_has_images_and_targets_of_the_strides(recipe):
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


def test_a_missing_set_is_named(recipe):
    missing = replace(recipe.data.train[0], annotations="nowhere.json")
    with pytest.raises(UserError, match=r"nowhere\.json"):
        open_datasets(replace(recipe, data=replace(recipe.data, train=(missing,))))
