"""Losses as modules, compiled, exported, on a GPU, and in the examples of their docstrings."""

import shutil

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from tag_losses import assert_same, gradient, scene
from tagwise import losses
from tagwise.losses import pull_push, pull_push_dense


def test_modules_equal_the_functions():
    pred, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    module = losses.HeatmapMSE(foreground=2.0)
    assert module(pred, target) == losses.heatmap_mse(pred, target, foreground=2.0)
    assert losses.FocalLoss(alpha=1.0)(pred, target) == losses.focal(pred, target, alpha=1.0)
    assert losses.OffsetL1()(pred, target) == losses.offset_l1(pred, target)
    assert "foreground=2.0" in repr(module)
    assert losses.AELoss("cornernet", images="mean").settings["images"] == "mean"
    with pytest.raises(TypeError, match="sigmoid"):
        losses.AELoss(sigmoid=1.0)
    with pytest.raises(ValueError, match="unknown preset 'newell'; use one of newell2017"):
        losses.AELoss("newell")


@pytest.mark.parametrize("how", [{}, {"batch": 3}, {"push": "hinge", "scope": "class"}])
def test_compiles_to_one_graph_once(how):
    """One graph for all inputs of one shape: several groups, another number, one, none."""
    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    fast = torch.compile(
        lambda t, g, i, c, w: pull_push(t, g, i, cls=c, weight=w, **how),
        backend=counter,
        fullgraph=True,
    )
    for seed, people in ((0, 5), (1, 9), (2, 1), (3, 0)):
        tags, group, image, cls, weight = scene(seed, people=max(people, 1))
        group = group if people else -group.abs() - 1
        tags.requires_grad_()
        loss, expected = (
            fast(tags, group, image, cls, weight),
            pull_push(tags, group, image, cls=cls, weight=weight, **how),
        )
        assert_same(loss, expected)
        torch.testing.assert_close(gradient(loss, tags), gradient(expected, tags))
    assert counter.frame_count == 1


def test_dense_form_and_module_compile_whole():
    torch._dynamo.reset()
    dense = torch.compile(pull_push_dense, fullgraph=True, backend="aot_eager")
    module = torch.compile(losses.AELoss("cornernet"), fullgraph=True, backend="aot_eager")
    for size in (5, 6, 7):  # after a second size, torch compiles for any size
        tags, labels = torch.randn(2, 3, size, size), torch.randint(-1, 4, (2, size, size))
        assert_same(dense(tags, labels, background=0), pull_push_dense(tags, labels, background=0))
        tags, group, image, *_ = scene(size, 10 * size)
        assert_same(module(tags, group, image), losses.AELoss("cornernet")(tags, group, image))


def test_losses_can_be_exported():
    tags, group, image, *_ = scene(0)
    program = torch.export.export(losses.AELoss(), (tags, group, image))
    tags, group, image, *_ = scene(1, people=9)
    assert_same(program.module()(tags, group, image), pull_push(tags, group, image))


@pytest.mark.skipif(not shutil.which("g++"), reason="the default compiler of torch needs g++")
@pytest.mark.parametrize("points", [40, 0])
def test_compiles_to_native_code(points):
    torch._dynamo.reset()
    tags, group, image, *_ = scene(0, points)
    tags.requires_grad_()
    loss = torch.compile(pull_push, fullgraph=True)(tags, group, image, batch=3)
    expected = pull_push(tags, group, image, batch=3)
    assert_same(loss, expected)
    torch.testing.assert_close(gradient(loss, tags), gradient(expected, tags))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_tags_with_indices_on_cpu_or_gpu():
    tags, group, image, cls, weight = scene(0)
    how = {"scope": "class"}
    expected = pull_push(tags, group, image, cls=cls, weight=weight, **how)
    there = [x.cuda() for x in (tags, group, image, cls, weight)]
    for ids in (there, [there[0], group, image, cls, weight]):
        loss = pull_push(*ids[:3], cls=ids[3], weight=ids[4], **how)
        assert_same([x.cpu() for x in loss], expected)
