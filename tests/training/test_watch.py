"""What to watch: each rule speaks on a log with its fault, and is silent on a healthy one."""

from dataclasses import replace

import numpy as np
import pytest

from small_runs import recipe_for
from tagwise.training.watch import History, advise, tag_gaps


def history(tmp_path, *, pull=None, push=None, total=None, ap=None, waiting=0.0, tags=()):
    """A finished run of 1000 steps; columns are given at the start and at the end."""
    shares = np.linspace(0, 1, 50)

    def column(ends):
        return ends[0] + (ends[1] - ends[0]) * shares

    pull, push = column(pull or (1, 0.1)), column(push or (0.8, 0.05))
    total = column(total or (2, 0.2))
    rows = [
        {"step": 20 * (n + 1), "pull": pull[n], "push": push[n], "total": total[n]}
        | {"share_waiting": waiting}
        for n in range(50)
    ]
    values = ap or (0.1, 0.5, 0.6, 0.61, 0.615, 0.612)
    steps = np.linspace(0, 1000, len(values) + 1)[1:]
    validations = [{"step": int(step), "val_AP": v} for step, v in zip(steps, values)]
    return History(recipe_for(tmp_path, 1000), rows, validations, tags, photos=100)


def test_healthy_run_needs_nothing(tmp_path):
    assert advise(history(tmp_path)) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"push": (0.9, 0.85), "pull": (1, 0.01)}, "All tags are becoming equal"),
        ({"total": (0.2, 2)}, "The loss has risen"),
        ({"ap": (0.1, 0.5, 0.6, 0.5, 0.45, 0.4)}, "by heart"),
        ({"ap": (0, 0, 0.001)}, "Almost nothing is found"),
        ({"ap": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)}, "still getting better"),
        ({"waiting": 0.4}, "waits for images"),
        ({"tags": (np.random.default_rng(0).normal(size=(5, 8, 2)),)}, "lie close together"),
    ],
)
def test_fault_is_named(tmp_path, fault, says):
    found = advise(history(tmp_path, **fault))
    assert [what for what, _ in found if says in what], found
    assert len(found) == 1
    assert any(character.isdigit() for character in found[0][1])  # the figures behind it


def test_few_images_suggest_folds(tmp_path):
    found = advise(replace(history(tmp_path), photos=12))
    assert "--folds 5" in found[0][0]


def test_run_without_rows_or_tags_needs_nothing(tmp_path):
    assert advise(History(recipe_for(tmp_path, 10), [], [])) == []


def test_gaps_and_spreads_of_tags():
    tags = np.array([[[0.0], [2.0]], [[5.0], [np.nan]], [[np.nan], [np.nan]]])
    gaps, spreads = tag_gaps(tags)
    assert gaps.tolist() == [4, 4]
    assert spreads.tolist() == [1, 0]
    assert len(tag_gaps(tags[:1])[0]) == 0
