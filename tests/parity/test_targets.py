"""Heatmaps and the places where tags are learned, as published code makes them."""

import numpy as np
import pytest

from tagwise.data.sample import Sample
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask
from tagwise.tasks.targets import draw_gaussian, gaussian_radius

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


def test_corner_radii(golden, close):
    height, width, overlap, exact, legacy = golden.archive("targets/corner_targets")[
        "radius_table"
    ].T
    found = gaussian_radius(height, width, overlap)
    close("targets: radius of a corner", found, exact, atol=1e-6, rtol=1e-6)
    found = gaussian_radius(height, width, overlap, legacy=True)
    close("targets: legacy radius of a corner", found, legacy, atol=1e-6, rtol=1e-6)


def test_corner_gaussians(golden, close):
    stored = golden.archive("targets/corner_targets")
    heat = np.zeros_like(stored["draw_heatmap"])
    for channel, x, y, radius, peak in stored["draw_list"]:
        one = np.zeros(heat.shape[1:], np.float32)
        draw_gaussian(one, x, y, (2 * radius + 1) / 6)
        heat[int(channel)] = np.maximum(heat[int(channel)], peak * one)
    close("targets: Gaussians of corners", heat, stored["draw_heatmap"], atol=1e-6, rtol=1e-6)


def test_corner_heatmaps_of_a_fixed_radius(golden, close):
    stored = golden.archive("targets/corner_targets")
    classes = stored["sampler_boxes"][:, 4].astype(int) - 1
    for corner in ("tl", "br"):
        heat = np.zeros((5, 64, 64), np.float32)
        index = stored[f"sampler_rad2_{corner}_ind"][: len(classes)]
        for number, place in zip(classes, index, strict=True):
            draw_gaussian(heat[number], place % 64, place // 64, 5 / 6)
        wanted = stored[f"sampler_rad2_{corner}_heat"]
        close("targets: corners of a fixed radius", heat, wanted, atol=1e-6, rtol=1e-6)
