"""The pose task: targets, loss, decoding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.geometry import pixel_to_cell
from tagwise.skeletons import Skeleton
from tagwise.tasks import PoseTask, create_task

STRIDE = 4
SKELETON = Skeleton("figure", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2)))


def sample_of(keypoints: np.ndarray, size: tuple[int, int] = (64, 96)) -> Sample:
    """A sample of (height, width) `size` with these (N, K, 3) keypoints."""
    keypoints = np.asarray(keypoints, np.float32).reshape(-1, len(SKELETON.keypoints), 3)
    return Sample(
        image=np.zeros((*size, 3), np.uint8),
        keypoints=keypoints,
        boxes=np.zeros((len(keypoints), 4), np.float32),
        areas=np.ones(len(keypoints), np.float32),
        ignore=np.zeros(size, bool),
        labelled=np.ones(len(SKELETON.keypoints), bool),
    )


TWO = [
    [[10.0, 12.0, 2], [20.0, 30.0, 2], [8.0, 40.0, 1]],
    [[70.0, 12.0, 2], [80.5, 31.0, 2], [60.0, 41.0, 0]],
]


def perfect_outputs(task: PoseTask, targets: dict) -> dict[str, torch.Tensor]:
    """Outputs of a network that predicts the targets exactly; tags are 10 · group."""
    count, (height, width) = len(task.skeleton.keypoints), targets["heatmaps"].shape[1:]
    tags = torch.zeros(1, count * task.tag_dim, height, width)
    offsets = torch.zeros(1, count * 2, height, width)
    for (k, y, x), group, offset in zip(targets["points"], targets["group"], targets["offset"]):
        tags[0, k * task.tag_dim : (k + 1) * task.tag_dim, y, x] = 10.0 * group
        offsets[0, 2 * k : 2 * k + 2, y, x] = torch.from_numpy(offset)
    return {"heatmaps": torch.from_numpy(targets["heatmaps"])[None], "tags": tags} | (
        {"offsets": offsets} if task.offsets else {}
    )


def test_heatmaps_are_gaussians_with_sub_cell_centres():
    task = PoseTask(SKELETON, sigma=1.5)
    found = task.encode(sample_of(TWO), STRIDE)["heatmaps"]
    yy, xx = np.mgrid[0:16, 0:24]
    expected = np.zeros((3, 16, 24))
    for person in np.array(TWO):
        for k, (x, y, v) in enumerate(person):
            if v > 0:
                cx, cy = (x + 0.5) / STRIDE - 0.5, (y + 0.5) / STRIDE - 0.5
                bump = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (2 * 1.5**2))
                bump[(abs(xx - cx) > 4.5) | (abs(yy - cy) > 4.5)] = 0
                expected[k] = np.maximum(expected[k], bump)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_focal_targets_have_a_cell_of_exactly_one_for_each_keypoint():
    task = PoseTask(SKELETON, heatmap_loss="focal")
    found = task.encode(sample_of(TWO), STRIDE)["heatmaps"]
    assert (found == 1).sum() == 5


def test_points_hold_the_cell_the_instance_and_the_offset():
    task = PoseTask(SKELETON, reach=1)
    targets = task.encode(sample_of(TWO), STRIDE)
    assert targets["points"].shape == (5 * 9, 3)
    for (k, y, x), group, offset in zip(targets["points"], targets["group"], targets["offset"]):
        wanted = pixel_to_cell(np.array(TWO[group][k][:2]), STRIDE)
        np.testing.assert_allclose(np.array([x, y]) + offset, wanted, atol=1e-5)
    assert targets["weight"].min() > 0
    assert targets["weight"].max() <= 1


def test_unlabelled_types_and_ignored_regions_are_masked():
    sample = sample_of(TWO)
    sample.labelled[2] = False
    sample.keypoints[:, 2, 2] = 0
    sample.ignore[:, 48:] = True
    mask = PoseTask(SKELETON).encode(sample, STRIDE)["mask"]
    assert not mask[2].any()
    assert mask[0, :, :12].all()
    assert mask[0, 3, 17], "a labelled keypoint in an ignored region still counts"
    assert not mask[0, 10, 20]


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("tag_dim", [1, 2])
def test_decoding_perfect_outputs_gives_the_truth(offsets, tag_dim):
    task = PoseTask(SKELETON, tag_dim=tag_dim, offsets=offsets)
    targets = task.encode(sample_of(TWO), STRIDE)
    (poses,) = task.decode(perfect_outputs(task, targets), STRIDE)
    assert len(poses) == 2
    order = np.argsort(poses.keypoints[:, 0, 0])
    for found, true in zip(poses.keypoints[order], np.array(TWO)):
        seen = true[:, 2] > 0
        np.testing.assert_allclose(found[seen, :2], true[seen, :2], atol=0.35)


def test_loss_is_small_for_perfect_outputs_and_has_finite_gradients():
    task = PoseTask(SKELETON, offsets=True)
    targets = task.encode(sample_of(TWO), STRIDE)
    outputs = {k: v.requires_grad_() for k, v in perfect_outputs(task, targets).items()}
    terms = task.loss(outputs, task.collate([targets]))
    assert set(terms) == {"heatmaps", "pull", "push", "offsets", "total"}
    assert float(terms["total"].detach()) < 1e-3
    terms["total"].backward()
    assert all(torch.isfinite(output.grad).all() for output in outputs.values())


@pytest.mark.parametrize("heatmap_loss", ["mse", "mse_sigmoid", "focal"])
def test_empty_image_has_a_finite_loss_with_gradients(heatmap_loss):
    task = PoseTask(SKELETON, offsets=True, heatmap_loss=heatmap_loss)
    targets = task.encode(sample_of(np.zeros((0, 3, 3))), STRIDE)
    outputs = {
        name: torch.randn(1, head.channels, 16, 24, requires_grad=True)
        for name, head in task.heads().items()
    }
    total = task.loss(outputs, task.collate([targets]))["total"]
    total.backward()
    assert torch.isfinite(total)
    assert outputs["heatmaps"].grad.abs().sum() > 0


@settings(max_examples=20, deadline=None)
@given(st.permutations([0, 1]), st.integers(0, 2**31 - 1))
def test_loss_does_not_depend_on_the_order_of_people(order, seed):
    task = PoseTask(SKELETON, offsets=True)
    generator = torch.Generator().manual_seed(seed)
    outputs = {
        name: torch.randn(1, head.channels, 16, 24, generator=generator)
        for name, head in task.heads().items()
    }
    plain = task.collate([task.encode(sample_of(TWO), STRIDE)])
    mixed = task.collate([task.encode(sample_of([TWO[i] for i in order]), STRIDE)])
    first, second = task.loss(outputs, plain), task.loss(outputs, mixed)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)


def test_tag_loss_of_a_batch_is_the_mean_over_images():
    """Groups of the same number in two images are different groups."""
    task = PoseTask(SKELETON)
    targets = task.encode(sample_of(TWO), STRIDE)
    one = perfect_outputs(task, targets)
    tags = torch.cat([one["tags"], one["tags"] + 7])
    both = {"heatmaps": one["heatmaps"].repeat(2, 1, 1, 1), "tags": tags}
    terms = task.loss(both, task.collate([targets, targets]))
    assert float(terms["pull"]) == pytest.approx(0, abs=1e-6)


def test_options_restore_the_task():
    task = PoseTask(SKELETON, tag_dim=2, position=24.0, weights={"pull": 3.0})
    again = create_task("pose", **task.to_dict())
    assert again.to_dict() == create_task("pose", **again.to_dict()).to_dict()
    assert again.weights["pull"] == 3.0
    assert again.heads() == task.heads()


def test_unknown_options_name_the_nearest():
    with pytest.raises(UserError, match="did you mean 'tag_dim'"):
        create_task("pose", skeleton=SKELETON.to_dict(), tag_dimm=2)
    with pytest.raises(UserError, match="did you mean 'pull'"):
        create_task("pose", skeleton=SKELETON.to_dict(), weights={"pulll": 2})
    with pytest.raises(UserError, match="unknown task 'poze'"):
        create_task("poze")


@pytest.mark.parametrize("task", ["pose", "corners", "pixels"])
def test_position_needs_an_even_number_of_tag_components(task):
    labels = {"pose": {"skeleton": SKELETON.to_dict()}, "corners": {"classes": ["a"]}}.get(task, {})
    with pytest.raises(UserError, match="tag_dim is 1, but position 16"):
        create_task(task, **labels, tag_dim=1, position=16)
    create_task(task, **labels, tag_dim=1)
    create_task(task, **labels, tag_dim=4, position=16)


def test_an_option_may_have_any_name():
    with pytest.raises(UserError, match="unknown setting 'name'"):
        create_task("pose", skeleton=SKELETON.to_dict(), name=3)
