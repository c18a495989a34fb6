"""Corner pairs: against the published decoder's boxes, on made scenes, and their properties."""

import numpy as np
import pytest
import torch

from tagwise.corners import CornerSettings, decode_corners


def _golden_maps(golden, scene):
    maps = golden.corner_scene(scene)
    top_k = maps.pop("K")
    maps = {name: torch.as_tensor(values) for name, values in maps.items()}
    return top_k, maps | {name: maps[name].sigmoid() for name in ("tl_heat", "br_heat")}


def _rows(found):
    """x1, y1, x2, y2, score, class of each box."""
    columns = [found.boxes, found.scores[:, None], found.classes[:, None]]
    return np.concatenate(columns, axis=1)


@pytest.mark.parametrize("case", ["dets", "dets_thr1", "dets_no_offset"])
def test_published_boxes(golden, case):
    assert len(golden.corner_cases()) > 10
    for name in golden.corner_cases():
        top_k, maps = _golden_maps(golden, name)
        threshold = 1.0 if case == "dets_thr1" else 0.5
        chosen = CornerSettings.preset("cornernet", top_k=top_k, tag_threshold=threshold)
        if case == "dets_no_offset":
            del maps["tl_off"], maps["br_off"]
        (found,) = decode_corners(**maps, settings=chosen)
        golden.compare_boxes(name, case, _rows(found))
