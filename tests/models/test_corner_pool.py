import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from slow import tensors
from tagwise.errors import UserError
from tagwise.models.corner_pool import CornerPooling, corner_modules, corner_pool
from tagwise.models.layers import ConvNorm
from tagwise.tasks import Head

DIRECTIONS = ("top", "bottom", "left", "right")
AWAY = {"top": (1, 0), "bottom": (-1, 0), "left": (0, 1), "right": (0, -1)}
"""The step, in rows and columns, from a cell to the next one that it pools."""
LAYOUTS = (torch.contiguous_format, torch.channels_last)
SHAPES = ((1, 1, 1, 1), (1, 3, 1, 7), (2, 1, 6, 1), (2, 5, 4, 6), (3, 2, 9, 5), (1, 2, 2, 33))


def winners(x, direction):
    """For each cell the (row, column) of the maximum that it takes, by walking from it.

    The scan goes towards the cell, so that of equal values the farthest one comes first.
    """
    down, right = AWAY[direction]
    height, width = x.shape[-2:]
    rows, columns = np.empty(x.shape, int), np.empty(x.shape, int)
    for *plane, i, j in np.ndindex(*x.shape):
        best, at = -math.inf, (i, j)
        row, column = i, j
        while 0 <= row < height and 0 <= column < width:
            if x[(*plane, row, column)] >= best:
                best, at = x[(*plane, row, column)], (row, column)
            row, column = row + down, column + right
        rows[(*plane, i, j)], columns[(*plane, i, j)] = at
    return rows, columns


def slow_pool(x, gradient, direction):
    """The pooled map and the gradient of its input, cell by cell."""
    values = x.double().numpy()
    rows, columns = winners(values, direction)
    pooled, back = np.empty_like(values), np.zeros_like(values)
    for *plane, i, j in np.ndindex(*values.shape):
        source = (*plane, rows[(*plane, i, j)], columns[(*plane, i, j)])
        pooled[(*plane, i, j)] = values[source]
        back[source] += gradient[(*plane, i, j)].item()
    return torch.from_numpy(pooled), torch.from_numpy(back)


def pool_and_back(x, gradient, direction):
    leaf = x.detach().clone().requires_grad_()
    pooled = corner_pool(leaf, direction)
    pooled.backward(gradient)
    return pooled.detach(), leaf.grad


@pytest.mark.parametrize("layout", LAYOUTS, ids=("contiguous", "channels_last"))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_maxima_and_gradient_equal_a_slow_reference(direction, shape, layout):
    generator = torch.Generator().manual_seed(0)
    # Few distinct values, so that ties are everywhere.
    x = torch.randint(-3, 4, shape, generator=generator).float().contiguous(memory_format=layout)
    gradient = torch.randn(shape, generator=generator)
    pooled, back = pool_and_back(x, gradient, direction)
    expected, expected_back = slow_pool(x, gradient, direction)
    assert torch.equal(pooled.double(), expected)
    torch.testing.assert_close(back.double(), expected_back, rtol=1e-5, atol=1e-6)
    assert pooled.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("top", [[0, 0, 0], [2, 2, 2]]),
        ("bottom", [[2, 2, 2], [0, 0, 0]]),
        ("left", [[0, 0, 3], [0, 0, 3]]),
        ("right", [[3, 0, 0], [3, 0, 0]]),
    ],
)
def test_first_of_equal_maxima_gets_the_gradient(direction, expected):
    """In the official kernels, a value replaces the maximum only if it is greater (`gt`)."""
    _, back = pool_and_back(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 2, 3), direction)
    assert back[0, 0].tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*(st.integers(1, size) for size in (2, 3, 9, 9))),
    direction=st.sampled_from(DIRECTIONS),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_is_idempotent_and_preserves_the_gradient_sum(shape, direction, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, shape, generator=generator).double()
    gradient = torch.randint(-9, 10, shape, generator=generator).double()
    pooled, back = pool_and_back(x, gradient, direction)
    assert torch.equal(corner_pool(pooled, direction), pooled)
    assert (pooled >= x).all()
    axis = -2 if direction in ("top", "bottom") else -1
    assert torch.equal(back.sum(axis), gradient.sum(axis))
    assert (x[back != 0] == pooled[back != 0]).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rotating_the_map_reverses_the_direction(direction):
    opposite = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}[direction]
    x = torch.randn(2, 3, 8, 9)
    turned = corner_pool(x.flip(-2, -1), opposite).flip(-2, -1)
    assert torch.equal(corner_pool(x, direction), turned)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradient_in_double_precision(direction):
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(corner_pool, (x, direction))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_half_precision_differs_only_by_the_rounding_of_sums(direction, dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 40, 50, generator=generator).to(dtype)
    gradient = torch.rand(x.shape, generator=generator).to(dtype)
    pooled, back = pool_and_back(x, gradient, direction)
    exact, exact_back = pool_and_back(x.double(), gradient.double(), direction)
    assert pooled.dtype == back.dtype == dtype
    assert torch.equal(pooled.double(), exact)
    torch.testing.assert_close(back, exact_back.to(dtype), rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cut", [np.s_[:, ::2], np.s_[..., 1:, 2:], np.s_[..., ::2, ::3]], ids=str)
def test_views_are_pooled_like_their_copies(direction, cut):
    whole = torch.randn(2, 4, 7, 9)
    x, gradient = whole[cut], torch.randn(whole.shape)[cut]
    for got, expected in zip(
        pool_and_back(x, gradient, direction),
        pool_and_back(x.contiguous(), gradient.contiguous(), direction),
        strict=True,
    ):
        assert torch.equal(got, expected)
    swapped = whole.transpose(-2, -1)
    assert torch.equal(
        corner_pool(swapped, direction), corner_pool(swapped.contiguous(), direction)
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradient_of_another_layout_is_correct(direction):
    x, gradient = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    _, expected = pool_and_back(x, gradient, direction)
    last = torch.channels_last
    _, back = pool_and_back(x, gradient.contiguous(memory_format=last), direction)
    assert torch.equal(back, expected)
    _, back = pool_and_back(x.contiguous(memory_format=last), gradient, direction)
    torch.testing.assert_close(back, expected)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4)])
