"""Sizes, matrices, photos, joined maps and final coordinates against plain arithmetic."""

import numpy as np
import pytest
import torch

from slow import corners as slow_corners
from slow import fitting as slow
from tagwise.data.transforms import Affine
from tagwise.geometry import cell_to_pixel
from tagwise.grouping.settings import CornerSettings
from tagwise.models import create_model
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.published_fittings import (
    CornerNetFitting,
    HigherHRNetFitting,
    MMPose1Fitting,
    PoseAEFitting,
)
from tagwise.prediction.tta import Pass
from tagwise.results import Boxes, Poses
from tagwise.skeletons import COCO17, Skeleton
from tagwise.tasks import CornerTask, PoseTask

PHOTOS = [(640, 480), (480, 640), (512, 512), (97, 61), (3, 1), (1, 3), (333, 500), (1200, 240)]
SCALES = [(1, 1), (0.5, 0.5), (1, 0.5), (2, 0.5)]


def smooth(height, width):
    """A photo of slow waves, whose channels differ."""
    v, u, c = np.mgrid[:height, :width, :3]
    waves = np.sin(u / (7 + c)) + np.cos(v / (9 - c)) + np.sin((u + v) / 11)
    return np.uint8(np.round(127 + 40 * waves))


@pytest.mark.parametrize("photo", PHOTOS)
def test_sizes_and_matrices_match(agree, photo):
    for side in (200, 512):
        for scale, least in SCALES:
            affine, size = HigherHRNetFitting((side, side), (scale, least)).geometry(photo, scale)
            wanted = slow.higherhrnet_size(photo, side, scale, least)
            agree("fitting: HigherHRNet, input size", size, wanted)
            matrix = slow.higherhrnet_matrix(photo, wanted)
            agree("fitting: HigherHRNet, matrix", affine.matrix, matrix, atol=1e-9, rtol=1e-9)
            affine, size = MMPose1Fitting((side, side), (scale, least)).geometry(photo, scale)
            covered, wanted = slow.mmpose1_size(photo, side, scale)
            agree("fitting: mmpose 1.x, input size", size, wanted)
            matrix = slow.mmpose1_matrix(photo, covered, wanted)
            agree("fitting: mmpose 1.x, matrix", affine.matrix, matrix, atol=1e-4, rtol=1e-6)
    for scale in (0.5, 1, 2):
        affine, size = PoseAEFitting((512, 512)).geometry(photo, scale)
        matrix, side = slow.poseae_matrix(photo, scale)
        agree("fitting: pose-ae, input size", size, (side, side))
        agree("fitting: pose-ae, matrix", affine.matrix, matrix, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (30, 91), (1, 3)])
def test_warped_photos_match(agree, size):
    image = smooth(*size)
    families = {
        "HigherHRNet": HigherHRNetFitting,
        "mmpose 1.x": MMPose1Fitting,
        "pose-ae": PoseAEFitting,
    }
    fittings = {name: family((64, 64)) for name, family in families.items()}
    for name, fitting in fittings.items():
        found, _ = fitting.fit(image, 1.0)
        sides = found.shape[1::-1]
        matrix = slow.higherhrnet_matrix(size[::-1], sides)
        if name == "mmpose 1.x":
            matrix = slow.mmpose1_matrix(size[::-1], *slow.mmpose1_size(size[::-1], 64, 1))
        if name == "pose-ae":
            matrix = fitting.geometry(size[::-1], 1.0)[0].matrix
        wanted = np.stack([slow.warped(image[..., c], matrix, sides) for c in range(3)], -1)
        agree(f"fitting: {name}, warped photo, levels of 255", found, wanted, atol=1.5)


def back_in_photo(points, stride, to_input):
    """Points of a published decoder, from a cell's edge, are mapped back to the photo."""
    keypoints = np.ones((1, 17, 3), np.float32)
    keypoints[0, :, :2] = cell_to_pixel(points - 0.5, stride)
    poses = Poses(keypoints, np.ones(1), np.zeros((1, 17, 1)), COCO17)
    return poses.transform(to_input.inverse().matrix).keypoints[0, :, :2]


