"""The search for settings, their steps, and the choice of a threshold."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from tagwise.errors import UserError
from tagwise.evaluation.tuning.search import search
from tagwise.evaluation.tuning.space import Choice, Number, Whole, search_space
from tagwise.evaluation.tuning.thresholds import best_f1, choose_threshold
from tagwise.grouping.settings import CornerSettings, GroupingSettings, PixelSettings
from tagwise.settings import Positive, Settings


@dataclass(frozen=True)
class Shape(Settings):
    """Settings with one best value each."""

    width: Positive = 1.0
    height: Positive = 1.0
    corners: int = 4
    filled: bool = False


SPACE = {
    "width": Number(0.1, 50),
    "height": Number(0.1, 50),
    "corners": Whole(3, 20),
    "filled": Choice((False, True)),
}


def value(shape):
    """Best at width 6, height width / 2, 9 corners, filled."""
    off = abs(np.log(shape.width / 6)) + abs(np.log(2 * shape.height / shape.width))
    return -off - 0.1 * abs(shape.corners - 9) + shape.filled


def test_the_best_settings_are_found():
    found = search(value, Shape(), SPACE, trials=300, seed=3)
    assert found.value > value(Shape(6, 3, 9, True)) - 0.1
    assert found.settings.filled
    assert found.settings.corners == 9
    assert search(value, Shape(), SPACE, trials=300, seed=3) == found
    assert value(found.settings) == found.value


@pytest.mark.parametrize("trials", [1, 2, 17])
def test_no_more_than_the_trials_are_used(trials):
    calls = []
    found = search(lambda s: calls.append(s) or value(s), Shape(), SPACE, trials=trials)
    assert len(calls) == found.trials == trials
    assert len(set(calls)) == trials  # none twice
    assert found.value == max(map(value, calls))


def test_invalid_settings_are_passed_over():
    @dataclass(frozen=True)
    class Pair(Shape):
        def __post_init__(self):
            super().__post_init__()
            if self.width > 2:
                raise UserError("too wide")

    found = search(value, Pair(), SPACE, trials=60)
    assert found.settings.width <= 2


@pytest.mark.parametrize(
    "settings",
    [
        GroupingSettings(),
        GroupingSettings.preset("higherhrnet"),
        GroupingSettings(fill=False, duplicate_similarity=None),
        CornerSettings(),
        CornerSettings(tag_growth=0.1),
        CornerSettings.preset("cornernet"),
        PixelSettings(),
    ],
)
def test_every_step_from_settings_is_valid(settings):
    """Steps of any spread, repeated in one direction, never leave what the settings allow."""
    space = search_space(settings)
    assert space
    for name, steps in space.items():
        for spread in (1.1, 1.6):
            for direction in range(2):
                changed = settings
                for _ in range(12):
                    options = steps.near(getattr(changed, name), spread)
                    if direction < len(options):
                        assert options[direction] != getattr(changed, name)
                        changed = replace(changed, **{name: options[direction]})


def test_settings_without_effect_are_left_out():
    assert "fill_reach" not in search_space(GroupingSettings(fill=False))
    assert "duplicate_similarity" not in search_space(GroupingSettings(duplicate_similarity=None))
    assert "tag_growth" not in search_space(CornerSettings())
    assert search_space(Shape()) == {}


# ---------------------------------------------------------------------- thresholds

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
RIGHT = np.array([1, 1, 1, 0, 1, 0, 0], bool)


def test_the_threshold_is_in_the_middle_below_the_last_detection_that_helps():
    chosen = choose_threshold(SCORES, RIGHT, 5)
    assert chosen.value == pytest.approx(0.45)
    assert (chosen.precision, chosen.recall) == pytest.approx((4 / 5, 4 / 5))
    assert chosen.f1 == pytest.approx(best_f1(SCORES, RIGHT, 5, 0)) == pytest.approx(0.8)
    assert chosen.false_photos is None


def test_a_wanted_precision_raises_it():
    chosen = choose_threshold(SCORES, RIGHT, 5, precision=0.9)
    assert chosen.value == pytest.approx(0.65)
    assert chosen.f1 == pytest.approx(best_f1(SCORES, RIGHT, 5, 0.9)) == pytest.approx(0.75)
    never = np.zeros(7, bool)
    assert best_f1(SCORES, never, 5, 0.9) == -1
    assert best_f1(SCORES[3:], RIGHT[3:], 5, 0.9) == pytest.approx(0.5 - 1)


def test_negatives_raise_it_if_that_costs_little():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.5, 1, 400)
    right = np.ones(400, bool)
    empty = [0.0] * 90 + [0.505]
    chosen = choose_threshold(scores, right, 400, negatives=empty)
    assert chosen.false_photos == 0
    assert 0.505 < chosen.value < 0.515
    assert chosen.f1 > 0.98
    # A confident false one costs too much, so that it stays; the other goes.
    both = choose_threshold(scores, right, 400, negatives=[*empty, 0.9])
    assert both.false_photos == 1
    assert 0.505 < both.value < 0.53
    # One of a hundred is allowed.
    assert choose_threshold(scores, right, 400, negatives=[*empty, *[0.0] * 9]).false_photos == 1


def test_no_detections():
    assert choose_threshold(np.zeros(0), np.zeros(0, bool), 4).f1 == 0
