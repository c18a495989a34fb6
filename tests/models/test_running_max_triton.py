"""The kernels for GPUs give what those for CPUs give, in Triton's interpreter or on a GPU."""

import os
import subprocess
import sys
from itertools import product

import pytest
import torch

from tagwise.models.corner_pool import corner_pool

SCRIPT = """
import itertools, torch
from tagwise.models import running_max_ops as module, running_max_triton as kernels
generator = torch.Generator().manual_seed(0)
layouts = (torch.contiguous_format, torch.channels_last)
types = (torch.float32, torch.float16)
ways = [*itertools.product((-2, -1), (True, False), layouts, types, [(2, 5, 7, 9)])]
ways += [(-1, back, layouts[0], types[0], (1, 1, 2, 2500)) for back in (True, False)]
for axis, back, layout, dtype, size in ways:
    x = torch.randint(-3, 4, size, generator=generator).to(dtype)  # with many ties
    x[0, 0, 1, 4] = float("nan")
    x[..., 1500:1510] += 4  # in the middle of a line that is scanned in parts
    x, gradient = (each.to(memory_format=layout) for each in (x, torch.rand(size).to(dtype)))
    pooled = torch.ops.tagwise.running_max(x, axis, back)
    shape = module.line_shape(x, axis)
    found = torch.empty_like(x)
    kernels.running_max(x, found, shape, back)
    torch.testing.assert_close(found, pooled, rtol=0, atol=0, equal_nan=True)
    expected = torch.ops.tagwise.running_max_backward(pooled, gradient, axis, back)
    out = torch.empty_like(x)
    bits = pooled.view(torch.int32 if dtype == torch.float32 else torch.int16)
    kernels.running_max_backward(bits, gradient, out, shape, back)
    torch.testing.assert_close(out, expected)
print("equal")
"""


def test_kernels_equal_those_of_the_cpu_in_the_interpreter():
    pytest.importorskip("triton", reason="needs triton, which torch's CUDA builds install")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True
    )
    assert ran.stdout == "equal\n", ran.stderr


SIZES = {"length": "i32", "inner": "i32", "lines": "i32", "back": "constexpr", "block": "constexpr"}
KERNELS = {
    "_maxima": (("x", "out"), SIZES),
    "_gradients": (("bits", "gradient", "out"), SIZES),
    "_row_maxima": (("x", "out"), {**SIZES, "width": "constexpr"}),
    "_row_gradients": (("bits", "gradient", "out"), {**SIZES, "width": "constexpr"}),
}


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_compile_for_gpus_of_several_types(name, dtype, tmp_path, monkeypatch):
    """Triton brings its compilers along, so that this needs no GPU."""
    triton = pytest.importorskip("triton", reason="needs triton, which torch's CUDA builds install")
    from triton.backends.compiler import GPUTarget

    from tagwise.models import running_max_triton as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    maps, sizes = KERNELS[name]
    bits = {"fp32": "*i32"}.get(dtype, "*i16")
    kernel = getattr(kernels, name)
    signature = {each: bits if each == "bits" else f"*{dtype}" for each in maps} | sizes
    signature = {each: signature[each] for each in kernel.arg_names}
    for capability, back in product((80, 90), (True, False)):
        fixed = {"back": back, "block": 16, "width": 128}
        fixed = {each: value for each, value in fixed.items() if each in signature}
        source = triton.compiler.ASTSource(kernel, signature, constexprs=fixed)
        target = GPUTarget("cuda", capability, 32)
        assert triton.compile(source, target=target).asm["cubin"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pooling_on_a_gpu_equals_that_on_the_cpu():
    layouts = (torch.contiguous_format, torch.channels_last)
    for direction, layout in product(("top", "bottom", "left", "right"), layouts):
        x = torch.randn(2, 5, 33, 20).round(decimals=1).to(memory_format=layout)
        gradient = torch.rand(2, 5, 33, 20)
        found = []
        for device in ("cpu", "cuda"):
            maps = x.to(device, copy=True).requires_grad_()
            pooled = corner_pool(maps, direction)
            pooled.backward(gradient.to(device))
            found.append((pooled.detach().cpu(), maps.grad.cpu()))
        torch.testing.assert_close(found[1], found[0])
