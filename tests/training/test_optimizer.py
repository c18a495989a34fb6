"""Learning rates, parameter groups and the moving average of the weights."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tagwise.models import create_model
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask
from tagwise.training.optimizer import (
    MovingAverage,
    keep_steps_on_cpu,
    learning_rate,
    make_optimizer,
)
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
    average = MovingAverage(model, 0.3)
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


def test_moving_average_equals_that_of_torch_and_reads_its_files():
    """Earlier checkpoints have the state of torch's class."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    average = MovingAverage(model, 0.9)
    theirs = AveragedModel(
        model,
        multi_avg_fn=get_ema_multi_avg_fn(0.5),
        use_buffers=True,
    )
    for _ in range(3):
        model(torch.randn(2, 3, 5, 5))
        average.update_parameters(model)
        theirs.update_parameters(model)
    assert int(average.n_averaged) == 3
    assert average.module[1].num_batches_tracked == 3
    average.load_state_dict(theirs.state_dict())
    before = {name: value.clone() for name, value in theirs.module.state_dict().items()}
    model(torch.randn(2, 3, 5, 5))
    average.update_parameters(model)
    keep = 4 / 13
    for name, value in average.module.state_dict().items():
        new = model.state_dict()[name]
        if value.is_floating_point():
            new = keep * before[name] + (1 - keep) * new
        torch.testing.assert_close(value, new)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_moving_average_does_not_wait_for_the_gpu():
    model = nn.Linear(3, 3).cuda()
    average = MovingAverage(model, 0.9, torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        average.update_parameters(model)
        average.update_parameters(model)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_steps_of_a_loaded_optimizer_are_read_without_waiting_for_the_gpu():
    model = nn.Linear(2, 2).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2, device="cuda")).sum().backward()
    optimizer.step()
    for state in optimizer.state.values():
        state["step"] = state["step"].cuda()  # as accelerate does to a state that was loaded
    keep_steps_on_cpu(optimizer)
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_counts_of_steps_stay():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    keep_steps_on_cpu(optimizer)
    optimizer.step()
    assert {int(state["step"]) for state in optimizer.state.values()} == {2}
