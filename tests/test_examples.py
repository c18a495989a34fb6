"""Short runs of the examples give the described results."""

import ast
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # Named tuples look up their annotations in sys.modules while the module runs.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_tags_add_about_ten_lines_to_a_network():
    source = (EXAMPLES / "add_to_your_network.py").read_text()
    marked = [line for line in source.splitlines() if "# tags" in line and line.strip()[0] != "`"]
    assert len(marked) <= 12
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    ours = {name for name in names if name.startswith("tagwise")}
    assert ours == {"tagwise.grouping", "tagwise.losses"}


def test_events_have_one_hit_per_particle_and_layer():
    module = example("add_to_your_network")
    hits, layer, particle = module.make_events(3, seed=1)
    for event in range(3):
        for number in range(module.PARTICLES):
            own = particle[event] == number
            assert sorted(layer[event, own].tolist()) == list(range(module.LAYERS))
            line = np.polyfit(layer[event, own], hits[event, own, 0], 1, full=True)
            assert line[1].item() < 0.01
    assert module.exact(particle.numpy(), particle.numpy()) == 1
    assert module.exact(particle.numpy() * 0, particle.numpy()) == 0


def test_network_learns_to_separate_particles():
    before, after = example("add_to_your_network").main(steps=400)
    assert before < 0.2
    assert after > 0.7


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="scikit-learn, of the extra examples, is not installed")
    return example("digits")


def test_numbers_cross_and_digits_do_not_cover_each_other(digits):
    scenes = digits.make_scenes(50, 0, "train")
    assert scenes.place.shape == (50, digits.POINTS, 2)
    for place, number in zip(scenes.place, scenes.number):
        gap = torch.pdist(place[number >= 0])
        assert gap.min() > digits.NEAREST
        for n in range(digits.NUMBERS):
            own = place[number == n]
            assert digits.LENGTHS[0] <= len(own) <= digits.LENGTHS[1]
            assert (own[1:] - own[:-1]).norm(dim=1).numpy() == pytest.approx(1, abs=1e-4)


def test_share_found_counts_complete_and_correctly_read_numbers(digits):
    scenes = digits.make_scenes(5, 0, "test")
    truth = scenes.number.numpy()
    assert digits.share_found(scenes, truth, scenes.digit) == 1
    assert digits.share_found(scenes, np.maximum(truth, 0) * 0, scenes.digit) == 0
    assert digits.share_found(scenes, truth, (scenes.digit + 1) % 10) == 0


def test_digits_are_grouped_into_numbers(digits, tmp_path):
    share = digits.main(steps=300, scenes=800, tests=60, out=tmp_path / "digits.png")
    assert share["tags"] > max(0.45, share["places"])
    assert (tmp_path / "digits.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def figures():
    return example("ingredient_figures")


def test_pull_gathers_tags_and_push_separates_them(figures):
    groups = np.arange(30) // 6

    def scatter(tags):
        return np.mean([tags[groups == g].std() for g in range(5)])

    pulled, pushed, both = (figures.weighted_tags(*w)[-1] for w in ((1, 0), (0, 1), (1, 1)))
    means = [both[groups == g].mean() for g in range(5)]
    assert scatter(pulled) < 0.05
    assert scatter(pushed) > 0.3
    assert scatter(both) < 0.05
    assert np.diff(np.sort(means)).min() > 1


def test_equal_tags_have_no_exponential_push(figures):
    starts = np.array([0.0, 1e-4, 1e-1])
    stuck, slow, quick = figures.escape("exp", starts, limit=500)
    assert stuck == 500
    assert slow > quick
    assert figures.escape("hinge", starts[:1], limit=50) == 50
    assert max(figures.escape("hinge", starts[1:], limit=500)) < quick


def test_figure_of_the_page_is_drawn(figures, tmp_path):
    path = tmp_path / "tags.png"
    figures.FIGURES["tag_plots"]().savefig(path)
    assert path.stat().st_size > 5_000


def test_page_shows_every_figure(figures):
    page = (EXAMPLES.parent / "docs" / "ingredient.md").read_text()
    for name in figures.FIGURES:
        picture = "push.png" if name == "push" else f"ingredient_{name}.png"
        assert f"(images/{picture})" in page
        assert (EXAMPLES.parent / "docs" / "images" / picture).is_file()
