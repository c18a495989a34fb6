"""The preset of Open Model Zoo's demo against the same rules in plain loops."""

import dataclasses

import numpy as np
import pytest
import torch

from scenes.planted import heatmaps_of, planted_people
from slow import openmodelzoo
from tagwise.grouping import GroupingSettings, decode_keypoints
from tagwise.skeletons import COCO17

PRESET = GroupingSettings.preset("openmodelzoo", order=COCO17.order)


def decoded(heatmaps, tags, settings=PRESET):
    """Keypoints (N, K, 3) and scores (N,), best first."""
    maps = (torch.from_numpy(np.asarray(each, np.float32))[None] for each in (heatmaps, tags))
    (groups,) = decode_keypoints(*maps, settings)
    return groups.keypoints, groups.scores


def assert_same(found, wanted):
    keypoints, scores = wanted
    best = np.argsort(-scores, kind="stable")
    np.testing.assert_allclose(found[1], scores[best], atol=1e-5)
    shown = keypoints[best][..., 2:] > 0
    ours, theirs = (np.where(shown, each, 0) for each in (found[0], keypoints[best]))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_planted_people(seed):
    (stage,) = planted_people(seed, (160, 96), 17, (2,), dark=3)
    heatmaps, tags = stage[0].numpy().reshape(2, 17, 48, 80)
    found = decoded(heatmaps, tags)
    assert len(found[0]) == 5
    assert_same(found, openmodelzoo.decode(openmodelzoo.negated(heatmaps), tags))


def people_of_one_tag(seed):
    """Maps (17, 48, 64) of three small people far apart, whose tags tell nothing.

    Tags are 0 and .8 by turns, so that none is near the mean of a group.
    """
    rng = np.random.default_rng(seed)
    people = np.zeros((3, 17, 3))
    people[..., :2] = np.array([(10, 10), (52, 12), (30, 40)])[:, None]
    people[..., :2] += rng.uniform(-2.5, 2.5, (3, 17, 2))
    people[..., :2] *= 2  # pixels of the input
    people[..., 2] = rng.uniform(0.4, 1, (3, 17))
    heatmaps = heatmaps_of(people, (128, 96), 2).astype(np.float32)
    tags = rng.uniform(-0.01, 0.01, heatmaps.shape)
    tags[list(COCO17.order[1::2])] += 0.8
    return people[..., :2] / 2, heatmaps, tags.astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_people_with_similar_tags_are_told_apart_by_place(seed):
    people, heatmaps, tags = people_of_one_tag(seed)
    found = decoded(heatmaps, tags)
    assert_same(found, openmodelzoo.decode(openmodelzoo.negated(heatmaps), tags))

    def whole(found):
        """Number of people of which no keypoint is another's."""
        away = np.abs(found[0][:, None, :, :2] - people).max((2, 3))
        return (away.min(1) < 2).sum()

    assert whole(found) == 3
    other = dataclasses.replace(PRESET.published, near_first=False)
    assert whole(decoded(heatmaps, tags, dataclasses.replace(PRESET, published=other))) < 3


def test_peaks_at_the_edges_are_not_shifted():
    heatmaps, tags = np.zeros((2, 1, 12, 16), np.float32)
    cells = [(0, 5), (1, 5), (2, 5), (13, 5), (14, 5), (15, 5), (7, 0), (7, 1), (7, 10), (7, 11)]
    for x, y in cells:
        heatmaps[:] = 0.01 * np.arange(16)  # the right neighbour is larger
        heatmaps[0, y, x] = 0.9
        wanted, _ = openmodelzoo.decode(
            openmodelzoo.negated(heatmaps), tags, order=(0,), refine=False
        )
        found, _ = decoded(heatmaps, tags, GroupingSettings.preset("openmodelzoo"))
        best = np.abs(found[:, 0, 2] - 0.9).argmin()
        theirs = np.abs(wanted[:, 0, 2] - 0.9).argmin()
        np.testing.assert_allclose(found[best, 0], wanted[theirs, 0], atol=1e-6)
