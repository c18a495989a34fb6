"""Heatmap and offset losses against plain formulas."""

import pytest
import torch
from torch.nn import functional as F

from tagwise import losses


def test_heatmap_mse_matches_its_formula():
    pred, target = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    mask = torch.rand(2, 1, 4, 5) > 0.4
    square = (pred - target) ** 2
    each = (square * mask * (1 + 5 * target)).sum((1, 2, 3))
    how = {"foreground": 5.0, "images": "none"}
    mse = losses.heatmap_mse
    torch.testing.assert_close(mse(pred, target, mask, normalise="sum", **how), each)
    torch.testing.assert_close(mse(pred, target, mask, **how), each / 60)
    valid = mask.expand_as(pred).sum((1, 2, 3))
    torch.testing.assert_close(mse(pred, target, mask, normalise="valid", **how), each / valid)
    torch.testing.assert_close(mse(pred, target), F.mse_loss(pred, target))
    torch.testing.assert_close(mse(pred, target, normalise="valid"), F.mse_loss(pred, target))


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("mask", ["none", "bool", "weights", "per type"])
def test_float32_on_the_cpu_equals_float64_with_its_gradient(mask, logits):
    """Maps in float32 on the CPU are worked on in parts; 3 × 110 × 120 cells are more than one."""
    pred, target = torch.randn(2, 3, 110, 120), torch.rand(2, 3, 110, 120)
    masks = {
        "none": None,
        "bool": torch.rand(2, 1, 110, 120) > 0.3,
        "weights": (torch.rand(2, 3, 110, 120) - 0.3).clamp(min=0),
        "per type": torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1),
    }
    found = []
    for dtype in (torch.float32, torch.float64):
        maps = pred.to(dtype, copy=True).requires_grad_()
        loss = losses.heatmap_mse(
            maps, target.to(dtype), masks[mask], foreground=3.0, images="none", logits=logits
        )
        (loss * torch.tensor([1.0, -2.0], dtype=dtype)).sum().backward()
        found.append((loss.double(), maps.grad.double()))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-9)


def test_gradients_flow_to_the_target_too():
    pred, target = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4, requires_grad=True)
    losses.heatmap_mse(pred, target).backward()
    torch.testing.assert_close(target.grad, (target.detach() - pred) / 8)


def test_heatmap_mse_leaves_out_keypoint_types():
    pred, target = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 5)
    mask = torch.tensor([True, False, True]).view(1, 3, 1, 1)
    loss = losses.heatmap_mse(pred, target, mask, normalise="valid")
    torch.testing.assert_close(loss, F.mse_loss(pred[:, ::2], target[:, ::2]))


def test_focal_without_powers_is_cross_entropy():
    logits, target = torch.randn(2, 3, 4, 5), (torch.rand(2, 3, 4, 5) > 0.8).float()
    plain = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    loss = losses.focal(logits, target, alpha=0, beta=0, clamp=0)
    torch.testing.assert_close(loss, plain / target.sum())


def test_focal_without_clamp_has_gradient_for_confident_errors():
    target = torch.tensor([1.0, 0.0])
    for clamp, taught in ((1e-4, False), (0, True)):
        logits = torch.tensor([-200.0, 200.0], requires_grad=True)
        losses.focal(logits, target, clamp=clamp).backward()
        assert logits.grad.isfinite().all()
        assert (logits.grad != 0).all() == taught


MAP_LOSSES = {
    "heatmap_mse": losses.heatmap_mse,
    "weighted": lambda *maps: losses.heatmap_mse(*maps, foreground=2.0, normalise="valid"),
    "focal": losses.focal,
    "focal_unclamped": lambda *maps: losses.focal(*maps, clamp=0),
}


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_masked_cells_can_be_nan(name):
    loss = MAP_LOSSES[name]
    pred, target = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    target[0, 0, 0, 0] = 1
    mask = torch.rand(2, 1, 4, 4) > 0.3
    mask[0, 0, 0, 0] = True
    hole = ~mask.expand_as(pred)
    dirty = pred.masked_fill(hole, float("nan")).requires_grad_()
    value = loss(dirty, target.masked_fill(hole, float("nan")), mask)
    torch.testing.assert_close(value, loss(pred, target, mask.float()))
    value.backward()
    assert dirty.grad.isfinite().all()
    assert (dirty.grad[hole] == 0).all()
    assert dirty.grad[~hole].any()


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_map_losses_gradcheck_half_and_empty(name):
    loss = MAP_LOSSES[name]
    pred = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    target, mask = torch.rand(2, 2, 3, 3, dtype=torch.float64), torch.rand(2, 1, 3, 3)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, mask), pred)
    half = loss(pred.to(torch.bfloat16), target.float(), mask)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(pred.to(torch.bfloat16).float(), target.float(), mask))
    for shape, keep in (((2, 2, 3, 3), torch.zeros(2, 1, 3, 3)), ((0, 2, 3, 3), None)):
        nothing = torch.randn(shape, requires_grad=True)
        value = loss(nothing, torch.zeros(shape), keep)
        assert float(value.detach()) == 0
        value.backward()
        assert (nothing.grad == 0).all()


def test_offset_l1_terms():
    pred = torch.tensor([[0.5, 3.0], [float("nan"), 0.0]], requires_grad=True)
    loss = losses.offset_l1(pred, torch.zeros(2, 2), torch.tensor([True, False]), eps=0)
    assert float(loss.detach()) == pytest.approx(0.5 * 0.25 + 2.5)
    loss.backward()
    torch.testing.assert_close(pred.grad, torch.tensor([[0.5, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("loss", [losses.heatmap_mse, losses.focal])
@pytest.mark.parametrize("mask", [(2, 4, 4), (2, 3, 4, 5), (1, 2, 3, 4, 4)])
def test_mismatched_map_shapes_are_refused(loss, mask):
    pred = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\)"):
        loss(pred, pred, torch.zeros(mask))
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\) and \(2, 3, 4, 5\)"):
        loss(pred, torch.zeros(2, 3, 4, 5))


@pytest.mark.parametrize("other", [{"target": (4, 3)}, {"target": (4, 2), "weight": (3,)}])
def test_mismatched_offset_shapes_are_refused(other):
    with pytest.raises(ValueError, match="got shapes"):
        losses.offset_l1(torch.zeros(4, 2), **{name: torch.zeros(x) for name, x in other.items()})


@pytest.mark.parametrize("name", MAP_LOSSES)
def test_map_losses_compile_whole(name):
    torch._dynamo.reset()
    loss = MAP_LOSSES[name]
    pred, target = torch.randn(2, 3, 4, 4, requires_grad=True), torch.rand(2, 3, 4, 4)
    mask = torch.rand(2, 1, 4, 4) > 0.3
    fast = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(pred, target, mask), loss(pred, target, mask))
