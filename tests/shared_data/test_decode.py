"""Stored results of the published pose decoders: people at every step, and assignments."""

import numpy as np
import pytest
import torch

from slow.poses import COCO_ORDER
from tagwise.grouping import GroupingSettings, decode_keypoints
from tagwise.grouping.kernels.assignment import assign

ORDERS = {17: COCO_ORDER, 14: [*range(7), 11, 12, 7, 8, 9, 10, 13]}


def decoded(det, tag, preset, **changes):
    """People (N, K, 3) of a scene, from the cell's centre, and their scores (N,)."""
    tags = torch.as_tensor(tag).transpose(1, 2).flatten(1, 2).contiguous()
    settings = GroupingSettings.preset(preset, **changes)
    (groups,) = decode_keypoints(torch.as_tensor(det), tags, settings, ORDERS[det.shape[1]])
    return groups.keypoints.astype(np.float64), groups.scores


def unshifted(det, tag, preset):
    """People in the format of the published code before any shift: missing keypoints are zeros."""
    keypoints, scores = decoded(det, tag, preset, subcell="none", fill=False)
    return np.nan_to_num(keypoints), scores


def shifted(det, tag, preset, **changes):
    """People as in the published code: from the cell's edge; missing keypoints are zeros."""
    keypoints, scores = decoded(det, tag, preset, **changes)
    keypoints[:, :, :2] += 0.5
    keypoints[~(keypoints[:, :, 2] > 0)] = 0
    return keypoints, scores


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_people_before_any_shift_match(golden, decoder):
    for name in golden.pose_cases(decoder, "exact"):
        found, scores = unshifted(*golden.pose_scene(name), decoder)
        golden.compare_people(decoder, name, "raw", found, scores)


@pytest.mark.parametrize("scene", ["sep_64_d1_n3", "sep_64_d2_n3"])
def test_people_on_complete_maps_match(golden, scene):
    maps = golden.archive(f"decode/pose_maps_{scene}")
    for decoder in ("higherhrnet", "poseae"):
        found, scores = unshifted(maps["det"], maps["tag"], decoder)
        golden.compare_people(decoder, scene, "raw", found, scores)


def test_assignments_match(golden, close):
    pairs = golden.archive("decode/pose_assignment")
    for name, cost, row in golden.assignment_cases():
        column = assign(cost.astype(np.float64), 1e7)
        found = [(r, c) for r, c in enumerate(column) if c >= 0]
        total = sum(cost[pair] for pair in found)
        close("decode: cost of the assignment", total, row["total_cost"], atol=1e-3)
        if row["unique"]:
            # Columns beyond the groups stand for new ones.
            wanted = [pair for pair in pairs[f"{name}_official_pairs"] if pair[1] < cost.shape[1]]
            close("decode: pairs of the assignment", found, sorted(map(tuple, wanted)), atol=0)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_people_before_refinement_match(golden, decoder):
    cases = golden.pose_cases(decoder, "exact")
    assert len(cases) > 30
    for name in cases:
        found, scores = shifted(*golden.pose_scene(name), decoder, fill=False)
        golden.compare_people(decoder, name, "adjust", found, scores)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_people_after_refinement_match(golden, decoder):
    for name in golden.pose_cases(decoder, "exact"):
        found, scores = shifted(*golden.pose_scene(name), decoder)
        golden.compare_people(decoder, name, "adjust_refine", found, scores)


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_keypoints_of_ambiguous_people_match(golden, decoder):
    for name in golden.pose_cases(decoder, "ambiguous"):
        found, _ = shifted(*golden.pose_scene(name), decoder, fill=False)
        golden.compare_detected_joints(decoder, name, found)


VARIANTS = {
    "variant_no_detection_val": {"use_score": False, "round_tags": False},
    "variant_threshold_0.3": {"peak_threshold": 0.3},
    "variant_nms3": {"nms_window": 3},
    "variant_tag_threshold_0.5": {"tag_threshold": 0.5},
    "variant_ignore_too_much": {"stop_when_full": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_people_with_other_settings_match(golden, variant):
    case = golden.info("decode/pose_decode")["variants"][variant]
    assert case["label"] == "exact"
    scene = golden.pose_scene(case["scene"])
    found, _ = shifted(*scene, "higherhrnet", **VARIANTS[variant])
    golden.compare_people("higherhrnet", variant, "adjust_refine", found)
