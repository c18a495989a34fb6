"""The tests of my_task: keep them true while you replace its parts.

python -m pytest my_task
"""

from pathlib import Path

import numpy as np
import torch

from .data import Scenes, make_scene, stack
from .metric import pair_f1, share_exact
from .network import Output, TagNetwork
from .plot import COLOURS, NOISE, match_colours
from .tags import find_groups, tag_loss
from .train import main

BATCH = stack(Scenes(5, first_seed=7).scenes)


def perfect_output() -> Output:
    """Tags that are equal within a group and far apart between groups."""
    tags = 10.0 * BATCH.group[:, :, None].float().repeat(1, 1, 4)
    return Output(tags, torch.where(BATCH.group >= 0, 9.0, -9.0))


def test_a_scene_depends_on_its_seed_only() -> None:
    """Two scenes of one seed are equal, and those of two seeds are not."""
    one, again, other = make_scene(3), make_scene(3), make_scene(4)
    assert torch.equal(one.features, again.features)
    assert torch.equal(one.group, again.group)
    assert not torch.equal(one.features[0], other.features[0])


def test_the_points_of_a_thread_are_on_a_line() -> None:
    """The second singular value of their places is the error of a place."""
    scene = make_scene(0)
    for name in range(int(scene.group.max()) + 1):
        place = scene.features[scene.group == name, :2]
        spread = torch.linalg.svdvals(place - place.mean(0))
        assert spread[1] < 0.08
        assert spread[0] > 3 * spread[1]


def test_padding_changes_nothing() -> None:
    """The outputs for a scene are the same alone and beside a larger scene."""
    torch.manual_seed(0)
    network = TagNetwork().eval()
    scenes = Scenes(5, first_seed=7).scenes
    together = network(BATCH).tags
    for row, scene in enumerate(scenes):
        alone = network(stack([scene])).tags[0]
        assert torch.allclose(alone, together[row, : len(alone)], atol=1e-5)


def test_the_order_of_points_does_not_matter() -> None:
    """Reversed points get the same tags, reversed."""
    torch.manual_seed(0)
    network, scene = TagNetwork().eval(), make_scene(1)
    turned = scene._replace(features=scene.features.flip(0))
    tags, other = network(stack([scene])).tags, network(stack([turned])).tags
    assert torch.allclose(tags, other.flip(1), atol=1e-5)


def test_perfect_tags_have_no_loss() -> None:
    """And equal tags have the largest push."""
    loss = tag_loss(perfect_output(), BATCH)
    assert float(torch.stack(loss).sum()) < 1e-3
    equal = perfect_output()._replace(tags=torch.zeros_like(perfect_output().tags))
    assert float(tag_loss(equal, BATCH).push) > 0.5


def test_perfect_tags_give_the_true_groups() -> None:
    """Every group is found point for point, and noise is in none."""
    found, truth = find_groups(perfect_output(), BATCH), BATCH.group.numpy()
    assert pair_f1(found, truth) == share_exact(found, truth) == 1.0
    assert ((found < 0) == (truth < 0)).all()


def test_figures_count_pairs_and_groups() -> None:
    """One of two groups is split: 4 of 6 pairs remain, and no wrong one is added."""
    truth = np.array([[0, 0, 0, 1, 1, 1, -1]])
    split = np.array([[5, 5, 5, 2, 2, 3, -1]])
    assert pair_f1(split, truth) == 2 * 4 / (4 + 6)
    assert share_exact(split, truth) == 0.5
    assert pair_f1(truth * 0, truth) == 2 * 6 / (21 + 6)
    nothing = np.full_like(truth, -1)
    assert pair_f1(nothing, truth) == share_exact(nothing, truth) == 0.0
    assert pair_f1(nothing, nothing) == share_exact(nothing, nothing) == 1.0


def test_groups_have_the_colours_of_the_truth() -> None:
    """Their numbers are arbitrary."""
    colours = match_colours(np.array([4, 4, 2, -1, 9]), np.array([0, 0, 1, -1, 0]))
    assert colours[:4] == [COLOURS[0], COLOURS[0], COLOURS[1], NOISE]
    assert colours[4] in COLOURS[2:]


def test_training_improves_the_score(tmp_path: Path) -> None:
    """After a tenth of the steps; the full training ends above 0.9."""
    before, after = main(steps=50, scenes=800, out=tmp_path)
    assert after > before + 0.05
    assert (tmp_path / "groups.png").stat().st_size > 5_000
    weights = torch.load(tmp_path / "network.pt", weights_only=True)
    TagNetwork().load_state_dict(weights)
