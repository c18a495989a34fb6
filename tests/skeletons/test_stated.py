"""Edges and mirror pairs in all formats that files use."""

import pytest

from tagwise.errors import UserError
from tagwise.skeletons.stated import stated_edges, stated_flip

NAMES = ("nose", "eye A", "eye B", "tail")


@pytest.mark.parametrize(
    "stated",
    [
        [0, 2, 1, 3],  # Ultralytics' flip_idx
        [1, 3, 2, 4],
        ["nose", "eye B", "eye A", "tail"],
        [[1, 2]],
        [[2, 1], [1, 2]],
        [[1.0, 2.0]],
        [["eye A", "eye B"]],
        [["EyeA", "eye_b"]],
        [("eye A", 2)],
        {"eye A": "eye B", "eye B": "eye A", "nose": ""},
        [{"nodes": ["eye A", "eye B"]}],
        [{"left": "eye A", "right": "eye B"}],
        [[0, 0], [1, 2]],
    ],
    ids=str,
)
def test_pairs_are_read(stated):
    assert stated_flip(NAMES, stated, "x") == (0, 2, 1, 3)


def test_empty_list_of_pairs_is_respected():
    assert stated_flip(NAMES, [], "x") == (0, 1, 2, 3)


def test_pair_numbers_count_from_0_unless_impossible():
    assert stated_flip(NAMES, [[2, 3]], "x") == (0, 1, 3, 2)
    assert stated_flip(NAMES, [[3, 4]], "x") == (0, 1, 3, 2)
    # Both would fit, but the names agree with only one of them.
    sides = ("nose", "left eye", "right eye", "tail")
    assert stated_flip(sides, [[2, 3]], "x") == (0, 2, 1, 3)
    assert stated_flip(sides, [[1, 2]], "x") == (0, 2, 1, 3)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ([[0, 4]], "are 0 to 3 counted from 0 .* or 1 to 4 counted from 1"),
        ([[-1, 2]], "number -1"),
        ([[1, 2], [2, 3]], "eye B is in two pairs"),
        ([["eye A", "ear"]], "unknown keypoint of x: 'ear'"),
        ([[1, 2, 3]], "list of pairs"),
        ([[1]], "list of pairs"),
        ([[1, None]], "list of pairs"),
        ([[True, False]], "list of pairs"),
        ([[1.5, 2]], "list of pairs"),
        ("eye A, eye B", "list of pairs"),
        (7, "list of pairs"),
        ({"eye A": ["eye B"]}, "list of pairs"),
        ([1, 0], "2 counterparts for 4 keypoints"),
        ([1, 2, 3, 0], "flipping twice"),
        ([1, 1, 2, 3], "flipping twice|number"),
    ],
    ids=str,
)
def test_invalid_pairs_are_refused(stated, words):
    with pytest.raises(UserError, match=words) as caught:
        stated_flip(NAMES, stated, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stated", "edges"),
    [
        ([[1, 2], [2, 4]], ((0, 1), (1, 3))),
        ([[0, 1], [1, 3]], ((0, 1), (1, 3))),
        ([["nose", "Eye-A"], ["eye A", "tail"]], ((0, 1), (1, 3))),
        ([["1", "2"]], ((0, 1),)),
        (None, ()),
        ([], ()),
    ],
    ids=str,
)
def test_edges_are_read(stated, edges):
    assert stated_edges(NAMES, stated, "x") == edges


def test_names_that_look_like_numbers_take_precedence_over_indices():
    assert stated_edges(("2", "1", "3"), [["1", "3"]], "x") == ((1, 2),)


@pytest.mark.parametrize("stated", [[[0, 4]], [[1, 5]], [[-1, 1]], [1, 2], [[1]], "1-2", 3, [None]])
def test_invalid_edges_are_refused(stated):
    with pytest.raises(UserError, match=r"^x ") as caught:
        stated_edges(NAMES, stated, "x")
    if isinstance(stated, list) and isinstance(stated[0], list) and len(stated[0]) == 2:
        assert "0 to 3 counted from 0" in str(caught.value)
        assert "1 to 4 counted from 1" in str(caught.value)
