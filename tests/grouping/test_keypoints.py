"""Grouping: quality on crowds, and invariants."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.poses import as_coco, pose_scene, right_keypoints
from tagwise.grouping import GroupingSettings, decode_keypoints, group_by_truth, group_keypoints
from tagwise.grouping import fill as fill_module
from tagwise.grouping import maps as maps_module
from tagwise.grouping import peaks as peaks_module
from tagwise.grouping.peaks import Peaks, find_peaks
from tagwise.metrics import keypoint_metrics
from tagwise.skeletons import COCO17

# ---------------------------------------------------------------------- quality


def _quality(people, dim, seeds, chosen=None):
    """Share of keypoints in the correct person, OKS AP, and found people per true person."""
    made = [pose_scene(seed, people, dim) for seed in seeds]
    found, right = [], 0
    for scene in made:
        (groups,) = decode_keypoints(scene.heatmaps, scene.tags, chosen, COCO17.order)
        right += right_keypoints(groups.keypoints, scene.keypoints)
        found.append((groups.keypoints, groups.scores))
    truth, results = as_coco(made, found)
    recall = right / sum(scene.keypoints[..., 2].sum() for scene in made)
    share = len(results) / len(truth["annotations"])
    return recall, keypoint_metrics(results, truth)["AP"], share


def test_default_groups_crowds_well():
    recall, precision, share = _quality(20, 1, range(8))
    assert recall >= 0.975
    assert precision >= 0.95
    assert share <= 1.25


@pytest.mark.parametrize(("people", "dim", "floor"), [(3, 1, 0.97), (8, 1, 0.965), (20, 2, 0.975)])
def test_default_groups_better_than_the_published_settings(people, dim, floor):
    recall, precision, share = _quality(people, dim, range(4))
    _, published, more = _quality(people, dim, range(4), GroupingSettings.preset("higherhrnet"))
    assert recall >= 0.98
    assert precision >= max(floor, published + 0.05)
    assert share <= 1.35 < more


# ---------------------------------------------------------------------- properties


def _people_maps(people, dimension=1, size=(48, 80), batch=1):
    """Maps (batch, 4, ...) with Gaussian peaks of 4 types; people: rows of x, y, tag."""
    v, u = np.mgrid[: size[0], : size[1]]
    heatmaps = np.zeros((4, *size), np.float32)
    tags = np.full((4, dimension, *size), 50, np.float32)
    for x, y, tag in people:
        for k, (dx, dy) in enumerate([(0, -6), (5, 0), (-5, 0), (0, 6)]):
            spot = (0.9 - 0.05 * k) * np.exp(-((u - x - dx) ** 2 + (v - y - dy) ** 2) / 4.5)
            near = (spot > 0.02) & (spot > heatmaps[k])
            tags[k][:, near] = tag
            heatmaps[k] = np.maximum(heatmaps[k], spot.astype(np.float32))
    heatmaps, tags = torch.from_numpy(heatmaps), torch.from_numpy(tags).flatten(0, 1)
    return heatmaps.repeat(batch, 1, 1, 1), tags.repeat(batch, 1, 1, 1)


TWO = [(20, 20, 0.0), (50, 25, 5.0)]


@pytest.mark.parametrize("method", ["sweeps", "greedy"])
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_two_people_are_separated(method, dimension):
    heatmaps, tags = _people_maps(TWO, dimension)
    (groups,) = decode_keypoints(heatmaps, tags, GroupingSettings(method=method))
    assert len(groups) == 2
    assert groups.tags.shape == (2, 4, dimension)
    centres = groups.keypoints[:, :, :2].mean(axis=1)
    assert sorted(np.round(centres).tolist()) == [[20, 20], [50, 25]]
    assert groups.scores == pytest.approx([0.825, 0.825], abs=1e-3)


@pytest.mark.parametrize("method", ["sweeps", "greedy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_image_without_people_gives_no_groups(method, dtype):
    chosen = GroupingSettings(method=method)
    heatmaps = torch.zeros(3, 4, 20, 30, dtype=dtype)
    decoded = decode_keypoints(heatmaps, torch.zeros(3, 8, 20, 30, dtype=dtype), chosen)
    assert [groups.keypoints.shape for groups in decoded] == [(0, 4, 3)] * 3
    assert [groups.tags.shape for groups in decoded] == [(0, 4, 2)] * 3


@pytest.mark.parametrize("method", ["sweeps", "greedy"])
def test_nan_tags_do_not_raise(method):
    heatmaps, tags = _people_maps(TWO)
    tags[:, 2] = torch.nan
    (groups,) = decode_keypoints(heatmaps, tags, GroupingSettings(method=method))
    assert len(groups) == 2
    assert np.isnan(groups.keypoints[:, 2, 0]).all()
    (groups,) = decode_keypoints(heatmaps, tags * torch.nan, GroupingSettings(method=method))
    assert len(groups) == 0


@pytest.mark.parametrize("method", ["sweeps", "greedy"])
def test_given_peaks_with_nan_tags_do_not_raise(method):
    found = find_peaks(*_people_maps(TWO))
    tag = found.tags.copy()
    tag[::3] = np.nan
    broken = Peaks(found.xy, found.cells, found.scores, tag, found.starts)
    (groups,) = group_keypoints(broken, GroupingSettings(method=method, min_keypoints=1))
    assert len(groups) >= 2


@pytest.mark.parametrize(
    "chosen",
    [
        GroupingSettings(),
        GroupingSettings(max_instances=3, small_side=20.0, duplicate_similarity=0.3),
        GroupingSettings(method="greedy", fill=False),
        *map(GroupingSettings.preset, ("higherhrnet", "poseae", "mmpose1", "openmodelzoo")),
    ],
)
def test_images_of_a_batch_are_independent(chosen):
    """Small and large people, none, and the same people twice, in any order."""
    scenes = [pose_scene(seed, people, 2) for seed, people in ((1, 4), (2, 12), (3, 1))]
    images = [(scene.heatmaps, scene.tags) for scene in scenes]
    images = [images[0], (images[0][0] * 0, images[0][1]), images[1], images[0], images[2]]
    batch = [np.concatenate([np.asarray(maps) for maps in part]) for part in zip(*images)]
    decoded = decode_keypoints(*batch, chosen)
    assert len(decoded[0]) > 0 == len(decoded[1])
    for groups, maps in zip(decoded, images, strict=True):
        (alone,) = decode_keypoints(*maps, chosen)
        for field in ("keypoints", "scores", "tags", "peaks"):
            np.testing.assert_array_equal(getattr(groups, field), getattr(alone, field))


@pytest.mark.parametrize("preset", ["default", "higherhrnet", "mmpose1"])
def test_tensor_operations_of_a_device_give_the_same_groups(preset, monkeypatch):
    """The path of tensors on a GPU, here on the CPU."""
    scenes, chosen = [pose_scene(seed, 6, 2) for seed in (1, 2)], GroupingSettings.preset(preset)
    maps = [
        torch.cat([torch.as_tensor(getattr(scene, name)) for scene in scenes])
        for name in ("heatmaps", "tags")
    ]
    on_host = decode_keypoints(*maps, chosen)
    for module in (maps_module, peaks_module, fill_module):
        monkeypatch.setattr(module, "on_host", lambda maps: False)
    for groups, expected in zip(decode_keypoints(*maps, chosen), on_host, strict=True):
        np.testing.assert_array_equal(groups.keypoints, expected.keypoints)
        np.testing.assert_array_equal(groups.tags, expected.tags)


def test_groups_are_sorted_and_limited_to_max_instances():
    heatmaps, tags = _people_maps([(12, 20, 0.0), (35, 20, 5.0), (60, 20, 10.0)])
    heatmaps[..., :24] *= 0.6
    heatmaps[..., 48:] *= 0.8
    (groups,) = decode_keypoints(heatmaps, tags)
    assert (np.diff(groups.scores) < 0).all()
    (best,) = decode_keypoints(heatmaps, tags, GroupingSettings(max_instances=2))
    assert np.array_equal(best.scores, groups.scores[:2])
    (good,) = decode_keypoints(heatmaps, tags, GroupingSettings(instance_threshold=0.6))
    assert np.array_equal(good.scores, groups.scores[:2])


def test_score_counts_missing_keypoints_as_zero():
    heatmaps, tags = _people_maps(TWO[:1])
    heatmaps[:, 3] = 0
    (groups,) = decode_keypoints(heatmaps, tags)
    assert groups.scores == pytest.approx([(0.9 + 0.85 + 0.8) / 4], abs=1e-3)


def test_duplicates_are_dropped():
    # A second set of peaks two cells away with different tags: the same person found twice.
    heatmaps, tags = _people_maps([(20, 20, 0.0), (22, 20, 5.0)])
    chosen = GroupingSettings(nms_window=3, duplicate_sigma=0.2)
    heatmaps[0, :, ::2, 21] = 0
    heatmaps[:, :, :, [16, 21, 26]] = 0
    (groups,) = decode_keypoints(heatmaps, tags, chosen)
    assert len(groups) == 1
    everything = GroupingSettings(nms_window=3, duplicate_similarity=None)
    assert len(decode_keypoints(heatmaps, tags, everything)[0]) == 2


def test_stray_peaks_do_not_form_instances():
    heatmaps, tags = _people_maps(TWO)
    heatmaps[0, 1, 40, 5], heatmaps[0, 2, 4, 70] = 0.4, 0.3
    assert len(decode_keypoints(heatmaps, tags)[0]) == 2
    assert len(decode_keypoints(heatmaps, tags, GroupingSettings.preset("higherhrnet"))[0]) == 3


def test_order_in_the_settings_takes_precedence():
    torch.manual_seed(0)
    heatmaps, tags = torch.rand(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    settings = GroupingSettings.preset("higherhrnet")
    (wanted,) = decode_keypoints(heatmaps, tags, settings, order=[2, 0, 3, 1])
    (other,) = decode_keypoints(heatmaps, tags, settings)
    given = GroupingSettings.preset("higherhrnet", order=[2, 0, 3, 1])
    (found,) = decode_keypoints(heatmaps, tags, given, order=[0, 1, 2, 3])
    assert np.array_equal(found.peaks, wanted.peaks)
    assert not np.array_equal(found.peaks, other.peaks)


def test_order_must_name_each_type():
    heatmaps, tags = _people_maps(TWO)
    with pytest.raises(ValueError, match="name each of 4 types once"):
        decode_keypoints(heatmaps, tags, order=[0, 1, 2, 2])


@st.composite
def _some_peaks(draw):
    """Peaks of one image: a few clear people with some keypoints missing."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    people, kinds = draw(st.integers(0, 5)), draw(st.integers(2, 6))
    there = rng.random((people, kinds)) < 0.8
    person, kind = np.nonzero(there)
    score = rng.uniform(0.3, 1.0, len(kind))
    order = np.lexsort([-score, kind])
    person, kind, score = person[order], kind[order], score[order]
    xy = rng.uniform(-5, 5, (len(kind), 2)) + 30 * person[:, None]
    tag = rng.normal(0, 0.1, (len(kind), 2)) + 5 * person[:, None]
    starts = np.searchsorted(kind, np.arange(kinds + 1))[None]
    values = (xy, score, tag)
    xy, score, tag = (v.astype(np.float32) for v in values)
    return Peaks(xy, xy.astype(np.int64), score, tag, starts), person


