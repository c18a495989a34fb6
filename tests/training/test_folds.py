"""Folds: a division of a set into parts that keep the frames of a sequence together."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwise.training.folds import divide, sequence_of

NAMES = st.lists(
    st.builds("{}{}.png".format, st.sampled_from(["a/", "b/", "c-", "d"]), st.integers(0, 99)),
    min_size=2,
    max_size=40,
    unique=True,
)


@given(NAMES, st.integers(2, 6))
def test_folds_partition_the_set(names, count):
    count = min(count, len(names))
    parts = divide(names, count)
    assert len(parts) == count
    assert all(parts)
    assert sorted(chain(*parts)) == list(range(len(names)))


@given(NAMES, st.integers(2, 6), st.randoms(use_true_random=False))
def test_folds_do_not_depend_on_the_order(names, count, random):
    count = min(count, len(names))
    shuffled = random.sample(names, len(names))
    by_name = [{names[index] for index in part} for part in divide(names, count)]
    assert [{shuffled[index] for index in part} for part in divide(shuffled, count)] == by_name


def test_one_video_is_cut_into_stretches():
    names = [f"frame{number}.png" for number in range(20)]
    for part in divide(names, 4):
        assert part == list(range(part[0], part[0] + 5))


def test_short_videos_stay_whole():
    names = [f"{video}/{frame:03d}.png" for video in "abcdef" for frame in range(5)]
    for part in divide(names, 3):
        assert len(part) == 10
        assert len({names[index][0] for index in part}) == 2


@pytest.mark.parametrize(
    ("name", "sequence"),
    [("a\\b7.png", ("a/b", 7)), ("7", ("", 7)), ("x1y.png", ("x1y", 0)), ("a/.png", ("a/.png", 0))],
)
def test_sequences_are_named_without_their_number(name, sequence):
    assert sequence_of(name) == sequence
