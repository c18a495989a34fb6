"""Splits by video, by time and at random."""

import numpy as np
import pytest

from labelled_sets import bees, keypoint_set
from tagwise.errors import UserError
from tagwise.labels.split import group_by_video, natural_key, split_images, video_of


def a_set(folder, files, scenes=None):
    images = [bees(np.random.default_rng(n), 1) for n in range(len(files))]
    return keypoint_set(folder, images, files=files, scenes=scenes)


def names_of(dataset, indices):
    return [dataset.info(index).file for index in indices]


def assert_complete(split, count):
    assert sorted(split.train + split.val) == list(range(count))


def test_whole_videos_are_held_out(tmp_path):
    files = [f"{video}_{frame}.png" for video in "abcdef" for frame in range(4)]
    dataset = a_set(tmp_path, files)
    split = split_images(dataset)
    assert_complete(split, 24)
    videos = [{name[0] for name in names_of(dataset, part)} for part in (split.train, split.val)]
    assert not videos[0] & videos[1]
    assert len(split.val) == 4
    assert split.how.startswith("by video: ")
    assert split == split_images(dataset)


def test_the_end_of_one_video_is_held_out_in_the_order_of_its_frames(tmp_path):
    """Frame 9 comes before frame 10, and neighbouring frames show the same scene."""
    files = [f"clip{frame}.png" for frame in range(20)]
    dataset = a_set(tmp_path, files, scenes=[n // 4 for n in range(20)])
    split = split_images(dataset, 0.25)
    assert names_of(dataset, split.val) == files[15:]
    assert "by time" in split.how


def test_two_videos_are_each_cut(tmp_path):
    files = [f"{video}/{frame}.png" for video in ("one", "two") for frame in range(10)]
    dataset = a_set(tmp_path, files)
    assert names_of(dataset, split_images(dataset).val) == [
        f"{video}/{frame}.png" for video in ("one", "two") for frame in (8, 9)
    ]


def test_different_photos_are_drawn_at_random(tmp_path):
    dataset = a_set(tmp_path, [f"{n:03d}.png" for n in range(20)])
    split = split_images(dataset)
    assert_complete(split, 20)
    assert "at random" in split.how
    assert names_of(dataset, split.val) != [f"{n:03d}.png" for n in range(16, 20)]


def test_stated_videos_replace_those_of_the_names(tmp_path):
    dataset = a_set(tmp_path, [f"{n:03d}.png" for n in range(8)])
    videos = ["x", "y", "z", "w"] * 2
    val = split_images(dataset, 0.25, videos).val
    assert len({videos[index] for index in val}) == 1
    assert len(val) == 2


def test_one_image_leaves_nothing_to_validate_on(tmp_path):
    split = split_images(a_set(tmp_path, ["only.png"]))
    assert (split.train, split.val) == ((0,), ())


@pytest.mark.parametrize("share", [0, 1, -0.2, 5])
def test_share_must_leave_both_sides(share, tmp_path):
    with pytest.raises(UserError, match="above 0 and below 1"):
        split_images(a_set(tmp_path, ["a.png", "b.png"]), share)


def test_names_of_videos():
    assert video_of("day\\cage 2_0012.png") == "day/cage 2_"
    assert sorted(["f10", "f9", "f1"], key=natural_key) == ["f1", "f9", "f10"]
    single = [f"photo {letter}.png" for letter in "abcdef"]
    assert list(group_by_video(single)) == [""]