def _partition(groups):
    return {frozenset(row[row >= 0].tolist()) for row in groups.peaks}


EVERYTHING = {"min_keypoints": 1, "instance_threshold": 0.0, "duplicate_similarity": None}


def test_confident_peak_joins_and_low_score_peak_starts_no_group():
    """Two peaks of the last type fit one person: a nearer one of low score and a confident one."""
    xy = np.array([[0, 0], [4, 0], [0, 4], [4, 4], [5, 5]], np.float32)
    tag = np.array([[0], [0], [0], [0.05], [0.3]], np.float32)
    score = np.array([0.9, 0.9, 0.9, 0.1, 0.9], np.float32)
    starts = np.array([[0, 1, 2, 3, 5]])
    found = Peaks(xy, xy.astype(np.int64), score, tag, starts)
    (groups,) = group_keypoints(found, GroupingSettings(**EVERYTHING))
    assert _partition(groups) == {frozenset({0, 1, 2, 4})}
    blind = GroupingSettings(score_power=0.0, founder_threshold=0.0, **EVERYTHING)
    (groups,) = group_keypoints(found, blind)
    assert _partition(groups) == {frozenset({0, 1, 2, 3}), frozenset({4})}


@given(case=_some_peaks(), method=st.sampled_from(["sweeps", "greedy"]))
@settings(deadline=None, max_examples=60)
def test_clear_people_are_found(case, method):
    found, person = case
    # Only by tags: positions are random here, and a distant one can count as another person.
    chosen = GroupingSettings(method=method, compactness=0.0, **EVERYTHING)
    (groups,) = group_keypoints(found, chosen)
    expected = {frozenset(np.flatnonzero(person == p).tolist()) for p in set(person.tolist())}
    if method == "sweeps":
        assert _partition(groups) == expected
    # With tags along a line, many assignments have the same sum of distances, so the greedy method
    # may split a person; it never mixes two.
    assert all(any(part <= whole for whole in expected) for part in _partition(groups))


