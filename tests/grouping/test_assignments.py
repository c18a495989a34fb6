"""References, pairs, one of each type: against slow exhaustive searches."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from scenes.points import distances, forms_of, partition, tagged_points
from tagwise.grouping import group_by_reference, group_by_type, group_pairs


def _candidates(tags, others, image, other_image, radius, gate):
    """Distance of every allowed pair, inf for the others."""
    there = (image[:, None] == other_image[None]) & (image[:, None] >= 0)
    if gate is not None:
        there &= gate
    distance = distances(tags, others)
    return np.where(there & (distance <= radius), distance, np.inf)


def _margin(distance, row, own, radius):
    others = np.delete(distance[row], own)
    return min(others.min(initial=np.inf), radius) - distance[row, own]


@given(scene=tagged_points(), radius=st.sampled_from([0.3, 1.0, np.inf]))
@settings(deadline=None, max_examples=60)
def test_points_join_the_nearest_reference(scene, radius):
    rng, tags, image, gate = scene
    others, other_image = rng.normal(0, 1, tags.shape), rng.integers(-1, 3, len(tags))
    distance = _candidates(tags, others, image, other_image, radius, gate)
    for form in forms_of(gate):
        groups = group_by_reference(
            tags, others, radius=radius, image=image, reference_image=other_image, gate=form
        )
        for p, group in enumerate(groups.group):
            if np.isinf(distance[p]).all():
                assert group == -1
                assert np.isnan(groups.margin[p])
            else:
                assert group == distance[p].argmin()
                expected = _margin(distance, p, group, radius)
                assert groups.margin[p] == pytest.approx(expected, abs=1e-6)


@given(scene=tagged_points(), radius=st.sampled_from([0.3, 1.0, np.inf]), size=st.integers(0, 30))
@settings(deadline=None, max_examples=60)
def test_best_pairs_are_chosen(scene, radius, size):
    rng, tags, image, gate = scene
    others, other_image = rng.normal(0, 1, (size, tags.shape[1])), rng.integers(-1, 2, size)
    gate = None if gate is None else rng.random((len(tags), size)) < 0.7
    distance = _candidates(tags, others, image, other_image, radius, gate)
    price = 1e3 if np.isinf(radius) else radius
    gain = np.where(np.isfinite(distance), price - distance, 0)
    best = gain[linear_sum_assignment(gain, maximize=True)].sum()
    for form in forms_of(gate):
        pairs = group_pairs(
            tags, others, radius=radius, first_image=image, second_image=other_image, gate=form
        )
        found = np.flatnonzero(pairs.group >= 0)
        own = pairs.group[found]
        assert len(set(own.tolist())) == len(own)
        assert np.isfinite(distance[found, own]).all()
        assert gain[found, own].sum() == pytest.approx(best, abs=1e-6)
        for p in found:
            expected = _margin(distance, p, pairs.group[p], radius)
            assert pairs.margin[p] == pytest.approx(expected, abs=1e-6)


def _deal_slowly(tags, types, scores, radius, sweeps, gate):
    """The docstring of `group_by_type` for one image, by sets of points."""
    kinds = sorted(set(types.tolist()), key=lambda t: (-scores[types == t].sum(), t))
    groups = []
    for number in range(sweeps + 1):
        before = {frozenset(g) for g in groups}
        for kind in kinds:
            dealt = set(np.flatnonzero(types == kind).tolist())
            groups = [g - dealt for g in groups if g - dealt] if number else groups
            rows = sorted(dealt)
            gain = np.zeros((len(rows), len(groups)))
            for (r, p), (c, g) in product(enumerate(rows), enumerate(groups)):
                members = sorted(g)
                mean = np.average(tags[members], axis=0, weights=scores[members])
                square = ((tags[p] - mean) ** 2).sum()
                if square <= radius**2 and (gate is None or gate[p, members].all()):
                    gain[r, c] = scores[p] * len(g) / (len(g) + 1) * (1 - square / radius**2)
            chosen = dict(zip(*linear_sum_assignment(gain, maximize=True)))
            new = []
            for r, p in enumerate(rows):
                if r in chosen and gain[r, chosen[r]] > 0:
                    groups[chosen[r]] = groups[chosen[r]] | {p}
                else:
                    new.append({p})
            groups = groups + new
        if number and {frozenset(g) for g in groups} == before:
            break
    return {frozenset(g) for g in groups}


@given(scene=tagged_points(), kinds=st.integers(1, 5), sweeps=st.integers(0, 3))
@settings(deadline=None, max_examples=80)
def test_groups_have_at_most_one_point_of_each_type(scene, kinds, sweeps):
    rng, tags, image, gate = scene
    types, scores = rng.integers(-3, kinds - 3, len(tags)), rng.uniform(0.1, 1, len(tags))
    gate = None if gate is None else gate | gate.T
    expected = set()
    for number in set(image[image >= 0].tolist()):
        rows = np.flatnonzero(image == number)
        inner = None if gate is None else gate[np.ix_(rows, rows)]
        dealt = _deal_slowly(tags[rows], types[rows], scores[rows], 1.5, sweeps, inner)
        expected |= {frozenset(rows[sorted(g)].tolist()) for g in dealt}
    for form in forms_of(gate):
        groups = group_by_type(
            tags, types, scores, radius=1.5, sweeps=sweeps, image=image, gate=form
        )
        assert partition(groups.group) == expected
        _check_type_margins(groups, tags, scores, image, gate)


def _check_type_margins(groups, tags, scores, image, gate):
    total = np.bincount(groups.group[groups.group >= 0], scores[groups.group >= 0])
    assert np.array_equal(np.lexsort([-total, groups.image]), np.arange(len(groups)))
    for g in range(len(groups)):
        members = groups.group == g
        mean = np.average(tags[members], axis=0, weights=scores[members])
        assert groups.tags[g] == pytest.approx(mean, abs=1e-6)
        assert set(image[members].tolist()) == {groups.image[g]}
    distance = distances(tags, groups.tags)
    for p, own in enumerate(groups.group):
        other = 1.5
        for g in range(len(groups)):
            if own >= 0 and g != own and groups.image[g] == image[p]:
                free = gate is None or gate[p, groups.group == g].all()
                other = min(other, distance[p, g] if free else np.inf)
        if own >= 0:
            assert groups.margin[p] == pytest.approx(other - distance[p, own], abs=1e-6)


def test_sweeps_correct_an_early_mistake():
    # The point at .9 is assigned when only 0 and 1.5 are known; others near 0 follow later.
    tags = np.array([[0.0], [1.5], [0.7], [1.4], [1.3]])
    types = [0, 0, 1, 2, 3]
    once = group_by_type(tags, types, radius=1, sweeps=0)
    again = group_by_type(tags, types, radius=1)
    assert once.group[2] == once.group[0]
    assert again.group[2] == again.group[1] != again.group[0]


def test_point_with_the_higher_score_joins_the_group():
    tags, types = [[0.0], [0.0], [0.05], [0.1]], [0, 1, 2, 2]
    sure_last = group_by_type(tags, types, [1, 1, 0.1, 1], radius=0.3).group
    assert sure_last[3] == sure_last[0] != sure_last[2]
    sure_first = group_by_type(tags, types, [1, 1, 1, 0.1], radius=0.3).group
    assert sure_first[2] == sure_first[0] != sure_first[3]


@given(scene=tagged_points(), shift=st.floats(-50, 50), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_groups_are_invariant_to_tag_shifts_and_point_order(scene, shift, seed):
    rng, tags, image, _ = scene
    types, scores = rng.integers(0, 4, len(tags)), rng.uniform(0.1, 1, len(tags))
    groups = group_by_type(tags, types, scores, radius=1, image=image)
    turn = np.random.default_rng(seed).permutation(len(tags))
    moved = group_by_type(
        tags[turn] + shift, types[turn], scores[turn], radius=1, image=image[turn]
    )
    back = np.empty_like(moved.group)
    back[turn] = moved.group
    assert partition(back) == partition(groups.group)


def test_clear_groups_of_thousands_of_points():
    rng = np.random.default_rng(0)
    own, types = np.repeat(np.arange(40), 25), np.tile(np.arange(25), 40)
    centres = rng.normal(0, 5, (40, 8))
    tags = torch.from_numpy(centres[own] + rng.normal(0, 0.1, (1000, 8))).half()
    truth = partition(own)
    assert partition(group_by_type(tags, types, radius=1).group) == truth
    assert partition(group_by_reference(tags.bfloat16(), centres).group) == truth
    pairs = group_pairs(tags, tags, radius=1)
    assert np.array_equal(pairs.group, np.arange(1000))
