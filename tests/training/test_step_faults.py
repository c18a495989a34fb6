"""Losses that are not finite, and steps that do not fit into memory."""

import pytest
import torch

from tagwise.errors import UserError
from tagwise.training.recipe import Recipe
from tagwise.training.step import FiniteLoss, memory_explained


class OnGpu:
    """A loss that is read when it is converted to a float."""

    device = torch.device("cuda")

    def __init__(self, value, read):
        self.value, self.read = value, read

    def detach(self):
        return self

    def __float__(self):
        self.read.append(self.value)
        return self.value


def test_a_loss_on_the_cpu_is_read_at_once():
    finite = FiniteLoss()
    finite.add(torch.tensor(1.0), 0)
    with pytest.raises(UserError, match=r"the loss is inf at step 7; lower optim\.lr"):
        finite.add(torch.tensor(torch.inf), 7)


def test_a_loss_on_a_gpu_is_read_one_step_later():
    finite, read = FiniteLoss(), []
    for step, value in enumerate((1.0, 2.0, float("nan"))):
        finite.add(OnGpu(value, read), step)
    assert read == [1.0, 2.0]
    with pytest.raises(UserError, match="the loss is nan at step 2"):
        finite.add(OnGpu(3.0, read), 3)


def test_the_last_loss_is_read_before_anything_is_written():
    finite, read = FiniteLoss(), []
    finite.check()
    finite.add(OnGpu(1.0, read), 0)
    finite.check()
    finite.check()
    assert read == [1.0]
    finite.add(OnGpu(float("-inf"), read), 1)
    with pytest.raises(UserError, match="the loss is -inf at step 1"):
        finite.check()


def test_a_step_that_does_not_fit_says_what_to_change():
    recipe = Recipe.from_dict(
        {
            "task": "pixels",
            "data": {"train": [{"annotations": "masks", "images": "photos"}]},
            "optim": {"batch": 12},
        },
        "a test",
    )
    with (
        pytest.raises(UserError, match=r"too small for optim\.batch 12 at \d+ × \d+; halve optim"),
        memory_explained(recipe),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