def test_empty_batch_stays_empty(shape):
    pooled, back = pool_and_back(torch.zeros(shape), torch.zeros(shape), "top")
    assert pooled.shape == back.shape == shape


def test_nan_reaches_exactly_the_cells_that_pool_it():
    x = torch.zeros(1, 1, 3, 5)
    x[0, 0, 1, 2] = math.nan
    assert torch.isnan(corner_pool(x, "left")[0, 0]).int().tolist() == [
        [0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    rows = x.contiguous(memory_format=torch.channels_last)
    assert torch.isnan(corner_pool(rows, "bottom")[0, 0, :, 2]).tolist() == [False, True, True]


@pytest.mark.parametrize("layout", LAYOUTS, ids=("contiguous", "channels_last"))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_devices_without_compiled_loops_give_the_same_result(direction, layout):
    """CUDA and other devices use plain torch operators, which are run here on the CPU."""
    key = torch._C.DispatchKey.CompositeExplicitAutograd
    axis, back = (-2 if direction in ("top", "bottom") else -1), direction in ("top", "left")
    x = torch.randint(-3, 4, (2, 3, 6, 7)).float().contiguous(memory_format=layout)
    gradient = torch.randn(x.shape)
    pooled = call_kernel("running_max", key, x, axis, back)
    given = call_kernel("running_max_backward", key, pooled, gradient, axis, back)
    expected, expected_back = pool_and_back(x, gradient, direction)
    assert torch.equal(pooled, expected)
    torch.testing.assert_close(given, expected_back)
    assert pooled.stride() == expected.stride()


def call_kernel(name, key, *inputs):
    return getattr(torch.ops.tagwise, name).default._op_dk(key, *inputs)


@pytest.mark.parametrize("direction", ["top", "right"])
def test_operators_keep_the_contract_of_torch(direction):
    axis, back = (-2, True) if direction == "top" else (-1, False)
    for layout in LAYOUTS:
        x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
        checks = ("test_schema", "test_faketensor")
        torch.library.opcheck(torch.ops.tagwise.running_max, (x, axis, back), test_utils=checks)
        inputs = (x, torch.randn(x.shape), axis, back)
        torch.library.opcheck(torch.ops.tagwise.running_max_backward, inputs, test_utils=checks)


def test_compiled_network_has_one_graph_and_the_same_gradient():
    x, gradient = torch.randint(-3, 4, (1, 3, 8, 9)).float(), torch.randn(1, 3, 8, 9)
    compiled = torch.compile(corner_pool, backend="aot_eager", fullgraph=True)
    leaf = x.clone().requires_grad_()
    pooled = compiled(leaf, "left")
    pooled.backward(gradient)
    expected, back = pool_and_back(x, gradient, "left")
    assert torch.equal(pooled, expected)
    assert torch.equal(leaf.grad, back)


ANY_SIZE = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}


def test_export_for_any_size_needs_no_custom_operator():
    module = CornerPooling(4, 2, "tl", separable=True).eval()
    program = torch.export.export(module, (torch.randn(1, 4, 12, 20),), dynamic_shapes=(ANY_SIZE,))
    assert "tagwise" not in str(program.graph)
    for size in ((12, 20), (3, 5), (40, 130)):
        x = torch.randn(1, 4, *size)
        torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_export_for_one_size_has_few_steps(direction):
    class Pool(torch.nn.Module):
        def forward(self, x):
            return corner_pool(x, direction)

    x = torch.randn(2, 3, 8, 8)
    for strict in (False, True):
        program = torch.export.export(Pool(), (x,), strict=strict)
        steps = [
            node for node in program.graph.nodes if node.target is torch.ops.aten.maximum.default
        ]
        assert len(steps) == 3  # maxima of 2 cells, of 4, of 8
        assert torch.equal(program.module()(x), corner_pool(x, direction))


def test_onnx_gives_the_same_results(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    module = CornerPooling(4, 2, "br", separable=False).eval()
    example = (torch.randn(1, 4, 12, 20),)
    path = tmp_path / "corner.onnx"
    any_size = {"x": {2: "rows", 3: "columns"}}
    torch.onnx.export(
        module, example, str(path), dynamo=False, input_names=["x"], dynamic_axes=any_size
    )
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in ((12, 20), (9, 33)):
        x = torch.randn(1, 4, *size)
        (found,) = session.run(None, {"x": x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), module(x), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------ the module


OFFICIAL = {
    "p1_conv1.bn": "p1_conv1.norm",
    "p2_conv1.bn": "p2_conv1.norm",
    "p_conv1": "p_conv1.conv",
    "p_bn1": "p_conv1.norm",
    "conv1": "conv1.conv",
    "bn1": "conv1.norm",
    "conv2.bn": "conv2.norm",
}


def own_name(official):
    part, kind = official.rsplit(".", 1)
    return f"{OFFICIAL.get(part, part)}.{kind}"


def official_tensors(corner):
    """Names and shapes of one of CornerNet's corner modules."""
    start = f"{corner}_cnvs.1."
    listed = tensors.cornernet(80, squeeze=False)
    return {name.removeprefix(start): shape for name, shape in listed if name.startswith(start)}


@pytest.mark.parametrize("corner", ["tl", "br"])
def test_tensors_equal_those_of_the_official_module(corner):
    module = CornerPooling(256, 128, corner, separable=False)
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {
        own_name(name): shape for name, shape in official_tensors(corner).items()
    }


@pytest.mark.parametrize("corner", ["tl", "br"])
def test_official_weights_give_the_official_output(corner):
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.rand(shape, generator=generator) * (0.02 if len(shape) == 4 else 1.0) + 0.01
        for name, shape in official_tensors(corner).items()
    }
    module = CornerPooling(256, 128, corner, separable=False).eval()
    module.load_state_dict({own_name(name): value for name, value in weights.items()})
    for each in module.modules():
        if isinstance(each, ConvNorm):
            each.norm.eps = 1e-5
    x = torch.randn(1, 256, 9, 11, generator=generator)
    with torch.no_grad():
        found, expected = module(x), official_module(x, weights, corner)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.std().item())


def official_module(x, weights, corner):
    """Figure 7 of the paper, as in the official code, with plain torch functions."""

    def convolve(x, name, norm):
        kernel = weights[f"{name}.weight"]
        x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        statistics = (weights[f"{norm}.running_{kind}"] for kind in ("mean", "var"))
        return F.batch_norm(x, *statistics, weights[f"{norm}.weight"], weights[f"{norm}.bias"])

    axes = (-2, -1)
    pooled = 0
    for name, axis in zip(("p1_conv1", "p2_conv1"), axes, strict=True):
        y = convolve(x, f"{name}.conv", f"{name}.bn").relu()
        y = y.flip(axis) if corner == "tl" else y
        y = y.cummax(axis).values
        pooled = pooled + (y.flip(axis) if corner == "tl" else y)
    y = convolve(pooled, "p_conv1", "p_bn1") + convolve(x, "conv1", "bn1")
    return convolve(y.relu(), "conv2.conv", "conv2.bn").relu()


@pytest.mark.parametrize("corner", ["tl", "br"])
def test_corner_pools_along_its_two_edges(corner):
    """A change of one cell affects the cells above and left of it, or below and right."""
    torch.manual_seed(0)
    module = CornerPooling(8, 16, corner, separable=False).eval()
    x = torch.zeros(1, 8, 40, 50)
    changed = x.clone()
    changed[0, :, 20, 25] = 5.0
    with torch.no_grad():
        seen = (module(changed) - module(x)).abs().amax((0, 1)) > 1e-6
    edges = [(0, 25), (20, 0)] if corner == "tl" else [(39, 25), (20, 49)]
    others = [(39, 25), (20, 49)] if corner == "tl" else [(0, 25), (20, 0)]
    assert all(seen[cell] for cell in edges)
    assert not any(seen[cell] for cell in others)


def test_only_corners_that_heads_need_are_built():
    heads = {"a": Head(2, "heatmap", corner="br"), "b": Head(1, "tag", corner="br")}
    assert list(corner_modules(heads, 8, 4, separable=True)) == ["br4"]
    assert corner_modules({"a": Head(2, "heatmap")}, 8, 4, separable=True) == {}


@pytest.mark.parametrize("hidden", [0, -3, 2.5, 10**9])
def test_widths_out_of_range_are_refused(hidden):
    with pytest.raises(UserError, match="hidden channels of corner pooling must be a whole number"):
        corner_modules({"a": Head(2, "heatmap", corner="tl")}, 8, hidden, separable=True)
