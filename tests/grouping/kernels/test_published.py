"""Greedy matching of published decoders, step by step."""

import numpy as np

from tagwise.grouping.kernels.groups import TypedPeaks
from tagwise.grouping.kernels.published import MatchRules, match_by_type

DEFAULT = MatchRules(
    threshold=1.0,
    rms=False,
    round_tags=True,
    use_score=True,
    near_first=False,
    limit=1000,
    stop_when_full=False,
    join_equal=False,
)


def _match(tags, scores, starts, **changes):
    tags, scores = np.array(tags, np.float32), np.array(scores, np.float32)
    tags = tags[:, None] if tags.ndim == 1 else tags
    peaks = TypedPeaks(np.zeros((len(tags), 2), np.float32), tags, scores, np.array(starts))
    return match_by_type(peaks, np.arange(len(starts) - 1), DEFAULT._replace(**changes))


def test_equal_costs_are_ordered_by_the_unrounded_distance():
    # Both pairings round to 0 + 0; straight costs .1 + .1, crossed .3 + .3.
    group, count = _match([0.0, 0.2, 0.3, -0.1], [0.9, 0.9, 0.5, 0.5], [0, 2, 4])
    assert count == 2
    assert group.tolist() == [0, 1, 1, 0]


def test_one_near_and_one_far_pair_are_better_than_two_intermediate_pairs():
    # The sums of distances are equal for both pairings: .3 + .3 and .4 + .2.
    for swap in (False, True):
        group, _ = _match([0.0, 0.1, *((0.4, 0.3) if swap else (0.3, 0.4))], [0.9] * 4, [0, 2, 4])
        assert group.tolist() == [0, 1, *((0, 1) if swap else (1, 0))]


def test_rounding_errors_of_tags_do_not_decide():
    rng = np.random.default_rng(0)
    tags, scores = rng.uniform(0, 0.45, 60), rng.uniform(0.1, 1, 60)
    wanted, _ = _match(tags, scores, [0, 20, 40, 60])
    for _ in range(20):
        noisy = tags * (1 + 1e-6 * rng.normal(size=60))
        assert np.array_equal(_match(noisy, scores, [0, 20, 40, 60])[0], wanted)


def test_outlier_does_not_shift_all_pairs():
    # The third peak is 3.1 from the first group: 3 for it and 0 for the others cost as much as
    # three times 1.
    group, count = _match([0.0, 1.02, 2.04, 1.0, 2.0, 3.1], [0.9] * 6, [0, 3, 6])
    assert count == 4
    assert group.tolist() == [0, 1, 2, 1, 2, 3]


def test_two_people_with_equal_first_tags_stay_separate():
    group, count = _match([1.0, 1.0], [0.9, 0.8], [0, 2])
    assert count == 2
    assert group.tolist() == [0, 1]


def test_match_limit_and_stop_when_full_limit_groups():
    tags, scores, starts = [0.0, 5.0, 0.0, 5.0], [0.9, 0.8, 0.7, 0.6], [0, 2, 4]
    assert _match(tags, scores, starts)[0].tolist() == [0, 1, 0, 1]
    assert _match(tags, scores, starts, limit=1)[0].tolist() == [0, 1, 0, 2]
    assert _match(tags, scores, starts, limit=2, stop_when_full=True)[0].tolist() == [0, 1, -1, -1]


def test_join_equal_joins_groups_with_equal_first_components():
    """The later of two peaks of one type replaces the other."""
    tags, scores, starts = [[1.0, 0.0], [1.0, 5.0]], [0.9, 0.8], [0, 2]
    assert _match(tags, scores, starts)[0].tolist() == [0, 1]
    group, count = _match(tags, scores, starts, join_equal=True)
    assert count == 1
    assert group.tolist() == [-1, 0]


def test_join_equal_terminates_with_nan_tags():
    group, count = _match([np.nan, np.nan, 1.0], [0.9, 0.8, 0.7], [0, 2, 3], join_equal=True)
    assert count == 3
    assert sorted(group.tolist()) == [0, 1, 2]
