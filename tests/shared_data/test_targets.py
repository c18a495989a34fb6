"""Heatmaps and the positions where tags are learned, against stored numbers."""

import numpy as np
import pytest

from tagwise.data.sample import Sample
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask
from tagwise.tasks.targets import draw_gaussian, gaussian_radius

PARTS = [
    "n",
    "mask",
    *(f"{corner}_{part}" for corner in ("tl", "br") for part in ("heat", "ind", "off")),
]
POSES = ["r128_s2", "r256_s2", "r64_auto", "r128_empty", "r128_one"]


def sample_of(keypoints, side):
    count = len(keypoints)
    return Sample(
        image=np.zeros((side, side, 3), np.uint8),
        keypoints=np.asarray(keypoints, np.float32),
        boxes=np.zeros((count, 4), np.float32),
        areas=np.ones(count, np.float32),
        ignore=np.zeros((side, side), bool),
        labelled=np.ones(17, bool),
    )


@pytest.mark.parametrize("case", POSES)
def test_pose_targets(golden, close, case):
    stored = golden.archive("targets/pose_targets")
    side, sigma = stored[f"{case}_meta"]
    task = PoseTask(COCO17, sigma=float(sigma), published="higherhrnet")
    for stride in (1, 2):  # points of the map are points of an image so many times as large
        keypoints = stored[f"{case}_keypoints"] * [stride, stride, 1]
        targets = task.encode(sample_of(keypoints, int(side) * stride), stride)
        heatmaps = stored[f"{case}_heatmaps"]
        close("targets: heatmaps of poses", targets["heatmaps"], heatmaps, atol=1e-6, rtol=1e-6)
        kind, y, x = targets["points"].T
        index = ((kind * side + y) * side + x).astype(int)
        # The published lists pack people, and each one's joints, to the front.
        found = [index[targets["group"] == n].tolist() for n in range(len(keypoints))]
        wanted = [row[row[:, 1] > 0, 0].tolist() for row in stored[f"{case}_joints"]]
        # Where all types share one tag map, an index leaves out the type.
        shared = [row[row[:, 1] > 0, 0] for row in stored[f"{case}_joints_shared_tag"]]
        assert [[i % side**2 for i in row] for row in wanted] == [row.tolist() for row in shared]
        assert [row for row in found if row] == [row for row in wanted if row]
        assert targets["mask"].all()


def test_pose_targets_with_a_sigma_for_each_person(golden, close):
    stored = golden.archive("targets/pose_targets")
    heatmaps = np.zeros((17, 128, 128), np.float32)
    for person in stored["scaleaware_keypoints"]:
        task = PoseTask(COCO17, sigma=float(person[0, 3]), published="higherhrnet")
        one = task.encode(sample_of(person[None, :, :3], 128), 1)["heatmaps"]
        heatmaps = np.maximum(heatmaps, one)
    wanted = stored["scaleaware_heatmaps"]
    close("targets: heatmaps of poses, own sigmas", heatmaps, wanted, atol=1e-6, rtol=1e-6)


def test_corner_radii_match(golden, close):
    height, width, overlap, exact, legacy = golden.archive("targets/corner_targets")[
        "radius_table"
    ].T
    found = gaussian_radius(height, width, overlap)
    close("targets: radius of a corner", found, exact, atol=1e-6, rtol=1e-6)
    found = gaussian_radius(height, width, overlap, legacy=True)
    close("targets: legacy radius of a corner", found, legacy, atol=1e-6, rtol=1e-6)


def test_corner_gaussians_match(golden, close):
    stored = golden.archive("targets/corner_targets")
    heat = np.zeros_like(stored["draw_heatmap"])
    for channel, x, y, radius, peak in stored["draw_list"]:
        one = np.zeros(heat.shape[1:], np.float32)
        draw_gaussian(one, x, y, (2 * radius + 1) / 6)
        heat[int(channel)] = np.maximum(heat[int(channel)], peak * one)
    close("targets: Gaussians of corners", heat, stored["draw_heatmap"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("case", "overlap"), [("iou03", 0.3), ("iou07", 0.7), ("rad2", None)])
def test_corner_targets_match(golden, close, case, overlap):
    stored = {
        name: golden.archive("targets/corner_targets")[f"sampler_{name}"]
        for name in ("image_size", "boxes", *(f"{case}_{part}" for part in PARTS))
    }
    # The sampler pads photos to squares, resizes them to 255 and cuts boxes off there.
    side = max(stored["image_size"])
    pad = np.tile((side - stored["image_size"][::-1]) // 2, 2).astype(np.float32)
    boxes, classes = stored["boxes"][:, :4], stored["boxes"][:, 4].astype(int) - 1
    boxes = np.clip((boxes + pad) * np.float32(255 / side), 0, 254) * np.float32(64 / 255)
    count = len(boxes)
    assert stored[f"{case}_n"] == count
    assert stored[f"{case}_mask"].tolist() == [1] * count + [0] * (128 - count)
    task = CornerTask(tuple("abcde"), overlap=overlap or 0.3)
    for corner, places in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        cells = places.astype(int)
        heat = task.draw_points(cells, classes, boxes[:, 2:] - boxes[:, :2], (64, 64))
        if overlap is None:
            heat[:] = 0
            for number, (x, y) in zip(classes, cells, strict=True):
                draw_gaussian(heat[number], x, y, 5 / 6)  # of a fixed radius of 2
        found = np.zeros((2, 128, 2))
        found[0, :count, 0], found[1, :count] = cells[:, 1] * 64 + cells[:, 0], places - cells
        wanted = stored[f"{case}_{corner}_heat"]
        close("targets: heatmaps of corners", heat, wanted, atol=1e-6, rtol=1e-6)
        wanted = stored[f"{case}_{corner}_ind"]
        close("targets: places of corners", found[0, :, 0], wanted, atol=0)
        wanted = stored[f"{case}_{corner}_off"]
        close("targets: offsets of corners", found[1], wanted, atol=1e-6, rtol=1e-6)
