"""A task chooses the loss of its tags by one recipe value."""

import numpy as np
import pytest
import torch

from tagwise import losses
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.models.create import create_model
from tagwise.skeletons import Skeleton
from tagwise.tasks.corners import CornerTask
from tagwise.tasks.pixels import PixelTask
from tagwise.tasks.pose import PoseTask

SKELETON = Skeleton("worm", ("head", "tail"), ((0, 1),))
TASKS = {
    "pose": lambda **how: PoseTask(SKELETON, **how),
    "corners": lambda **how: CornerTask(("cell",), **how),
    "pixels": lambda **how: PixelTask(**how),
}
TERMS = {
    "pull_push": {"pull", "push"},
    "discriminative": {"pull", "push", "regularise"},
    "cosine": {"pull", "push"},
    "contrastive": {"contrastive"},
    "spatial": {"overlap"},
}


def batch_of(task, count=2):
    """Targets of two images with two instances each."""
    samples = []
    for number in range(count):
        labels = np.zeros((64, 64), np.int32)
        labels[8:24, 8:24], labels[36:56, 30 + number : 56] = 1, 2
        samples.append(
            Sample(
                image=np.zeros((64, 64, 3), np.uint8),
                keypoints=np.array([[[12, 12, 2], [20, 20, 2]], [[36, 40, 2], [50, 52, 2]]], float),
                boxes=np.array([[8, 8, 16, 16], [30, 36, 26, 20]], float),
                areas=np.array([256, 520], float),
                ignore=np.zeros((64, 64), bool),
                labelled=np.ones(2, bool),
                labels=labels,
            )
        )
    return task.collate([task.encode(sample, 4) for sample in samples])


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", TERMS)
def test_each_task_trains_with_each_loss(kind, name):
    task = TASKS[kind](tag_loss=name, tag_dim=4)
    torch.manual_seed(0)
    model = create_model("small", task, input_size=(64, 64)).train()
    terms = task.loss(model(torch.rand(2, 3, 64, 64)), batch_of(task))
    assert TERMS[name] <= terms.keys()
    assert not (set().union(*TERMS.values()) - TERMS[name]) & terms.keys()
    terms["total"].backward()
    assert all(torch.isfinite(term) for term in terms.values())
    tags = [p for n, p in model.heads.named_parameters() if "tag" in n and p.requires_grad]
    assert any(float(p.grad.abs().sum()) > 0 for p in tags)


@pytest.mark.parametrize("name", ["cosine", "contrastive"])
def test_losses_of_directions_give_tags_of_length_1(name):
    task = PoseTask(SKELETON, tag_loss=name, tag_dim=3)
    maps = create_model("small", task, input_size=(64, 64)).eval()(torch.rand(1, 3, 64, 64))
    length = maps["tags"].detach().unflatten(1, (2, 3)).norm(dim=2)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_settings_that_do_not_fit_the_loss_are_refused():
    with pytest.raises(UserError, match=r"tag_loss cosine compares directions.*position to null"):
        PoseTask(SKELETON, tag_loss="cosine", tag_dim=2, position=24)
    with pytest.raises(UserError, match="has its own tag loss"):
        PoseTask(SKELETON, tag_loss="spatial", published="newell2017")
    with pytest.raises(UserError, match="tag_loss"):
        PixelTask(tag_loss="cosines")


def test_drawn_pixels_are_of_instances_and_of_their_image():
    labels = torch.full((2, 8, 8), -1)
    labels[0, :3, :4], labels[1, 4:, 2:5] = 3, 5
    tags = torch.stack([labels, labels * 10], 1).float()
    drawn, group, image = losses.dense_points(tags, labels, most=10)
    assert drawn.shape == (20, 2)
    assert group.tolist() == [3] * 10 + [5] * 10
    assert image.tolist() == [0] * 10 + [1] * 10
    assert (drawn == torch.stack([group, group * 10], 1)).all()
