"""Grouping: against the published decoders' people, on made scenes, and its properties."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orders import ORDER
from tagwise.grouping import GroupingSettings, decode_keypoints, group_by_truth, group_keypoints
from tagwise.grouping.peaks import Peaks, find_peaks


def _maps(det, tag):
    """Maps of the golden and made scenes, tags (1, D, K, H, W), as decode_keypoints takes them."""
    det, tag = torch.as_tensor(det), torch.as_tensor(tag)
    return det, tag.transpose(1, 2).flatten(1, 2).contiguous()


def _published(groups):
    """People as the published decoders write them: +.5 (corners at whole numbers), missing as 0."""
    people = groups.keypoints.astype(np.float64)
    people[:, :, :2] += 0.5
    people[~(people[:, :, 2] > 0)] = 0
    return people


def _golden_groups(golden, scene, preset, **changes):
    heatmaps, tags = _maps(*golden.pose_scene(scene))
    chosen = GroupingSettings.preset(preset, **changes)
    kinds = heatmaps.shape[1]
    # With 14 types the published code takes the first 14 entries of its list for 17.
    order = ORDER if kinds == 17 else [*range(7), 11, 12, 7, 8, 9, 10, 13]
    return decode_keypoints(heatmaps, tags, chosen, order)[0]


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_published_people_before_refinement(golden, decoder):
    cases = golden.pose_cases(decoder, "exact")
    assert len(cases) > 30
    for name in cases:
        groups = _golden_groups(golden, name, decoder, fill=False)
        golden.compare_people(decoder, name, "adjust", _published(groups), groups.scores)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_published_people_after_refinement(golden, decoder):
    for name in golden.pose_cases(decoder, "exact"):
        groups = _golden_groups(golden, name, decoder)
        people = _published(groups)
        golden.compare_people(decoder, name, "adjust_refine", people, groups.scores)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_published_keypoints_where_the_people_are_ambiguous(golden, decoder):
    for name in golden.pose_cases(decoder, "ambiguous"):
        groups = _golden_groups(golden, name, decoder, fill=False)
        golden.compare_detected_joints(decoder, name, _published(groups))


_VARIANTS = {
    "variant_no_detection_val": {"use_score": False, "round_tags": False},
    "variant_threshold_0.3": {"peak_threshold": 0.3},
    "variant_nms3": {"nms_window": 3},
    "variant_tag_threshold_0.5": {"tag_threshold": 0.5},
    "variant_ignore_too_much": {"stop_when_full": True},
}


@pytest.mark.parametrize("variant", _VARIANTS)
def test_published_people_with_other_settings(golden, variant):
    case = golden.info("decode/pose_decode")["variants"][variant]
    assert case["label"] == "exact"
    changes = _VARIANTS[variant]
    groups = _golden_groups(golden, case["scene"], "higherhrnet", **changes)
    golden.compare_people("higherhrnet", variant, "adjust_refine", _published(groups))


# ---------------------------------------------------------------------- quality


@pytest.fixture(scope="module")
def scenes(shared):
    sys.path.insert(0, str(shared / "bench"))
    import pose_scenes

    return pose_scenes


def _quality(scenes, people, tag_dim, seeds, chosen=None, **decode):
    """Joint recall, OKS AP and people found for each there is, at level hard."""
    found, truth, right, joints = [], [], 0.0, 0
    for seed in seeds:
        det, tag, scene = scenes.make_scene(people, tag_dim, 128, seed, "hard")
        groups = decode_keypoints(*_maps(det, tag), chosen, ORDER)[0]
        poses = np.nan_to_num(groups.keypoints.astype(np.float64))
        recall, total = scenes.joint_recall(poses, scene, 1)
        right, joints = right + recall, joints + total
        found.append((poses, groups.scores))
        truth.append(scene)
    share = sum(len(poses) for poses, _ in found) / (people * len(truth))
    return right / joints, scenes.oks_ap(found, truth), share


def test_default_groups_crowds_well(scenes):
    recall, precision, share = _quality(scenes, 20, 1, range(4))
    assert recall >= 0.96
    assert precision >= 0.91
    assert share <= 1.25


@pytest.mark.parametrize(("people", "tag_dim"), [(3, 1), (8, 1), (20, 2)])
def test_default_groups_better_than_the_published_settings(scenes, people, tag_dim):
    recall, precision, share = _quality(scenes, people, tag_dim, range(3))
    preset = GroupingSettings.preset("higherhrnet")
    old_recall, old_precision, old_share = _quality(scenes, people, tag_dim, range(3), preset)
    assert recall >= old_recall
    assert precision >= old_precision
    assert share <= min(1.35, old_share)


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
def test_two_people(method, dimension):
    heatmaps, tags = _people_maps(TWO, dimension)
    (groups,) = decode_keypoints(heatmaps, tags, GroupingSettings(method=method))
    assert len(groups) == 2
    assert groups.tags.shape == (2, 4, dimension)
    centres = groups.keypoints[:, :, :2].mean(axis=1)
    assert sorted(np.round(centres).tolist()) == [[20, 20], [50, 25]]
    assert groups.scores == pytest.approx([0.825, 0.825], abs=1e-3)


@pytest.mark.parametrize("method", ["sweeps", "greedy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_nobody(method, dtype):
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
def test_peaks_with_nan_tags_made_by_hand_do_not_raise(method):
    found = find_peaks(*_people_maps(TWO))
    tag = found.tags.copy()
    tag[::3] = np.nan
    broken = Peaks(found.xy, found.cells, found.scores, tag, found.starts)
    (groups,) = group_keypoints(broken, GroupingSettings(method=method, min_keypoints=1))
    assert len(groups) >= 2


def test_images_of_a_batch_do_not_mix():
    one, two = _people_maps(TWO[:1]), _people_maps(TWO)
    batch = [torch.cat(pair) for pair in zip(one, two)]
    decoded = decode_keypoints(*batch)
    for groups, alone in zip(decoded, [decode_keypoints(*one)[0], decode_keypoints(*two)[0]]):
        assert np.array_equal(groups.keypoints, alone.keypoints, equal_nan=True)


def test_best_first_and_at_most_so_many():
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


def test_doubles_are_dropped():
    # A second set of peaks two cells off, with tags of its own: the same person seen twice.
    heatmaps, tags = _people_maps([(20, 20, 0.0), (22, 20, 5.0)])
    chosen = GroupingSettings(nms_window=3, duplicate_sigma=0.2)
    heatmaps[0, :, ::2, 21] = 0
    heatmaps[:, :, :, [16, 21, 26]] = 0
    (groups,) = decode_keypoints(heatmaps, tags, chosen)
    assert len(groups) == 1
    everything = GroupingSettings(nms_window=3, duplicate_similarity=None)
    assert len(decode_keypoints(heatmaps, tags, everything)[0]) == 2


def test_stray_peaks_are_nobody():
    heatmaps, tags = _people_maps(TWO)
    heatmaps[0, 1, 40, 5], heatmaps[0, 2, 4, 70] = 0.4, 0.3
    assert len(decode_keypoints(heatmaps, tags)[0]) == 2
    assert len(decode_keypoints(heatmaps, tags, GroupingSettings.preset("higherhrnet"))[0]) == 3


def test_an_order_in_the_settings_comes_first():
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


def test_a_sure_peak_gets_the_place_and_a_faint_one_founds_nothing():
    """Two peaks of the last type fit one person: a nearer, faint one and a sure one."""
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
    # By tags alone: the places here are random, and one far from the rest may count as a stranger.
    chosen = GroupingSettings(method=method, compactness=0.0, **EVERYTHING)
    (groups,) = group_keypoints(found, chosen)
    expected = {frozenset(np.flatnonzero(person == p).tolist()) for p in set(person.tolist())}
    if method == "sweeps":
        assert _partition(groups) == expected
    # Of tags along a line many assignments have the same sum of distances, so the greedy method
    # may part a person; it never mixes two.
    assert all(any(part <= whole for whole in expected) for part in _partition(groups))


@given(case=_some_peaks(), by=st.tuples(st.integers(-50, 50), st.integers(-50, 50)))
@settings(deadline=None, max_examples=30)
def test_moving_the_image_or_the_tags_changes_nothing(case, by):
    found, _ = case
    (groups,) = group_keypoints(found)
    moved = replace(found, xy=found.xy + np.float32(by), tags=found.tags + 8)
    (other,) = group_keypoints(moved)
    assert _partition(groups) == _partition(other)


# ---------------------------------------------------------------------- grouping by truth


def test_truth_groups_what_tags_cannot():
    heatmaps, tags = _people_maps([(20, 20, 0.0), (50, 25, 0.0)])
    found = find_peaks(heatmaps, tags)
    offsets = np.array([(0, -6), (5, 0), (-5, 0), (0, 6)])
    truth = np.ones((3, 4, 3))
    truth[0, :, :2] = offsets + np.array([20.4, 20])
    truth[1, :, :2] = offsets + np.array([50, 24.5])
    truth[2, :, :2] = offsets + np.array([5, 40])  # nobody saw this one
    truth[1, 2, 2] = 0  # nor labelled this keypoint
    (groups,) = group_by_truth(found, [truth])
    assert len(groups) == 2
    assert groups.keypoints[0, :, :2] == pytest.approx(offsets + 20, abs=0.05)
    assert (groups.peaks[1] >= 0).tolist() == [True, True, False, True]


def test_truth_without_people_or_peaks():
    found = find_peaks(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8))
    decoded = group_by_truth(found, [np.zeros((0, 4, 3)), np.ones((2, 4, 3))])
    assert [len(groups) for groups in decoded] == [0, 0]
