"""Clustering against slow exhaustive searches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from scenes.points import distances, forms_of, partition, tagged_points
from tagwise.grouping import group_by_seed, group_connected


def _seed_slowly(tags, scores, width, threshold, shifts, gate):
    """The docstring of `group_by_seed` for one image; group and centre of each seed."""
    free = np.ones((len(tags), len(tags)), bool) if gate is None else gate

    def pick(ranked, places, seeds):
        kept = []
        for n in ranked:
            cover = [distances(places[[n]], places[[k]])[0, 0] <= width[seeds[k]] for k in kept]
            if not any(c and free[seeds[n], seeds[k]] for c, k in zip(cover, kept)):
                kept.append(n)
        return kept

    def deal(centres, seeds):
        ratio = distances(tags, centres) / width[seeds]
        ratio[~free[:, seeds] | (ratio > 1)] = np.inf
        empty = np.full(len(tags), -1)
        return np.where(np.isfinite(ratio).any(1), ratio.argmin(1), -1) if len(seeds) else empty

    ranked = [p for p in np.argsort(-scores, kind="stable") if scores[p] >= threshold]
    seeds = np.array(pick(ranked, tags, np.arange(len(tags))), int)
    centres = tags[seeds]
    for _ in range(shifts):
        group = deal(centres, seeds)
        for s in set(group[group >= 0].tolist()):
            centres[s] = np.average(tags[group == s], axis=0, weights=scores[group == s])
        kept = np.array(pick(range(len(seeds)), centres, seeds), int)
        seeds, centres = seeds[kept], centres[kept]
    return deal(centres, seeds), centres, seeds


@given(
    scene=tagged_points(),
    learned=st.booleans(),
    threshold=st.sampled_from([0.0, 0.5]),
    shifts=st.integers(0, 3),
)
@settings(deadline=None, max_examples=80)
def test_seeds_form_groups(scene, learned, threshold, shifts):
    rng, tags, image, gate = scene
    scores = rng.uniform(0.1, 1, len(tags))
    width = rng.uniform(0.3, 1.5, len(tags)) if learned else np.full(len(tags), 0.8)
    expected = set()
    for number in set(image[image >= 0].tolist()):
        rows = np.flatnonzero(image == number)
        inner = None if gate is None else gate[np.ix_(rows, rows)]
        part = tags[rows], scores[rows], width[rows]
        group, _, _ = _seed_slowly(*part, threshold, shifts, inner)
        expected |= {frozenset(rows[sorted(g)].tolist()) for g in partition(group)}
    for form in forms_of(gate):
        groups = group_by_seed(
            tags,
            scores,
            bandwidth=width if learned else 0.8,
            seed_threshold=threshold,
            shifts=shifts,
            image=image,
            gate=form,
        )
        assert partition(groups.group) == expected


@given(scene=tagged_points(), shifts=st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_margins_of_seeds_are_distances_to_the_second_best(scene, shifts):
    rng, tags, _, gate = scene
    scores, width = rng.uniform(0.1, 1, len(tags)), rng.uniform(0.3, 1.5, len(tags))
    groups = group_by_seed(tags, scores, bandwidth=width, shifts=shifts, gate=gate)
    group, centres, seeds = _seed_slowly(tags, scores, width, 0.0, shifts, gate)
    ratio = distances(tags, centres) / width[seeds]
    if gate is not None:
        ratio[~gate[:, seeds]] = np.inf
    for p in np.flatnonzero(group >= 0):
        other = min(1, np.delete(ratio[p], group[p]).min(initial=np.inf))
        expected = (other - ratio[p, group[p]]) * width[seeds[group[p]]]
        assert groups.margin[p] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(groups.margin[group < 0]).all()


def test_best_seed_is_first_and_uses_its_own_bandwidth():
    tags, scores = [[0.0], [1.0], [5.0], [6.5]], [0.8, 0.1, 0.9, 0.2]
    groups = group_by_seed(tags, scores, bandwidth=[1.2, 9, 1, 9], shifts=0, seed_threshold=0.3)
    assert groups.group.tolist() == [1, 1, 0, -1]
    assert groups.tags.tolist() == [[5.0], [0.0]]
    assert groups.margin[1] == pytest.approx(0.2)


def test_shifts_merge_a_cluster_with_seeds_on_both_edges():
    tags = np.array([-0.8, 0.75, *np.linspace(-0.5, 0.5, 21)])[:, None]
    scores = np.array([1, 0.9] + 21 * [0.5])
    assert len(group_by_seed(tags, scores, bandwidth=1, shifts=0)) == 2
    assert len(group_by_seed(tags, scores, bandwidth=1)) == 1


def _chains(distance, radius):
    _, group = sparse.csgraph.connected_components(sparse.csr_array(distance <= radius))
    return group


@given(scene=tagged_points(60), radius=st.sampled_from([0.2, 0.8, 3.0]))
@settings(deadline=None, max_examples=100)
def test_connected_points_form_groups(scene, radius):
    _, tags, image, gate = scene
    distance = distances(tags, tags)
    same = (image[:, None] == image[None]) & (image[:, None] >= 0)
    distance[~same] = np.inf
    if gate is not None:
        distance[~(gate | gate.T)] = np.inf
    own = _chains(np.minimum(distance, np.where(np.eye(len(tags)), 0, np.inf)), radius)
    apart = np.where(own[:, None] == own[None], np.inf, distance)
    margin = np.minimum(apart.min(axis=1, initial=2 * radius), 2 * radius) - radius
    used = image >= 0
    for form in [*forms_of(gate), gate if gate is None else np.triu(gate | gate.T)]:
        if form is not gate and callable(form):
            both = gate | gate.T
            form = lambda i, j, both=both: both[i, j]  # noqa: E731
        groups = group_connected(tags, radius=radius, image=image, gate=form)
        assert partition(groups.group) == partition(np.where(used, own, -1))
        assert groups.margin[used] == pytest.approx(margin[used], abs=1e-6)
        assert np.isnan(groups.margin[~used]).all()


def test_connected_follows_a_chain_where_seeds_do_not():
    tags = np.linspace(0, 10, 40)[:, None]
    assert len(group_connected(tags, radius=0.3)) == 1
    assert len(group_by_seed(tags, bandwidth=1)) > 3


def test_groups_are_numbered_by_weight():
    groups = group_connected([[0.0], [9.0], [9.1], [5.0]], [1, 0.2, 0.1, 0.5], radius=1)
    assert groups.group.tolist() == [0, 2, 2, 1]
    assert groups.tags[2] == pytest.approx((9 * 0.2 + 9.1 * 0.1) / 0.3)


@pytest.mark.parametrize("dims", [1, 2, 3, 8])
def test_thousands_of_points_in_clear_clusters_are_separated(dims):
    rng = np.random.default_rng(dims)
    own = np.repeat(np.arange(30), 100)
    centres = rng.permutation(30)[:, None] * np.ones(dims) * 3 + rng.normal(0, 0.2, (30, dims))
    tags = centres[own] + rng.normal(0, 0.1, (3000, dims))
    turn = rng.permutation(3000)
    for groups in (
        group_by_seed(tags[turn], rng.random(3000), bandwidth=1.5),
        group_connected(tags[turn], radius=0.7),
    ):
        assert partition(groups.group) == partition(own[turn])


def test_far_outliers_do_not_break_the_grid():
    tags = np.concatenate([np.linspace(0, 1, 50), [1e30, -1e30, 1e-30]])[:, None]
    assert len(group_connected(tags, radius=0.1)) == 3
    assert len(group_by_seed(tags, bandwidth=2)) == 3
