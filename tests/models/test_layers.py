"""Layers against TensorFlow's definitions, written out as loops."""

import math

import numpy as np
import pytest
import torch

from tagwise.models.layers import ConvNorm, InvertedResidual, SeparableConv, same_padding, upsample


def slow_same_convolution(image, kernel, stride):
    """TensorFlow's "SAME": out[i] = sum of kernel[k] image[i·stride + k - before], 0 outside."""
    height, width = image.shape
    size = len(kernel)
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    top = max((rows - 1) * stride + size - height, 0) // 2
    left = max((columns - 1) * stride + size - width, 0) // 2
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            for k in range(size):
                for m in range(size):
                    y, x = i * stride + k - top, j * stride + m - left
                    if 0 <= y < height and 0 <= x < width:
                        out[i, j] += kernel[k, m] * image[y, x]
    return out


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (5, 6), (1, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_pads_as_tensorflow_does(kernel, stride, size):
    torch.manual_seed(kernel)
    layer = ConvNorm(1, 1, kernel, stride, norm=False, bias=False).double()
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    weight = layer.conv.weight.detach()[0, 0].numpy()
    expected = slow_same_convolution(image[0, 0].numpy(), weight, stride)
    np.testing.assert_allclose(layer(image)[0, 0].detach().numpy(), expected, atol=1e-12)


def test_padding_of_an_even_axis_at_stride_two_is_larger_after():
    assert same_padding(512, 3, 2) == (0, 1)
    assert same_padding(512, 5, 2) == (1, 2)
    assert same_padding(7, 3, 2) == (1, 1)
    assert same_padding(3, 1, 2) == (0, 0)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="kernel must be odd, not 4"):
        ConvNorm(1, 1, 4)


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_has_half_pixel_centres(factor):
    image = torch.rand(1, 1, 4, 5, dtype=torch.float64)
    out = upsample(image, factor)[0, 0].numpy()
    x = (np.arange(5 * factor) + 0.5) / factor - 0.5
    y = (np.arange(4 * factor) + 0.5) / factor - 0.5
    rows = np.array([np.interp(x, np.arange(5), row) for row in image[0, 0].numpy()])
    expected = np.array([np.interp(y, np.arange(4), column) for column in rows.T]).T
    np.testing.assert_allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("norm", [True, False])
def test_fused_layer_gives_the_same_output(kernel, stride, norm, lively):
    layer = lively(ConvNorm(4, 6, kernel, stride, norm=norm, activation="relu6"))
    image = torch.randn(2, 4, 8, 12)
    expected = layer(image)
    layer.fuse()
    torch.testing.assert_close(layer(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_rotated_layer_gives_rotated_output(kernel, stride, lively):
    layer = lively(ConvNorm(4, 4, kernel, stride, groups=4))
    image = torch.randn(2, 4, 8, 12)
    expected = layer(image)
    layer.fuse(turn=True)
    turned = layer(image.flip(-2, -1)).flip(-2, -1)
    torch.testing.assert_close(turned, expected, rtol=1e-5, atol=1e-5)


def test_inverted_residual_adds_its_input_only_where_shapes_agree():
    torch.manual_seed(0)
    image = torch.randn(1, 8, 8, 8)
    for outputs, stride, added in ((8, 1, 1.0), (8, 2, 0.0), (16, 1, 0.0)):
        block = InvertedResidual(8, outputs, stride=stride, norm=False)
        torch.nn.init.zeros_(block.project.conv.weight)
        out = block(image)
        expected = image if added else torch.zeros(1, outputs, 8 // stride, 8 // stride)
        torch.testing.assert_close(out, expected)


def test_depthwise_training_in_bfloat16_stays_near_float32():
    torch.manual_seed(0)
    layer = SeparableConv(8, 8)
    image = torch.randn(2, 8, 16, 16)
    layer(image).square().sum().backward()
    exact = layer[0].conv.weight.grad.clone()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    torch.testing.assert_close(layer[0].conv.weight.grad, exact, rtol=0.1, atol=0.02 * exact.std())


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 1), (5, 1, 4)])
@pytest.mark.parametrize("half", [False, True])
def test_one_pass_without_gradient_equals_the_steps_with_it(
    activation, kernel, stride, groups, half
):
    torch.manual_seed(0)
    layer = ConvNorm(4, 8, kernel, stride, groups, norm=False, activation=activation)
    torch.nn.init.uniform_(layer.conv.bias, -1, 1)
    image = 4 * torch.randn(2, 4, 8, 12)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        steps = layer(image)
        with torch.no_grad():
            one = layer(image)
    assert steps.requires_grad
    assert one.dtype == steps.dtype == (torch.bfloat16 if half else torch.float32)
    tolerance = 0.05 if half else 1e-5
    torch.testing.assert_close(one, steps.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("part", ["image", "weight", "bias"])
def test_trainable_parts_get_a_gradient(part):
    layer = ConvNorm(2, 3, 3, norm=False, activation="relu").requires_grad_(False)
    image = torch.randn(1, 2, 4, 4)
    learner = image if part == "image" else getattr(layer.conv, part)
    learner.requires_grad_()
    layer(image).sum().backward()
    assert learner.grad.abs().sum() > 0


def test_compiled_layer_has_no_custom_operation():
    layer = ConvNorm(2, 3, 3, norm=False, activation="relu").eval().requires_grad_(False)
    program = torch.export.export(layer, (torch.randn(1, 2, 4, 4),))
    assert not any("mkldnn" in str(node.target) for node in program.graph.nodes)
