"""Measured steps, and the number of steps that follows."""

import pytest

from small_runs import recipe_for
from tagwise.training.data import open_datasets
from tagwise.training.timing import plan_steps, seconds_per_step


def test_a_step_takes_time_and_longer_with_more_images(scenes):
    recipe = recipe_for(scenes, steps=1)
    datasets, _, task = open_datasets(recipe)
    assert 0 < seconds_per_step(recipe, datasets[0], task) < 60


@pytest.mark.parametrize(
    ("usual", "seconds", "steps"),
    [
        (2000, 1.0, 2000),  # 33 minutes
        (2000, 0.1, 6000),  # 3 minutes: three times the steps
        (2000, 0.3, 4000),  # 20 minutes are well spent
        (2000, 5.0, 1400),  # two hours
        (2000, 60.0, 1000),  # not fewer
        (600, 60.0, 600),
    ],
)
def test_steps_for_a_machine(usual, seconds, steps):
    assert plan_steps(usual, seconds)[0] == steps


def test_shortened_runs_say_so():
    assert (
        plan_steps(2000, 5.0)[1] == "2000 would suit the data, but a step takes 5 s here, measured"
    )
