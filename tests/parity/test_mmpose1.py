"""The preset "mmpose1" against mmpose 1.x's decoder in plain loops."""

import numpy as np
import pytest
import torch

from scenes.small import ORDER, best_first, people_at_edges, pose_maps
from slow import mmpose1
from tagwise.grouping import GroupingSettings, decode_keypoints


def ours(heatmaps, tags, **changes):
    """Poses in the format of the published code: from the cell's edge, with every keypoint."""
    settings = GroupingSettings.preset("mmpose1", **changes)
    maps = torch.from_numpy(heatmaps)[None], torch.from_numpy(tags).flatten(0, 1)[None]
    (groups,) = decode_keypoints(*maps, settings, ORDER)
    assert (groups.keypoints[..., 2] > 0).all()
    keypoints = groups.keypoints.astype(float)
    keypoints[..., :2] += 0.5
    return keypoints, groups.scores


def theirs(heatmaps, tags, limit=30):
    keypoints, scores = mmpose1.decode(heatmaps, tags, ORDER, limit)
    keypoints[..., 2] = keypoints[..., 2].clip(1e-4)  # below, results would call them missing
    return keypoints, scores


def compare(agree, case, maps, limit=30):
    expected = best_first(*theirs(*maps, limit))
    found = best_first(*ours(*maps, group_limit=limit))
    agree(f"decode: mmpose1, {case}", found[0], expected[0], atol=1e-5)
    agree(f"decode: mmpose1, {case}, scores", found[1], expected[1], atol=1e-6)
    return expected


@pytest.mark.parametrize("people", [0, 1, 2, 4])
def test_people_match(agree, people):
    for seed in range(12):
        dim, spread = 1 + seed % 3, (0.05, 0.4)[seed % 2]
        maps = pose_maps(100 * people + seed, people, (16, 21), dim, spread)
        compare(agree, "people", maps)


def test_surplus_people_match(agree):
    for seed in range(6):
        maps = pose_maps(seed, 5, (16, 21), 2, 0.05)
        keypoints, _ = compare(agree, "two people kept", maps, limit=2)
        assert len(keypoints) == 2


def test_people_on_dark_and_negative_maps_match(agree):
    """No cell with a near tag is bright; keypoints are set nevertheless."""
    for seed in range(6):
        heatmaps, tags = pose_maps(seed, 2, (16, 21), 2, 0.05)
        heatmaps = np.where(heatmaps < 0.1, heatmaps - 1.3, heatmaps).astype(np.float32)
        keypoints, _ = compare(agree, "maps below 0", (heatmaps, tags))
        assert (keypoints[..., 2] == 1e-4).any()


def test_people_at_the_edges_match(agree):
    """Peaks in the outer cells, where the shift by a quarter cell is limited."""
    places = [(x, y) for x in (0, 1, 2, 8, 14, 15, 16) for y in (0, 1, 2, 6, 10, 11, 12)]
    for n, (x, y) in enumerate(places):
        rng = np.random.default_rng(n)
        heatmaps = rng.uniform(0, 0.09, (4, 13, 17)).astype(np.float32)
        tags = rng.normal(0, 3, (4, 2, 13, 17)).astype(np.float32)
        heatmaps[:, y, x] = 0.9
        tags[:, :, y, x] = 1
        compare(agree, "edges", (heatmaps, tags))


def test_plateaus_of_enlarged_maps_match(agree):
    """A peak at the edge is repeated with the same tag; it becomes one person or two."""
    for seed in range(12):
        compare(agree, "plateaus", people_at_edges(seed, (5, 7)))