@pytest.mark.parametrize("photo", PHOTOS)
def test_points_in_the_photo_match(agree, photo):
    rng = np.random.default_rng(sum(photo))
    image = np.zeros((*photo[::-1], 3), np.uint8)
    for stride in (1, 2, 4):
        fitting = HigherHRNetFitting((512, 512))
        size = slow.higherhrnet_size(photo, 512, 1, 1)
        maps = [side / stride for side in size]
        points = rng.uniform(-1, 1, (17, 2)) + rng.uniform(0, 1, (17, 2)) * maps
        back = np.linalg.inv(np.vstack([slow.higherhrnet_matrix(photo, maps), [0, 0, 1]]))
        wanted = (back @ np.c_[points, np.ones(17)].T).T[:, :2]
        _, to_input = fitting.fit(image, 1.0)
        found = back_in_photo(points, stride, to_input)
        agree("fitting: HigherHRNet, points, pixels", found, wanted, atol=5e-4)
    covered, size = slow.mmpose1_size(photo, 512, 1)
    points = rng.uniform(0, 1, (17, 2)) * size
    _, to_input = MMPose1Fitting((512, 512)).fit(image, 1.0)
    wanted = slow.mmpose1_points(points, photo, covered, size)
    found = back_in_photo(points, 1, to_input)
    agree("fitting: mmpose 1.x, points, pixels", found, wanted, atol=5e-4)
    matrix, side = slow.poseae_matrix(photo, 1)
    points = rng.uniform(0, side / 4, (17, 2))
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    wanted = (back @ np.c_[4 * points, np.ones(17)].T).T[:, :2]
    _, to_input = PoseAEFitting((512, 512)).fit(image, 1.0)
    found = back_in_photo(points, 4, to_input)
    agree("fitting: pose-ae, points, pixels", found, wanted, atol=5e-4)


def random_passes(sizes, scales):
    draw = torch.Generator().manual_seed(0)
    passes = []
    for (height, width), scale in zip(sizes, scales):
        shape = (1, 2, height, width)
        maps = {name: torch.rand(shape, generator=draw) * 1.5 for name in ("heatmaps", "tags")}
        passes.append(Pass(maps, scale))
    return passes


@pytest.mark.parametrize("family", ["HigherHRNet", "mmpose 1.x", "pose-ae"])
def test_passes_are_joined(agree, family):
    sizes, scales = [(6, 8), (6, 8), (3, 4), (12, 16)], [1.0, 1.0, 0.5, 2.0]
    passes = random_passes(sizes, scales)
    task = PoseTask(Skeleton("pin", ("top", "foot")))
    if family == "pose-ae":
        found, size = PoseAEFitting((64, 64)).join(passes, task, (40, 36)), (9, 10)
    else:
        fitting = HigherHRNetFitting if family == "HigherHRNet" else MMPose1Fitting
        found, size = fitting((64, 64)).join(passes, task, (10, 9)), (9, 10)
    # Tags are taken from scale 1, and from the half scale of pose-ae, which differs slightly.
    for k in (0, 1):
        large = [slow.resized(one.maps["heatmaps"][0, k].numpy(), size) for one in passes]
        wanted = sum(large) / len(large)
        wanted = np.minimum(wanted, 1) if family == "pose-ae" else wanted
        agree(f"fitting: {family}, heatmaps joined", found["heatmaps"][0, k], wanted, atol=1e-6)
        tags = [slow.resized(one.maps["tags"][0, k].numpy(), size) for one in passes[:2]]
        agree(
            f"fitting: {family}, tags joined", found["tags"][0, 2 * k : 2 * k + 2], tags, atol=1e-6
        )


SHAPES = [(60, 100), (127, 40), (1, 1), (128, 129)]


