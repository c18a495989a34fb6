"""Learning rates, parameter groups and the moving average of the weights."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tagwise.models import create_model
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask
from tagwise.training.optimizer import learning_rate, make_optimizer, moving_average
from tagwise.training.recipe import OptimConfig


def test_learning_rate_warms_up_and_falls():
    optim = OptimConfig(steps=1000, lr=1.0, warmup=0.1, final_lr=0.01)
    rates = np.array([learning_rate(optim, step) for step in range(1000)])
    assert rates.argmax() in (99, 100)
    assert np.all(np.diff(rates[:99]) > 0)
    assert np.all(np.diff(rates[100:]) < 0)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_learning_rate_falls_to_a_tenth_at_each_drop():
    optim = OptimConfig(steps=10, lr=1.0, warmup=0.2, drops=(0.5, 0.8))
    rates = [learning_rate(optim, step) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_every_trained_weight_is_in_one_group_that_knows_its_rate():
    model = create_model("small", PoseTask(COCO17), width=8)
    optim = OptimConfig(lr=1e-2, backbone_scale=0.1)
    groups = make_optimizer(model, optim).param_groups
    found = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(found) == sorted(id(weight) for weight in model.parameters())
    assert {group["initial_lr"] for group in groups} == {1e-2, 1e-3}


def test_moving_average_follows_its_formula():
    model = nn.Linear(1, 1, bias=False)
    model.register_buffer("seen", torch.tensor(0))
    average = AveragedModel(model, multi_avg_fn=moving_average(0.3), use_buffers=True)
    expected = None
    for n, weight in enumerate([4.0, 2.0, -1.0, 8.0, 0.5]):
        with torch.no_grad():
            model.weight.fill_(weight)
            model.seen.fill_(n)
        average.update_parameters(model)
        keep = min(0.3, (1 + n) / (10 + n))
        expected = weight if expected is None else keep * expected + (1 - keep) * weight
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.seen.item() == n
