"""Grouping of points with empty, invalid and unusual input."""

import warnings

import numpy as np
import pytest
import torch
from scipy import sparse

from scenes.points import partition
from tagwise.grouping import (
    group_by_reference,
    group_by_seed,
    group_by_type,
    group_connected,
    group_pairs,
)

TAGS = np.array([[0.0, 0.0], [0.1, 0.0], [3.0, 3.0], [3.1, 3.0], [9.0, 0.0]])

WAYS = {
    "by_type": lambda tags, **more: group_by_type(tags, np.arange(len(tags)), radius=1, **more),
    "by_seed": lambda tags, **more: group_by_seed(tags, bandwidth=1, **more),
    "connected": lambda tags, **more: group_connected(tags, radius=1, **more),
    "by_reference": lambda tags, **more: group_by_reference(tags, TAGS[[0, 2, 4]], **more),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
@pytest.mark.parametrize(
    "kind", [np.float32, np.float16, torch.float64, torch.bfloat16, torch.float16, list]
)
def test_tags_may_have_any_type(way, kind):
    tags = TAGS.tolist() if kind is list else TAGS
    tags = torch.tensor(tags, dtype=kind, requires_grad=True) if "torch" in str(kind) else tags
    tags = tags.astype(kind) if isinstance(tags, np.ndarray) else tags
    groups = way(tags)
    assert groups.group.dtype == np.int64
    assert partition(groups.group) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4})}
    assert len(groups) == len(groups.image) == 3
    assert (groups.margin > 0.5).all()


@ways
def test_empty_input_gives_no_groups(way):
    groups = way(np.zeros((0, 2)))
    assert groups.group.shape == groups.margin.shape == (0,)
    assert groups.left_out == 0


def test_without_references_no_point_is_grouped():
    groups = group_by_reference(TAGS, np.zeros((0, 2)))
    assert (groups.group == -1).all()
    assert len(group_pairs(TAGS, np.zeros((0, 2)), radius=1)) == 0


@ways
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_tags_that_are_not_finite_are_left_out_and_counted(way, bad):
    tags = np.insert(TAGS, [2, 4], [bad, 0.0], axis=0)
    with pytest.warns(UserWarning, match="NaN or infinite are left out") as caught:
        groups = way(tags)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert groups.left_out == 2
    assert np.flatnonzero(groups.group < 0).tolist() == [2, 5]
    assert np.array_equal(np.delete(groups.group, [2, 5]), way(TAGS).group)


@ways
def test_points_that_are_all_not_finite_give_no_groups(way):
    with pytest.warns(UserWarning, match="left out"):
        groups = way(TAGS * np.nan)
    assert groups.left_out == 5
    assert (groups.group == -1).all()


def test_references_that_are_not_finite_get_no_points():
    with pytest.warns(UserWarning, match="references"):
        groups = group_by_reference([[0.0]], [[np.nan], [5.0]])
    assert groups.group.tolist() == [1]


@ways
def test_images_are_independent_and_negative_ones_are_ignored(way):
    # int8 to uint64, torch or numpy; with gaps
    for image in (np.array([7, 0, 7, -1, 7], np.int8), torch.tensor([7, 0, 7, -1, 7])):
        groups = group_connected(np.zeros((5, 1)), radius=1, image=image)
        assert groups.group.tolist() == [1, 0, 1, -1, 1]
        assert groups.image.tolist() == [0, 7]
    image = np.array([3, 5, 3, 3, 5], np.uint64)
    more = {} if way is not WAYS["by_reference"] else {"reference_image": [3, 3, 5]}
    groups = way(TAGS, image=image, **more)
    if not more:
        assert (groups.image[groups.group] == image.astype(int)).all()
        assert len(groups) == 4
    else:
        assert groups.group.tolist() == [0, 2, 1, 1, 2]


def test_types_may_be_any_integers():
    for kind in (np.int8, np.uint16, np.int64):
        types = np.array([100, 100, 3, 7, 3]).astype(kind)
        groups = group_by_type(np.zeros((5, 1)), types, radius=1)
        assert sorted(np.bincount(groups.group).tolist()) == [2, 3]
    types = np.array([-(2**62), 2**62, -5])
    assert len(group_by_type(np.zeros((3, 1)), types, radius=1)) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: group_by_type(TAGS, [1, 2], radius=1), r"types.*\(5,\).*\(5, 2\).*\(2,\)"),
        (lambda: group_by_type(TAGS, [1.0] * 5, radius=1), "types must be integer"),
        (lambda: group_by_seed(TAGS, [1, 2], bandwidth=1), r"scores.*\(5, 2\).*\(2,\)"),
        (lambda: group_by_seed(TAGS, bandwidth=[1, 2]), r"bandwidth.*\(5, 2\).*\(2,\)"),
        (lambda: group_by_seed(TAGS, [-1] * 5, bandwidth=1), "scores must be >= 0"),
        (lambda: group_by_seed(TAGS, bandwidth=0), "bandwidth must be > 0"),
        (lambda: group_by_seed(TAGS, bandwidth=np.nan), "bandwidth must be > 0"),
        (lambda: group_connected(TAGS, radius=-1), "radius must be > 0"),
        (lambda: group_connected(TAGS, radius=np.inf), "radius must be > 0 and finite"),
        (lambda: group_connected(TAGS[0], radius=1), r"tags must be \(P, D\)"),
        (lambda: group_connected(TAGS, radius=1, image=[0]), r"image.*\(5, 2\).*\(1,\)"),
        (lambda: group_connected(TAGS, radius=1, image=[0.0] * 5), "image must be integer"),
        (lambda: group_by_reference(TAGS, TAGS[:, :1]), r"\(5, 2\) and \(5, 1\)"),
        (lambda: group_pairs(TAGS, TAGS[:, :1]), r"first and second.*\(5, 2\) and \(5, 1\)"),
        (lambda: group_pairs(TAGS, TAGS, second_image=[0]), r"second_image.*\(5, 2\).*\(1,\)"),
        (lambda: group_pairs(TAGS, TAGS[:3], gate=np.eye(5)), r"gate must be \(5, 3\).*\(5, 5\)"),
        (lambda: group_pairs(TAGS, TAGS, gate=7), "a function or a matrix, got int"),
        (
            lambda: group_pairs(TAGS, TAGS, gate=lambda i, j: True),
            r"gate must return shape \(25,\)",
        ),
    ],
)
def test_errors_name_the_mismatch(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_gate_gets_indices_of_the_given_points():
    asked = []

    def gate(i, j):
        asked.append((i, j))
        return np.ones(len(i), bool)

    tags = np.array([[np.nan], [0.0], [0.1], [0.2]])
    with pytest.warns(UserWarning, match="left out"):
        group_connected(tags, radius=1, image=[0, 0, 1, 1], gate=gate)
    pairs = {tuple(p) for i, j in asked for p in zip(i.tolist(), j.tolist())}
    assert pairs == {(2, 3)}


def test_sparse_gate_of_neighbouring_pixels_labels_regions():
    """Tags repeat at a distance: only the gate separates the two ends of the row."""
    tags = np.array([0, 0, 0, 5, 5, 0, 0])[:, None]
    near = sparse.diags_array([np.ones(6)], offsets=[1], shape=(7, 7))
    groups = group_connected(tags, radius=1, gate=near)
    assert partition(groups.group) == {frozenset({0, 1, 2}), frozenset({3, 4}), frozenset({5, 6})}
    assert len(group_connected(tags, radius=1)) == 2


def test_valid_input_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for way in WAYS.values():
            way(TAGS)
            way(np.zeros((0, 2)))
