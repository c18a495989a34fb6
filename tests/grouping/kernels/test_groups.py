"""Duplicates against the plain object keypoint similarity."""

import numpy as np
import pytest

from tagwise.geometry import keypoint_boxes, oks
from tagwise.grouping.kernels.groups import duplicates


def _people(seed, count=24, kinds=9):
    """Groups, many of which are slightly moved copies with other keypoints missing."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 40, (count, kinds, 2)) + rng.uniform(0, 90, (count, 1, 2))
    xy = xy[rng.integers(count, size=count)]
    xy += rng.normal(0, 1, xy.shape) * rng.uniform(0, 4, (count, 1, 1))
    people = np.concatenate([xy, rng.uniform(0.1, 1, (count, kinds, 1))], axis=2)
    people[rng.random((count, kinds)) < 0.15] = np.nan, np.nan, 0
    people[5] = np.nan, np.nan, 0  # no keypoints
    return people.astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("sigma", "limit"), [(0.05, 0.3), (0.1, 0.5), (0.2, 0.7)])
def test_duplicate_is_similar_to_a_better_group_that_is_kept(seed, sigma, limit):
    people = _people(seed)
    area = keypoint_boxes(people, least=1)[:, 2:].prod(axis=1)
    alike = oks(people, people, np.maximum(area[:, None], area), sigma) > limit
    images = np.repeat([0, 2, 3], [14, 1, 9])
    alike &= images[:, None] == images
    expected = []
    for n in range(len(people)):
        expected.append(any(alike[better, n] and not expected[better] for better in range(n)))
    assert duplicates(images, people, area, np.full(9, sigma), limit).tolist() == expected
    assert any(expected)
    assert not all(expected)
