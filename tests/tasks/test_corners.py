"""The corners task: targets, loss, decoding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.grouping import CornerSettings
from tagwise.results import Boxes
from tagwise.tasks import CornerTask, create_task
from tagwise.tasks.targets import gaussian_radius

STRIDE = 4
CLASSES = ("disc", "star", "bar", "ring", "dot")
TASK = CornerTask(CLASSES[:2], tag_dim=2, reach=1)
TWO = [[8.0, 12.0, 30.0, 20.0], [41.5, 6.25, 33.0, 50.0]]


def sample_of(boxes, classes, size=(64, 96)) -> Sample:
    """A sample of (height, width) `size` with these (N, 4) boxes."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Sample(
        image=np.zeros((*size, 3), np.uint8),
        keypoints=np.zeros((len(boxes), 0, 3), np.float32),
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        ignore=np.zeros(size, bool),
        labelled=np.zeros(0, bool),
        classes=np.asarray(classes, np.int64).reshape(-1),
    )


def perfect_outputs(task: CornerTask, targets: dict) -> dict[str, torch.Tensor]:
    """Outputs of a network that predicts the targets exactly; tags are 10 · group."""
    height, width = targets["tl_heat"].shape[1:]
    outputs = {
        name: torch.logit(torch.from_numpy(targets[name])[None], eps=1e-4) for name in task.heatmaps
    }
    for number, corner in enumerate(("tl", "br")):
        tag, off = torch.zeros(1, task.tag_dim, height, width), torch.zeros(1, 2, height, width)
        rows = zip(targets["points"], targets["group"], targets["offset"], targets["weight"])
        for (which, y, x), group, offset, _ in sorted(rows, key=lambda row: row[3]):
            if which == number:
                tag[0, :, y, x], off[0, :, y, x] = 10.0 * group, torch.from_numpy(offset)
        outputs |= {f"{corner}_tag": tag, f"{corner}_off": off}
    return outputs


def test_heatmap_is_1_in_the_cell_of_a_corner_and_its_offset_is_exact():
    targets = TASK.encode(sample_of(TWO, [0, 1]), STRIDE)
    assert np.argwhere(targets["tl_heat"] == 1).tolist() == [[0, 3, 2], [1, 1, 10]]
    assert np.argwhere(targets["br_heat"] == 1).tolist() == [[0, 8, 9], [1, 14, 18]]
    ends = np.array(TWO)
    ends[:, 2:] += ends[:, :2]
    for (corner, y, x), group, offset in zip(
        targets["points"], targets["group"], targets["offset"]
    ):
        found = (np.array([x, y]) + offset) * STRIDE
        np.testing.assert_allclose(found, ends[group, 2 * corner : 2 * corner + 2], atol=1e-4)


def test_centres_have_a_heatmap_that_is_learned_and_read():
    task = CornerTask(CLASSES[:2], tag_dim=2, reach=1, centres=True)
    assert set(task.heads()) - set(TASK.heads()) == {"centre_heat"}
    sample = sample_of(TWO, [0, 1])
    targets, plain = task.encode(sample, STRIDE), TASK.encode(sample, STRIDE)
    assert np.argwhere(targets["centre_heat"] == 1).tolist() == [[0, 5, 5], [1, 7, 14]]
    for name in ("tl_heat", "br_heat", "points", "offset"):
        np.testing.assert_array_equal(targets[name], plain[name])
    outputs = perfect_outputs(task, targets)
    batch = task.collate([targets])
    terms = task.loss(outputs, batch)
    blind = {**outputs, "centre_heat": torch.full_like(outputs["centre_heat"], -9.0)}
    assert task.loss(blind, batch)["heatmaps"] > terms["heatmaps"] + 1
    (boxes,), (unsure,) = task.decode(outputs, STRIDE), task.decode(blind, STRIDE)
    np.testing.assert_allclose(sorted(boxes.boxes.tolist()), sorted(TWO), atol=1e-3)
    assert boxes.scores.min() > 0.9
    assert unsure.scores.max(initial=0) < 0.3


def test_without_reach_each_corner_has_one_point():
    task = CornerTask(CLASSES[:2], reach=0)
    targets = task.encode(sample_of(TWO, [0, 1]), STRIDE)
    assert len(targets["points"]) == 4
    assert ((targets["offset"] >= 0) & (targets["offset"] <= 1)).all()


def test_ignored_regions_do_not_count():
    sample = sample_of(TWO, [0, 1])
    sample.ignore[:, :40] = True
    mask = TASK.encode(sample, STRIDE)["mask"]
    assert mask.shape == (1, 16, 24)
    assert mask[..., 10:].all()
    around = [[2, 2], [3, 1], [3, 2], [3, 3], [4, 2]]  # a labelled corner still counts
    assert np.argwhere(mask[0, :, :5]).tolist() == around


