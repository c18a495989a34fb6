"""What the published decoders gave on the way: people before any shift, and who was matched."""

import numpy as np
import pytest
import torch

from orders import ORDER
from tagwise.grouping import GroupingSettings, decode_keypoints
from tagwise.grouping.kernels.assignment import assign

ORDERS = {17: ORDER, 14: [*range(7), 11, 12, 7, 8, 9, 10, 13]}


def people(det, tag, preset):
    """The groups of a scene as the published code writes them: missing keypoints are zeros."""
    tags = torch.as_tensor(tag).transpose(1, 2).flatten(1, 2).contiguous()
    settings = GroupingSettings.preset(preset, subcell="none", fill=False)
    order = ORDERS[det.shape[1]]
    groups = decode_keypoints(torch.as_tensor(det), tags, settings, order)[0]
    return np.nan_to_num(groups.keypoints), groups.scores


@pytest.mark.parametrize("decoder", ["higherhrnet", "poseae"])
def test_people_before_any_shift(golden, decoder):
    for name in golden.pose_cases(decoder, "exact"):
        found, scores = people(*golden.pose_scene(name), decoder)
        golden.compare_people(decoder, name, "raw", found, scores)


@pytest.mark.parametrize("scene", ["sep_64_d1_n3", "sep_64_d2_n3"])
def test_people_on_maps_that_are_stored_whole(golden, scene):
    maps = golden.archive(f"decode/pose_maps_{scene}")
    for decoder in ("higherhrnet", "poseae"):
        found, scores = people(maps["det"], maps["tag"], decoder)
        golden.compare_people(decoder, scene, "raw", found, scores)


def test_assignments(golden, close):
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
