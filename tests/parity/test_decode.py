"""Decoders with the published presets against decoders in plain loops, and corner pooling."""

import numpy as np
import pytest
import torch

from scenes.small import ORDER, best_first, people_at_edges, pose_maps
from slow import corners as slow_corners
from slow import poses as slow_poses
from tagwise.grouping import (
    CornerSettings,
    GroupingSettings,
    decode_corners,
    decode_keypoints,
)
from tagwise.grouping.suppression import METHODS, soft_nms
from tagwise.models.corner_pool import corner_pool


def ours(heatmaps, tags, preset, **changes):
    settings = GroupingSettings.preset(preset, **changes)
    maps = torch.from_numpy(heatmaps)[None], torch.from_numpy(tags).flatten(0, 1)[None]
    groups = decode_keypoints(*maps, settings, ORDER)[0]
    keypoints = groups.keypoints.astype(float)
    keypoints[..., :2] += 0.5  # the published ones count from the cell's edge
    keypoints[~(keypoints[..., 2] > 0)] = 0
    return keypoints, groups.scores


FAMILIES = {"higherhrnet": slow_poses.HIGHERHRNET, "poseae": slow_poses.POSEAE}
CHANGES = {"": {}, ", two people at most": {"match_limit": 2}}


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("people", [0, 1, 2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_people_match(agree, family, people, changes):
    # The decoder of pose-ae supports only square maps.
    size = (18, 18) if family == "poseae" else (16, 21)
    limits = {"limit": 2} if changes else {}
    settings = {**FAMILIES[family], **limits}
    for seed in range(6):
        dim, spread = 1 + seed % 3, (0.05, 0.4)[seed % 2]
        maps = pose_maps(100 * people + seed, people, size, dim, spread)
        for refine in (False, True):
            expected = best_first(*slow_poses.decode(*maps, ORDER, settings, refine))
            found = best_first(*ours(*maps, family, fill=refine, **CHANGES[changes]))
            kind = f"decode: {family}, {'refined ' * refine}people{changes}"
            agree(kind, found[0], expected[0], atol=1e-5)
            agree(f"{kind}, scores", found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_people_before_any_shift_match(agree, family):
    for seed in range(6):
        maps = pose_maps(seed, 3, (18, 18), 1 + seed % 3, 0.05)
        settings = FAMILIES[family]
        expected = best_first(*slow_poses.decode(*maps, ORDER, settings, refine=False, shift=False))
        keypoints, scores = ours(*maps, family, subcell="none", fill=False)
        found = best_first(keypoints - np.where(keypoints[..., 2:] > 0, [0.5, 0.5, 0], 0), scores)
        agree(f"decode: {family}, people before any shift", found[0], expected[0], atol=1e-6)


VARIANTS = {  # ours, and as the slow decoder has it
    "cost without score": ({"use_score": False, "round_tags": False}, {"rounded": False}),
    "higher peaks": ({"peak_threshold": 0.3}, {"threshold": 0.3}),
    "small window": ({"nms_window": 3}, {"window": 3}),
    "near tags": ({"tag_threshold": 0.5}, {"tag_threshold": 0.5}),
    "full": ({"match_limit": 2, "stop_when_full": True}, {"limit": 2, "stop_when_full": True}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_people_with_other_settings_match(agree, variant):
    changes, slow_changes = VARIANTS[variant]
    settings, plain = {**slow_poses.HIGHERHRNET, **slow_changes}, 0
    for seed in range(8):
        maps = pose_maps(seed, 4, (16, 21), 1 + seed % 3, 0.4)
        expected = best_first(*slow_poses.decode(*maps, ORDER, settings))
        found = best_first(*ours(*maps, "higherhrnet", **changes))
        agree(f"decode: higherhrnet, {variant}", found[0], expected[0], atol=1e-5)
        agree(f"decode: higherhrnet, {variant}, scores", found[1], expected[1], atol=1e-6)
        default = best_first(*ours(*maps, "higherhrnet"))[0]
        plain += default.shape == found[0].shape and np.allclose(default, found[0])
    assert plain < 8  # the setting matters


@pytest.mark.parametrize("family", FAMILIES)
def test_plateaus_of_enlarged_maps_match(agree, family):
    """A peak at the edge is repeated with the same tag; it becomes one person or two."""
    for seed in range(12):
        maps = people_at_edges(seed, (5, 5))
        expected = best_first(*slow_poses.decode(*maps, ORDER, FAMILIES[family]))
        found = best_first(*ours(*maps, family))
        agree(f"decode: {family}, plateaus", found[0], expected[0], atol=1e-5)
        agree(f"decode: {family}, plateaus, scores", found[1], expected[1], atol=1e-6)


def corner_maps(seed, size, classes, objects):
    rng = np.random.default_rng(seed)
    maps = {}
    tag = rng.normal(0, 1, objects)
    for kind in ("tl", "br"):
        maps[f"{kind}_heat"] = rng.uniform(0.01, 0.3, (classes, *size))
        maps[f"{kind}_tag"] = rng.normal(0, 1, (1, *size))
        maps[f"{kind}_off"] = rng.uniform(0, 1, (2, *size))
        for n in range(objects):
            y, x = rng.integers(0, size)
            maps[f"{kind}_heat"][n % classes, y, x] = rng.uniform(0.3, 1)
            maps[f"{kind}_tag"][0, y, x] = tag[n] + rng.normal(0, 0.1)
    return {name: values.astype(np.float32) for name, values in maps.items()}


@pytest.mark.parametrize("objects", [0, 1, 8])
@pytest.mark.parametrize(("classes", "most", "reach", "boxes"), [(1, 6, 0.5, 99), (3, 20, 1.0, 30)])
def test_boxes_match(agree, objects, classes, most, reach, boxes):
    for seed in range(4):
        maps = corner_maps(seed, (14, 19), classes, objects)
        changes = {"top_k": most, "tag_threshold": reach, "max_boxes": boxes}
        settings = CornerSettings.preset("cornernet", **changes)
        batch = {name: torch.from_numpy(values)[None] for name, values in maps.items()}
        (found,) = decode_corners(**batch, settings=settings)
        found = np.c_[found.boxes, found.scores, found.classes]
        agree("decode: boxes", found, slow_corners.decode(maps, most, reach, boxes), atol=1e-5)
        del batch["tl_off"], batch["br_off"]
        (found,) = decode_corners(**batch, settings=settings)
        found = np.c_[found.boxes, found.scores, found.classes]
        maps |= {name: np.zeros_like(maps[name]) for name in ("tl_off", "br_off")}
        expected = slow_corners.decode(maps, most, reach, boxes)
        agree("decode: boxes without offsets", found, expected, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_soft_suppression_matches(agree, count, method):
    rng = np.random.default_rng(count)
    low = rng.integers(0, 30, (count, 2))  # whole numbers: some boxes only share an edge
    boxes = np.concatenate([low, low + rng.integers(0, 20, (count, 2))], 1).astype(float)
    scores = rng.uniform(0.0005, 1, count)
    index, found = soft_nms(boxes, scores, method=method, inclusive=True)
    expected = slow_corners.soft_suppression(boxes, scores, method)
    agree("decode: order of soft suppression", index, [n for n, _ in expected])
    agree("decode: scores of soft suppression", found, [s for _, s in expected], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (5, 8)])
@pytest.mark.parametrize("direction", ["top", "bottom", "left", "right"])
def test_corner_pooling_matches(agree, direction, shape):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected = [[slow_corners.pooled(p, direction) for p in planes] for planes in x.numpy()]
    agree("decode: corner pooling", corner_pool(x, direction), expected)