@pytest.mark.parametrize("count", [0, 1, 500])
def test_any_number_of_objects_is_encoded(count):
    rng = np.random.default_rng(count)
    low = rng.uniform(0, (60, 40), (count, 2))
    boxes = np.concatenate([low, rng.uniform(2, (36, 24), (count, 2))], 1)
    sample = sample_of(boxes, rng.integers(0, 2, count))
    batch = TASK.collate([TASK.encode(sample, STRIDE), TASK.encode(sample_of([], []), STRIDE)])
    outputs = {
        name: torch.randn(2, head.channels, 16, 24, requires_grad=True)
        for name, head in TASK.heads().items()
    }
    terms = TASK.loss(outputs, batch)
    assert set(terms) == {"heatmaps", "pull", "push", "offsets", "total"}
    terms["total"].backward()
    for name, maps in outputs.items():
        assert torch.isfinite(maps.grad).all(), name
        assert (maps.grad.abs().sum() > 0) == (count > 0 or "heat" in name), name


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(9, 32), st.integers(9, 32)),
        min_size=1,
        max_size=4,
        unique_by=lambda box: ((box[0] + 4) // 16, (box[1] + 4) // 16),
    )
)
def test_perfect_maps_are_decoded_to_the_true_boxes(boxes):
    boxes = np.array(boxes, float)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    apart = np.abs(corners[:, None] - corners[None]).reshape(len(boxes), len(boxes), 2, 2).max(-1)
    if (apart[~np.eye(len(boxes), dtype=bool)] < 16).any():
        return  # corners of one class in neighbouring cells are one peak, as they must be
    task = CornerTask(("disc",), tag_dim=1, reach=1, overlap=0.7)
    sample = sample_of(boxes, np.zeros(len(boxes)))
    found = task.decode(perfect_outputs(task, task.encode(sample, STRIDE)), STRIDE)[0].above(0.5)
    assert len(found) == len(boxes)
    order = np.lexsort(found.boxes.T), np.lexsort(boxes.astype(np.float32).T)
    np.testing.assert_allclose(found.boxes[order[0]], boxes[order[1]], atol=1e-3)


def test_options_restore_the_task():
    task = CornerTask(("a", "b"), tag_dim=3, overlap=0.7, radius="legacy", push="exp")
    assert create_task("corners", **task.to_dict()) == task


def test_invalid_options_are_named():
    with pytest.raises(UserError, match="overlapp"):
        create_task("corners", classes=["a"], overlapp=0.3)
    with pytest.raises(UserError, match="pul"):
        create_task("corners", classes=["a"], weights={"pul": 1})
    with pytest.raises(UserError, match="class"):
        create_task("corners", classes=[])
    with pytest.raises(UserError, match="mapping"):
        CornerTask.open_dataset("a.json", "images", mapping={"a": "b"})


def test_radius_keeps_the_overlap():
    """At that distance the worst of the three cases has exactly that IoU."""
    height, width, overlap = np.array([10.0, 7, 40]), np.array([10.0, 30, 3]), 0.6
    r = gaussian_radius(height, width, overlap)
    area = height * width
    shifted = (height - r) * (width - r)
    inside = (height - 2 * r) * (width - 2 * r)
    outside = (height + 2 * r) * (width + 2 * r)
    worst = np.minimum.reduce([shifted / (2 * area - shifted), inside / area, area / outside])
    np.testing.assert_allclose(worst, overlap, atol=1e-9)


def boxes_of(rows, scores):
    return Boxes(np.array(rows, float).reshape(-1, 4), scores, np.zeros(len(scores), int), ("a",))


def test_boxes_of_several_passes_are_fused():
    passes = [
        boxes_of([[0, 0, 10, 10], [40, 40, 8, 8]], [0.8, 0.3]),
        boxes_of([[0, 0, 10, 12]], [0.8]),
        boxes_of([], []),
    ]
    merged = CornerTask(("a",)).merge_results(passes)
    np.testing.assert_allclose(merged.boxes[0], [0, 0, 10, 11], atol=1e-5)
    np.testing.assert_allclose(merged.scores, [1.6 / 3, 0.1], atol=1e-6)


def test_published_pairing_suppresses_passes_softly():
    task = CornerTask(("a",), pairing=CornerSettings.preset("cornernet"))
    passes = [boxes_of([[0, 0, 10, 10]], [0.8]), boxes_of([[0, 0, 10, 10]], [0.6])]
    merged = task.merge_results(passes)
    np.testing.assert_allclose(merged.scores, [0.8, 0.6 * np.exp(-1 / 0.5)], atol=1e-6)