@given(case=_some_peaks(), by=st.tuples(st.integers(-50, 50), st.integers(-50, 50)))
@settings(deadline=None, max_examples=30)
def test_groups_are_invariant_to_shifts_of_image_and_tags(case, by):
    found, _ = case
    (groups,) = group_keypoints(found)
    moved = replace(found, xy=found.xy + np.float32(by), tags=found.tags + 8)
    (other,) = group_keypoints(moved)
    assert _partition(groups) == _partition(other)


# ---------------------------------------------------------------------- grouping by truth


def test_truth_groups_peaks_that_tags_cannot_separate():
    heatmaps, tags = _people_maps([(20, 20, 0.0), (50, 25, 0.0)])
    found = find_peaks(heatmaps, tags)
    offsets = np.array([(0, -6), (5, 0), (-5, 0), (0, 6)])
    truth = np.ones((3, 4, 3))
    truth[0, :, :2] = offsets + np.array([20.4, 20])
    truth[1, :, :2] = offsets + np.array([50, 24.5])
    truth[2, :, :2] = offsets + np.array([5, 40])  # no peaks of this person
    truth[1, 2, 2] = 0  # this keypoint is unlabelled
    (groups,) = group_by_truth(found, [truth])
    assert len(groups) == 2
    assert groups.keypoints[0, :, :2] == pytest.approx(offsets + 20, abs=0.05)
    assert (groups.peaks[1] >= 0).tolist() == [True, True, False, True]


def test_truth_without_people_or_peaks_gives_no_groups():
    found = find_peaks(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8))
    decoded = group_by_truth(found, [np.zeros((0, 4, 3)), np.ones((2, 4, 3))])
    assert [len(groups) for groups in decoded] == [0, 0]


def test_small_instances_have_lower_scores():
    """The longer side of the instances is 12 cells, so that half of 24 gives the factor .5^.25."""
    heatmaps, tags = _people_maps([(20, 20, 1), (60, 24, 5)])
    (plain,) = decode_keypoints(heatmaps, tags)
    for fill in (True, False):
        chosen = GroupingSettings(small_side=24.0, fill=fill)
        (sized,) = decode_keypoints(heatmaps, tags, chosen)
        np.testing.assert_allclose(sized.scores, plain.scores * 0.5**0.25, rtol=1e-3)
        (large,) = decode_keypoints(heatmaps, tags, replace(chosen, small_side=11.0))
        np.testing.assert_array_equal(large.scores, plain.scores)
    assert not len(decode_keypoints(heatmaps, tags, replace(chosen, instance_threshold=0.8))[0])
