"""Stored sizes, matrices, points and boxes of the published tests."""

import numpy as np
import pytest
import torch

from tagwise.data.transforms import Affine
from tagwise.grouping.settings import CornerSettings
from tagwise.models import create_model
from tagwise.prediction import tta
from tagwise.prediction.published_fittings import (
    CornerNetFitting,
    HigherHRNetFitting,
    PoseAEFitting,
)
from tagwise.prediction.tta import Pass
from tagwise.results import Boxes, Poses
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask

PHOTOS = ["480x640", "640x480", "427x640", "333x500", "500x333", "512x512", "240x1200", "97x61"]
PHOTOS += ["1x3", "375x501"]
TASK = PoseTask(COCO17)


@pytest.fixture(scope="module")
def poses(golden):
    return golden.archive("geometry/pose_geometry")


def test_sizes_and_matrices_of_higherhrnet_match(poses, close):
    assert len(poses["size_table"]) == 60
    for row in poses["size_table"]:
        height, width, input_size, scale, least = row[:5]
        fitting = HigherHRNetFitting((int(input_size),) * 2, (scale, least))
        affine, size = fitting.geometry((int(width), int(height)), scale)
        assert size == (row[5], row[6])
        close("HigherHRNet: photo to input, matrix", affine.matrix.ravel(), row[11:17], atol=1e-4)
        back = affine.inverse().matrix.ravel()
        close("HigherHRNet: input to photo, matrix", back, row[17:23], atol=1e-4)


def test_sizes_and_matrices_of_poseae_match(poses, close):
    for height, width, scale, side, *matrix in poses["poseae_size_table"]:
        affine, size = PoseAEFitting((512, 512)).geometry((int(width), int(height)), scale)
        assert size == (side, side)
        close("pose-ae: photo to input, matrix", affine.matrix.ravel(), matrix, atol=1e-4)


def decoded(cells, stride):
    """The results of the pose task for points that the published decoders return as `cells`.

    They count from the cell's edge; the task counts from the pixel's centre.
    """
    keypoints = np.zeros((*cells.shape[:2], 3), np.float32)
    keypoints[..., :2] = cells[..., :2] * stride - 0.5
    keypoints[..., 2] = 1
    return Poses(keypoints, np.ones(len(cells)), np.zeros((*cells.shape[:2], 1)), COCO17)


@pytest.mark.parametrize("photo", PHOTOS)
def test_points_are_mapped_back_to_the_photo(poses, close, photo):
    height, width = map(int, photo.split("x"))
    image = np.zeros((height, width, 3), np.uint8)
    _, to_input = HigherHRNetFitting((512, 512)).fit(image, 1.0)
    for stride in (1, 2, 4):
        given = poses[f"final_{photo}_div{stride}_in"]
        back = decoded(given, stride).transform(to_input.inverse().matrix).keypoints[..., :2]
        wanted = poses[f"final_{photo}_div{stride}_out"][..., :2]
        close("HigherHRNet: points in the photo, pixels", back, wanted, atol=5e-4)
    _, to_input = PoseAEFitting((512, 512)).fit(image, 1.0)
    given = poses[f"poseae_final_{photo}_in"]
    back = decoded(given, 4).transform(to_input.inverse().matrix).keypoints[..., :2]
    wanted = poses[f"poseae_final_{photo}_out"]
    close("pose-ae: points in the photo, pixels", back, wanted, atol=5e-4)


@pytest.mark.parametrize("case", ["48x64_64", "64x48_64", "333x500_512", "70x70_128"])
def test_photos_are_warped_alike(golden, poses, close, case):
    sides, input_size = case.split("_")
    height, width = map(int, sides.split("x"))
    image = golden.golden_inputs.test_image_u8(height, width, 1)
    fitting = HigherHRNetFitting((int(input_size),) * 2)
    found, _ = fitting.fit(image, 1.0)
    out_height, out_width, step, mean = poses[f"warp_{case}_meta"]
    assert found.shape == (out_height, out_width, 3)
    step = int(step)
    stored = poses[f"warp_{case}"]
    close("HigherHRNet: warped photo, levels of 255", found[::step, ::step], stored, atol=2)
    close("HigherHRNet: mean of a warped photo", found.mean(), mean, atol=2e-3)


class Replay(torch.nn.Module):
    """HigherHRNet's two stored maps, for the photo and for its mirror image."""

    def __init__(self, stored):
        super().__init__()
        self.stored = iter(stored)

    def forward(self, images):
        return [torch.from_numpy(maps) for maps in next(self.stored)]


def answer(*stages):
    """The evaluation maps of the registry's network for these two stages."""
    model = create_model("higherhrnet_w32", PoseTask(COCO17), width=16).eval()
    model.trunk = Replay([stages])
    with torch.no_grad():
        return model(torch.zeros(1, 3, 64, 96))


def unmirrored(maps):
    return tta.unmirror(maps, TASK.heads(), COCO17.flip)


def per_type(tags):
    """(1, K * D, h, w) as the published (1, K, h, w, D)."""
    return tags.unflatten(1, (17, -1)).movedim(2, -1)


