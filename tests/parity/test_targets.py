"""Training targets against maps drawn cell by cell."""

import numpy as np
import pytest

from slow import targets as slow
from tagwise.data.sample import Sample
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask
from tagwise.tasks.targets import gaussian_radius

SIZE = (20, 26)


def sample_of(stride, keypoints=None, boxes=None, classes=()):
    keypoints = np.zeros((len(boxes), 0, 3)) if keypoints is None else keypoints
    boxes = np.zeros((len(keypoints), 4)) if boxes is None else boxes
    shape = (SIZE[0] * stride, SIZE[1] * stride)
    return Sample(
        image=np.zeros((*shape, 3), np.uint8),
        keypoints=keypoints.astype(np.float32),
        boxes=boxes.astype(np.float32),
        areas=np.ones(len(boxes), np.float32),
        ignore=np.zeros(shape, bool),
        labelled=np.ones(keypoints.shape[1], bool),
        classes=np.array(classes, np.int64),
    )


@pytest.mark.parametrize("people", [0, 1, 4])
@pytest.mark.parametrize(("stride", "sigma"), [(1, 1), (2, 2), (4, 1)])
def test_pose_targets_match(agree, people, stride, sigma):
    rng = np.random.default_rng(10 * people + sigma)
    # Some lie just outside: between -1 and 0 they still count as in the first cell.
    cells = rng.uniform(-1.5, SIZE[1] + 1, (people, 17, 3))
    cells[..., 2] = rng.integers(0, 3, (people, 17))
    keypoints = cells * [stride, stride, 1]
    task = PoseTask(COCO17, sigma=float(sigma), published="higherhrnet")
    targets = task.encode(sample_of(stride, keypoints), stride)
    expected = slow.pose_heatmaps(cells, SIZE, sigma)
    agree("targets: heatmaps of poses", targets["heatmaps"], expected, atol=1e-6)
    points, group = targets["points"].tolist(), targets["group"]
    for n, person in enumerate(slow.pose_places(cells, SIZE)):
        found = [points[i] for i in np.flatnonzero(group == n)]
        agree("targets: where tags of poses are learned", found, list(map(list, person)))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7, 0.9])
def test_corner_radii_match(agree, overlap, legacy):
    formula = slow.legacy_corner_radius if legacy else slow.corner_radius
    sides = [(1, 1), (1, 40), (40, 1), (7, 7), (13, 29), (128, 5)]
    expected = [formula(height, width, overlap) for height, width in sides]
    found = gaussian_radius(*np.array(sides, float).T, overlap, legacy=legacy)
    kind = "legacy radius of a corner" if legacy else "radius of a corner"
    agree(f"targets: {kind}", found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("count", [0, 1, 12])
@pytest.mark.parametrize(("overlap", "radius"), [(0.3, "exact"), (0.7, "exact"), (0.7, "legacy")])
def test_corner_targets_match(agree, count, overlap, radius):
    stride, rng = 4, np.random.default_rng(count)
    low = rng.uniform(0, (SIZE[1] * 3, SIZE[0] * 3), (count, 2))
    high = low + rng.uniform(1, (SIZE[1] * stride, SIZE[0] * stride) - low)
    classes = rng.integers(0, 3, count)
    boxes = np.concatenate([low, high - low], 1).astype(np.float32)
    task = CornerTask(("a", "b", "c"), overlap=overlap, radius=radius, reach=0)
    targets = task.encode(sample_of(stride, boxes=boxes, classes=classes), stride)
    points, group, offset = targets["points"], targets["group"], targets["offset"]
    for number, (corner, xy) in enumerate((("tl", low), ("br", high))):
        xy = np.float32(xy) / stride
        cells = np.minimum(xy.astype(int), np.array(SIZE[::-1]) - 1)
        sizes = boxes[:, 2:] / stride
        given = (cells, classes, sizes, 3, SIZE, overlap, radius == "legacy")
        expected = slow.corner_heatmaps(*given)
        agree("targets: heatmaps of corners", targets[f"{corner}_heat"], expected, atol=1e-6)
        own = points[:, 0] == number
        order = np.argsort(group[own])
        agree("targets: places of corners", points[own][order][:, :0:-1], cells)
        agree("targets: offsets of corners", offset[own][order], xy - cells, atol=1e-5)
