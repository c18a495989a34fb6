"""Stored results of the published corner decoder and of its soft suppression."""

import numpy as np
import pytest
import torch

from tagwise.grouping.corners import CornerSettings, decode_corners
from tagwise.grouping.suppression import METHODS, soft_nms


def maps_of(golden, scene):
    maps = golden.corner_scene(scene)
    top_k = maps.pop("K")
    maps = {name: torch.as_tensor(values) for name, values in maps.items()}
    return top_k, maps | {name: maps[name].sigmoid() for name in ("tl_heat", "br_heat")}


def rows(found):
    """x1, y1, x2, y2, score, class of each box."""
    return np.c_[found.boxes, found.scores, found.classes]


def test_boxes_match(golden):
    assert len(golden.corner_cases()) > 10
    for name in golden.corner_cases():
        top_k, maps = maps_of(golden, name)
        chosen = CornerSettings.preset("cornernet", top_k=top_k)
        golden.compare_boxes(name, "dets", rows(decode_corners(**maps, settings=chosen)[0]))
        wide = CornerSettings.preset("cornernet", top_k=top_k, tag_threshold=1.0)
        golden.compare_boxes(name, "dets_thr1", rows(decode_corners(**maps, settings=wide)[0]))
        del maps["tl_off"], maps["br_off"]
        (found,) = decode_corners(**maps, settings=chosen)
        golden.compare_boxes(name, "dets_no_offset", rows(found))


@pytest.mark.parametrize("method", METHODS)
def test_soft_suppression_matches(golden, method):
    archive = golden.archive("decode/corner_decode")
    for name in golden.corner_cases():
        boxes, scores, classes = np.split(archive[f"{name}/dets"][:, [0, 1, 2, 3, 4, 7]], [4, 5], 1)
        index, softened = soft_nms(boxes, scores[:, 0], classes[:, 0], method, inclusive=True)
        found = np.c_[boxes[index], softened, classes[index]]
        golden.compare_boxes(name, f"soft_{method}", found)