@pytest.mark.parametrize("flip", [0, 1])
def test_passes_are_joined(poses, close, flip):
    passes = [Pass(answer(poses["tta_out0"], poses["tta_out1"]), 1.0)]
    if flip:
        mirrored = answer(poses["tta_flip_out0"], poses["tta_flip_out1"])
        passes.append(Pass(unmirrored(mirrored), 1.0))
    # The stored network has an input of 96 x 64; project0 stays at its maps' own size.
    fitting = HigherHRNetFitting((64, 64))
    for project, size, step in ((0, (48, 32), 1), (1, (96, 64), 3)):
        joined = fitting.join(passes, TASK, size)
        for name, key in (("heatmaps", "heat"), ("tags", "tags")):
            found = joined[name] if name == "heatmaps" else per_type(joined[name])
            wanted = poses[f"tta_flip{flip}_project{project}_{key}"]
            close(f"HigherHRNet: joined {name}", found[:, :, ::step, ::step], wanted, atol=1e-5)


def test_scales_are_joined(poses, close):
    passes = []
    for scale in ("2", "1", "0.5"):
        for flip in (0, 1):
            stages = (poses[f"ms_scale{scale}_stage{n}_flip{flip}"] for n in (0, 1))
            maps = answer(*stages)
            passes.append(Pass(unmirrored(maps) if flip else maps, float(scale)))
    joined = HigherHRNetFitting((64, 64)).join(passes, TASK, (96, 64))
    # project0 keeps the finest maps' own size, which is the input's size here too.
    for project in (0, 1):
        found, wanted = joined["heatmaps"][:, :, ::3, ::3], poses[f"ms_project{project}_heat"]
        close("HigherHRNet: heatmaps of three scales", found, wanted, atol=1e-5)
        found, wanted = per_type(joined["tags"])[:, :, ::3, ::3], poses[f"ms_project{project}_tags"]
        close("HigherHRNet: tags of three scales", found, wanted, atol=1e-5)


# ---------------------------------------------------------------------- CornerNet


@pytest.fixture(scope="module")
def corners(golden):
    return golden.archive("geometry/corner_geometry")


def test_corner_inputs_match(golden, corners, close):
    mean = np.array([0.40789654, 0.44719302, 0.47026115], np.float32)
    std = np.array([0.28863828, 0.27408164, 0.27809835], np.float32)
    for row in corners["size_table"]:
        height, width, scale = int(row[0]), int(row[1]), row[2]
        image = golden.golden_inputs.test_image_u8(height, width, 2)
        found, _ = CornerNetFitting().fit(image, scale)
        assert found.shape[:2] == (row[3], row[4])
        # Channels are in the order of the stored image, whose first is fed as blue.
        normal = ((found / np.float32(255) - mean) / std).transpose(2, 0, 1)
        stored = corners[f"{height}x{width}_s{scale:g}_input_strided"]
        close("CornerNet: input", normal[:, ::16, ::16], stored, atol=1e-5)
        sums = corners[f"{height}x{width}_s{scale:g}_input_sum"]
        ours = [normal.sum(dtype=np.float64), np.abs(normal).sum(dtype=np.float64)]
        close("CornerNet: sum of the input", ours, sums, atol=0.1, rtol=1e-5)


def test_corner_boxes_are_mapped_back_to_the_photo(corners, close):
    names = tuple(map(str, range(80)))
    for row in corners["size_table"]:
        height, width, scale = int(row[0]), int(row[1]), row[2]
        case = f"{height}x{width}_s{scale:g}"
        photo = np.zeros((height, width, 3), np.uint8)
        canvas, to_input = CornerNetFitting().fit(photo, scale)
        outer = canvas.shape[1] + 1
        passes = []
        for mirrored, stored in enumerate(corners[f"{case}_dets"]):
            found = stored[stored[:, 4] > -1]
            low, high = found[:, :2] * 4, found[:, 2:4] * 4
            boxes = Boxes(np.c_[low, high - low], found[:, 4], found[:, 7].astype(int), names)
            back = to_input.inverse()
            back = back @ Affine.mirror(outer) if mirrored else back
            passes.append(boxes.transform(back.matrix, width=width, height=height))
        rows = np.concatenate([np.c_[b.boxes, b.scores, b.classes] for b in passes])
        rows[:, 2:4] += rows[:, :2]
        stored = corners[f"{case}_boxes"]
        # The public code cuts boxes where the resized photo ends, up to 1 / scale pixels earlier.
        edge = np.array([int(width * scale), int(height * scale)] * 2) / scale
        rows[:, :4] = np.minimum(rows[:, :4], edge)
        order = [np.lexsort(np.round(r[:, [0, 1, 5, 4]], 3).T) for r in (rows, stored)]
        close("CornerNet: boxes in the photo, pixels", rows[order[0]], stored[order[1]], atol=5e-4)


def test_corner_boxes_of_all_passes_are_suppressed_together(corners, close):
    names = tuple(map(str, range(80)))
    task = CornerTask(names, pairing=CornerSettings.preset("cornernet"))
    for key in (name for name in corners if name.endswith("_boxes")):
        rows = corners[key]
        boxes = np.c_[rows[:, :2], rows[:, 2:4] - rows[:, :2]]
        found = task.merge_results([Boxes(boxes, rows[:, 4], rows[:, 5].astype(int), names)])
        kept = corners[f"{key}_softnms"]
        ours = np.c_[found.boxes, found.scores, found.classes]
        ours[:, 2:4] += ours[:, :2]
        best = np.lexsort(np.c_[-ours[:, 4], ours[:, 5]].T)
        theirs = np.lexsort(np.c_[-kept[:, 4], kept[:, 5]].T)
        close("CornerNet: boxes after soft suppression", ours[best], kept[theirs], atol=1e-3)
