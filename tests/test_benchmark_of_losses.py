"""The benchmark of the tag losses: its scores, its search, its table, and that it continues."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tagwise.data import SyntheticShapes
from tagwise.errors import UserError

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["losses.py", *map(str, arguments)])
    runpy.run_path(str(FOLDER / "losses.py"), run_name="__main__")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_interrupted_benchmark_continues_and_writes_its_tables(monkeypatch, capsys, tmp_path):
    out, page = tmp_path / "runs.jsonl", tmp_path / "page.md"
    options = ("--quick", "--only", "particles", "--losses", "spatial", "cosine")
    run(monkeypatch, *options, "--out", out)
    first = lines(out)
    keys = [(row["task"], row["loss"], row["seed"], row["lr"], row["weight"]) for row in first]
    assert len(keys) == len(set(keys)) >= 2 * (3 + 8)
    assert all(0 <= row["score"] <= 1 and row["extent"] > 0 < row["seconds"] for row in first)
    assert all(row["curve"][-1] == [2, row["score"]] for row in first)

    out.write_text("".join(json.dumps(row) + "\n" for row in first[:-1]))
    capsys.readouterr()
    run(monkeypatch, *options, "--out", out)
    assert len(capsys.readouterr().out.splitlines()) == 1
    again = lines(out)
    assert again[:-1] == first[:-1]
    assert again[-1]["score"] == first[-1]["score"], "a run depends on its key alone"

    page.write_text("before\n<!-- written by benchmarks/losses.py --report -->\n<!-- end -->\nend")
    run(monkeypatch, "--report", "--out", out, "--page", page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("end")
    assert "| loss | particles |" in text
    assert text.count("| `cosine` |") == 2
    assert "| weight × 3 |" in text
    assert (tmp_path / "images" / "page.png").stat().st_size > 10_000


def test_plan_has_every_loss_that_a_task_can_have_with_three_seeds_and_a_grid():
    import _loss_table as table

    script = runpy.run_path(str(FOLDER / "losses.py"))
    losses, placed = script["LOSSES"], script["POSITIONED"]
    every, runs = (*losses, *placed), table.Runs()
    for key in script["plan"](["rooms", "cameras", "blood"], every, runs):
        # A third of the weight is best; where all have the same, a third of the rate.
        tuned = 1 / key.weight + 0.1 * (key.lr < 1)
        runs.add({**key._asdict(), "tuned": tuned, "score": 0.5})
    places = {}
    for key in runs.rows:
        places.setdefault((key.task, key.loss, key.seed), set()).add(key[3:])
    usual = table.USUAL
    lowest = {"rooms": (0.33, 0.33), "cameras": (0.33, 1.0), "blood": (1.0, 0.33)}
    sizes = {"rooms": 9, "cameras": 3, "blood": 5}
    for task, ran in (("rooms", every), ("cameras", losses), ("blood", every)):
        assert {loss for name, loss, _ in places if name == task} == set(ran)
        for loss in ran:
            first, *others = (places[task, loss, seed] for seed in (0, 1, 2))
            if loss in losses:
                assert len(first) == sizes[task]
                assert others == [{usual, lowest[task]}] * 2
            else:
                assert [first, *others] == [{usual}] * 3
        assert runs.with_grid(task) == list(losses)


def test_page_has_the_tables_of_the_finished_runs():
    import _loss_table as table

    runs = table.Runs.read(FOLDER / "losses.jsonl")
    page = (FOLDER.parent / "docs" / "which_loss.md").read_text()
    assert len(runs.rows) > 100
    assert table.tables(runs) in page


def test_photos_are_trained_by_their_recipe_with_one_network(monkeypatch, tmp_path):
    import _loss_photos as photos

    shapes = SyntheticShapes(("disc",), 4, size=(96, 96), count=(2, 4), radius=(10, 20))
    labels = shapes.save(tmp_path / "blood")
    for part in ("train.json", "val.json"):
        (tmp_path / "blood" / part).write_text(labels.read_text())
    task = photos.at_smallest_size(photos.PHOTO_TASKS["blood"])
    found = photos.run_photos(task, tmp_path, "cosine", 0, 3.0, 1.0)
    assert 0 <= found["score"] <= 1
    assert 0 < found["extent"] <= 2
    assert found["curve"][-1] == [2, found["score"]]
    with pytest.raises(UserError, match="nuclei"):
        photos.run_photos(
            photos.at_smallest_size(photos.PHOTO_TASKS["nuclei"]), tmp_path, "exp", 0, 1, 1
        )


def test_recipes_differ_in_the_loss_alone(tmp_path):
    import _loss_photos as photos
    from _loss_points import LOSSES, POSITIONED

    for task in photos.PHOTO_TASKS.values():
        recipes = [photos.short_recipe(task, tmp_path, loss, 0, 1.0, 1.0) for loss in LOSSES]
        for recipe in recipes[1:]:
            assert (recipe.data, recipe.model, recipe.optim, recipe.run) == (
                recipes[0].data,
                recipes[0].model,
                recipes[0].optim,
                recipes[0].run,
            )
            assert recipe.task_options["tag_dim"] == recipes[0].task_options["tag_dim"]
            assert recipe.task_options["position"] is None
        own = photos.load_recipe(photos.RECIPES / task.recipe).task_options["position"]
        for loss in POSITIONED:
            placed = photos.short_recipe(task, tmp_path, loss, 0, 1.0, 1.0)
            form = recipes[LOSSES.index(loss.split()[0])]
            section = task.separates.partition(".")[0]
            # The distance between instances is that of `exp`, the first loss.
            expected = {"position": own, section: recipes[0].task_options[section]}
            assert placed.task_options == {**form.task_options, **expected}
        tripled = photos.short_recipe(task, tmp_path, "exp", 0, 3.0, 3.0)
        assert tripled.optim.lr == pytest.approx(3 * recipes[0].optim.lr)
        assert tripled.task_options["weights"]["push"] == pytest.approx(3 * task.push)


def test_numbers_of_digits_are_a_task_too():
    import _loss_points as points

    found = points.run_points(points.digit_task(quick=True), "contrastive", 1, 1.0, 1.0)
    assert [step for step, _ in found["curve"]] == [1, 2]
    assert 0 < found["extent"] <= 2


@pytest.mark.parametrize(
    ("name", "loss"), [("rooms", "spatial + position"), ("lines", "cosine"), ("cameras", "spatial")]
)
def test_examples_of_other_fields_are_tasks_too(name, loss):
    import _loss_fields as fields
    import _loss_points as points

    task = fields.FIELD_TASKS[name](quick=True)
    found = points.run_points(task, loss, 0, 1.0, 1.0)
    assert found["curve"][-1] == [2, found["score"]]
    assert 0 <= found["score"] <= 1
    assert found["extent"] > 0
    assert torch.equal(task.batch(1, 0).group, task.batch(1, 0).group)
    assert not torch.equal(task.batch(1, 0).group, task.held_out("test").group)
    true = task.held_out("test").group
    assert task.score(true.numpy() * 3 + 2 * (true.numpy() < 0), true) == 1


@pytest.mark.parametrize("name", ["rooms", "lines"])
def test_tags_start_from_the_position_if_asked(name):
    import _loss_fields as fields

    task, outputs = fields.FIELD_TASKS[name](quick=True), []
    batch = task.held_out("test")
    for make in (task.network, task.with_position):
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(task.apply(make(10).eval(), batch).output)
    moved = (outputs[1] - outputs[0]).abs().amax((0, 1))
    dimensions = 3 if name == "rooms" else 2
    assert (moved[:dimensions] > 0.1).all()
    assert moved[dimensions:].max() < 1e-5


@pytest.mark.parametrize("loss", ["exp", "hinge", "discriminative", "contrastive", "cosine"])
def test_score_is_the_share_of_groups_found_point_for_point(loss):
    import _loss_points as points

    rng = np.random.default_rng(0)
    true = torch.from_numpy(rng.integers(-1, 3, (6, 8)))
    found = np.where(rng.random((6, 8)) < 0.2, -1, true.numpy() * 7 + 2)
    sets = 0
    for own, group in zip(found, true.numpy()):
        for number in set(group.tolist()) - {-1}:
            members = group == number
            sets += own[members][0] >= 0 and np.array_equal(own == own[members][0], members)
    total = sum(len(set(group.tolist()) - {-1}) for group in true.numpy())
    assert 0 < sets < total
    assert points.share_exact(found, true) == pytest.approx(sets / total)

    # Tags that are equal within a group and far apart between groups are read without an error.
    tags = torch.eye(points.DIM)[true.clamp(min=0)] * 3
    output = torch.cat([tags, torch.zeros(6, 8, 2)], 2)
    applied = points.Applied(output, torch.zeros(()), true >= 0)
    groups = points.group_points(loss, 0.7, applied, None)
    assert points.share_exact(groups, true) == 1


def test_search_takes_the_middle_of_the_best_and_curves_are_read_between_steps(tmp_path):
    import _loss_points as points
    import _loss_table as table

    scores = {1: 0.2, 2: 0.9, 3: 0.9, 4: 0.9, 5: 0.1}
    assert points.best_of(list(scores), scores.get) == (3, 0.9)
    assert table.steps_to([[10, 0.2], [20, 0.8], [30, 0.8]]) == pytest.approx(18.67)
    assert table.steps_to([[10, 0.5], [20, 0.5]]) == pytest.approx(9)
    assert table.steps_to([[10, 0.0], [20, 0.0]]) == 10
    runs = table.Runs()
    for lr, tuned in ((0.33, 0.7), (1.0, 0.7), (3.0, 0.6)):
        runs.add({"task": "a", "loss": "exp", "seed": 0, "lr": lr, "weight": 1.0, "tuned": tuned})
    assert table.best_factors(runs, "a", "exp") == (1.0, 1.0)
    with pytest.raises(UserError, match="no finished run"):
        table.write_report(table.Runs(), tmp_path / "page.md")
    with pytest.raises(UserError, match="has no lines"):
        table.write_report(runs, tmp_path / "page.md")