@pytest.mark.parametrize("scale", [1, 0.5, 1.25])
@pytest.mark.parametrize("size", SHAPES)
def test_corner_photos_match(agree, size, scale):
    if min(size) * scale < 1:
        return  # the public code has no photo then
    image = smooth(*size)
    found, _ = CornerNetFitting().fit(image, scale)
    wanted = slow.cornernet_input(image[..., 1], scale)
    agree("fitting: CornerNet, input, levels of 255", found[..., 1], wanted, atol=1.5)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale", [1, 0.5, 1.25])
@pytest.mark.parametrize("size", [(480, 640), (333, 500), (127, 127), (60, 100)])
def test_boxes_in_the_photo_match(agree, size, scale, mirrored):
    rng, (height, width) = np.random.default_rng(size[0]), size
    image = np.zeros((*size, 3), np.uint8)
    canvas, to_input = CornerNetFitting().fit(image, scale)
    cells = [(side + 1) // 4 for side in canvas.shape[1::-1]]
    # Some reach beyond the photo, and are cut.
    ends = np.sort(rng.uniform(0, 1, (12, 2, 2)) * cells, axis=1).reshape(-1, 4).astype(np.float32)
    boxes = Boxes(
        4 * np.c_[ends[:, :2], ends[:, 2:] - ends[:, :2]], np.ones(12), np.zeros(12, int), ("a",)
    )
    back = to_input.inverse()
    back = back @ Affine.mirror(canvas.shape[1] + 1) if mirrored else back
    found = boxes.transform(back.matrix, width=width, height=height).boxes
    found[:, 2:] += found[:, :2]
    # Where a photo was resized to a whole number of pixels, the public code cuts there.
    found = np.minimum(found, np.array([int(width * scale), int(height * scale)] * 2) / scale)
    wanted = slow.cornernet_boxes(ends, size, scale, mirrored)
    agree("fitting: CornerNet, boxes, pixels", found, wanted, atol=5e-4)


def test_boxes_of_all_passes_are_suppressed_together(agree):
    rng, names = np.random.default_rng(0), ("a", "b", "c")
    low = rng.uniform(0, 30, (40, 2))
    boxes = np.c_[low, rng.uniform(5, 30, (40, 2))]
    scores, classes = rng.uniform(0.01, 1, 40), rng.integers(0, 3, 40)
    pairing = CornerSettings.preset("cornernet")
    passes = [
        Boxes(boxes[part], scores[part], classes[part], names)
        for part in (slice(0, 25), slice(25, 40))
    ]
    found = CornerTask(names, pairing=pairing).merge_results(passes)
    rows = []
    for label in range(3):
        (own,) = np.nonzero(classes == label)
        ends = np.c_[boxes[own, :2], boxes[own, :2] + boxes[own, 2:]]
        for n, score in slow_corners.soft_suppression(ends, scores[own], "exp"):
            rows.append([*boxes[own[n]], score, label])
    rows.sort(key=lambda row: -row[4])
    ours = np.c_[found.boxes, found.scores, found.classes]
    agree("fitting: CornerNet, boxes of all passes", ours, rows, atol=1e-4)


def test_predictor_uses_the_fitting_that_its_model_names():
    torch.manual_seed(0)
    model = create_model("higherhrnet_w32", PoseTask(COCO17), width=16, input_size=(64, 64))
    model.spec.decoder["fitting"] = "higherhrnet"
    predictor = Predictor(model, device="cpu", flip=True)
    maps, affine = predictor.maps(np.zeros((60, 80, 3), np.uint8))
    assert maps["heatmaps"].shape == (1, 17, 64, 128)
    assert maps["tags"].shape == (1, 34, 64, 128)
    assert predictor.stride == 1
    assert predictor.precision == "fp32"
    assert affine.points(np.array([[39.5, 29.5]])) == pytest.approx(
        np.array([[63.5, 31.5]]) - 0.5 * 64 / 60, abs=1e-6
    )
