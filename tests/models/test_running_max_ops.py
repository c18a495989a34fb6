"""Which program computes running maxima on a GPU; the operators for it are run on the CPU."""

import sys
from types import SimpleNamespace

import pytest
import torch

from tagwise.models import running_max_ops as operators

KERNELS = "tagwise.models.running_max_triton"


def on_gpu(name, *inputs):
    """The operator as for maps on a GPU."""
    return getattr(torch.ops.tagwise, name).default._op_dk(torch._C.DispatchKey.CUDA, *inputs)


@pytest.fixture(autouse=True)
def _unchecked():
    kept = (operators._checked_kernel, operators._tell_once)
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


@pytest.fixture(params=[-2, -1], ids=["H", "W"])
def maps(request):
    """Maps, gradients, axis, and what the loops for the CPU compute."""
    x = torch.randint(-3, 4, (2, 3, 6, 7)).float()
    gradient, ways = torch.randint(0, 9, x.shape).float(), (request.param, True)
    pooled = torch.ops.tagwise.running_max(x, *ways)
    given = torch.ops.tagwise.running_max_backward(pooled, gradient, *ways)
    return x, gradient, ways, pooled, given


def assert_equal_to_cpu(maps):
    x, gradient, ways, pooled, given = maps
    assert torch.equal(on_gpu("running_max", x, *ways), pooled)
    assert torch.equal(on_gpu("running_max_backward", pooled, gradient, *ways), given)


def test_a_gpu_without_triton_has_the_same_maxima(maps, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, KERNELS, None)
    assert_equal_to_cpu(maps)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_gpu_without_triton_has_maxima_of_any_type(maps, monkeypatch, dtype):
    monkeypatch.setitem(sys.modules, KERNELS, None)
    x, _, ways, pooled, _ = maps
    assert torch.equal(on_gpu("running_max", x.to(dtype), *ways), pooled.to(dtype))


def test_kernels_that_fail_or_are_wrong_are_not_used(maps, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    def keep(x, *rest):
        rest[-3].copy_(x.float())  # the maps themselves, not their maxima

    kernels = SimpleNamespace(running_max=fail, running_max_backward=keep)
    monkeypatch.setitem(sys.modules, KERNELS, kernels)
    assert_equal_to_cpu(maps)
    assert_equal_to_cpu(maps)
    x, _, (axis, _), _, _ = maps
    for way in (True, False):
        found = on_gpu("running_max", x, axis, way)
        assert torch.equal(found, torch.ops.tagwise.running_max(x, axis, way))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # once for each reason
    told = "tagwise: corner pooling runs without Triton on cpu, which takes longer: "
    assert lines[0].startswith(told + "'RuntimeError: Failed to find C compiler. Please specify")
    assert lines[1] == told + "its kernel computed other values"


def test_out_of_memory_is_not_a_fault_of_the_kernel(maps, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(sys.modules, KERNELS, SimpleNamespace(running_max=fail))
    x, _, ways, _, _ = maps
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            on_gpu("running_max", x, *ways)


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_that_check_kernels_have_many_maxima(dtype, axis, back):
    """A new maximum begins in many cells, and other cells repeat one, in every line."""
    x = operators._steps(dtype, 64, axis, back)
    pooled = torch.ops.tagwise.running_max(x, axis, back)
    begins = (pooled == x).float().mean(axis)
    assert x.shape[axis] == 64
    assert (begins > 0.1).all()
    assert (begins < 0.9).all()
