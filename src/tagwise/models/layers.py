"""Convolutions with TensorFlow's padding, which the public weights of both backbones expect."""

from __future__ import annotations

from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "relu6"]
_ACTIVATIONS = {
    "relu": partial(nn.ReLU, inplace=True),
    "relu6": partial(nn.ReLU6, inplace=True),
    None: nn.Identity,
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The number of zeros before and after an axis, as in TensorFlow's "SAME" padding.

    The output has ceil(size / stride) cells. At stride 2 and an even size, the sum is odd, and the
    larger half goes after the axis, whereas PyTorch's `padding` uses equal halves.

    >>> same_padding(512, 3, 2), same_padding(512, 3, 1)
    ((0, 1), (1, 1))
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """Convolution (SAME padding), batch norm, activation.

    norm: False replaces the batch norm by a bias of the convolution, for weights into which the
    batch norm was folded.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        norm: bool = True,
        bias: bool | None = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {kernel}")
        padding = kernel // 2 if stride == 1 else 0  # at stride 1 SAME is symmetric
        bias = not norm if bias is None else bias
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if bias:
            nn.init.zeros_(self.conv.bias)
        # TensorFlow's epsilon for both public backbones. Its momentum, .01, would leave the running
        # statistics of fresh layers stale for hundreds of steps; .1 is noisy in small batches.
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03) if norm else nn.Identity()
        # In place: its input is a fresh tensor that no backward pass reads.
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if kernel // 2 > self.conv.padding[0]:
            rows, columns = (same_padding(size, kernel, stride) for size in x.shape[-2:])
            x = F.pad(x, (*columns, *rows))
        if self._can_run_in_one_pass(x):
            return _run_in_one_pass(self.conv, self.activation, x)
        convolve = _in_float32 if self._slow_in_bfloat16(x) else nn.Module.__call__
        return self.activation(self.norm(convolve(self.conv, x)))

    def _can_run_in_one_pass(self, x: Tensor) -> bool:
        """Whether convolution and activation can be one operation.

        This requires a CPU and neither batch norm nor gradient. Compilers and exporters fuse the
        operations themselves, so it is not used with them.
        """
        involved = (x, *self.conv.parameters())
        learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in involved)
        if learns or not isinstance(self.norm, nn.Identity) or x.device.type != "cpu":
            return False
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        return _working_dtype(x) in _one_pass_dtypes()

    def _slow_in_bfloat16(self, x: Tensor) -> bool:
        """Whether this is a depthwise convolution about to be trained on a CPU in bfloat16."""
        depthwise = self.conv.groups > 1 and self.conv.weight.requires_grad
        on_cpu = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        return depthwise and on_cpu and torch.is_grad_enabled()

    @torch.no_grad()
    def fuse(self, turn: bool = False) -> None:
        """Fold the batch norm's running statistics into the convolution; for inference only.

        turn: also rotate the kernel by 180°, for images rotated by 180°. At stride 2 and an even
        size, TensorFlow's padding then equals the built-in symmetric padding of a convolution,
        which saves a copy of the layer's input.
        """
        weight, bias = self.conv.weight, self.conv.bias
        if isinstance(self.norm, nn.BatchNorm2d):
            norm = self.norm
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale[:, None, None, None]
            bias = norm.bias - norm.running_mean * scale + (0 if bias is None else bias * scale)
            self.norm = nn.Identity()
        if turn:
            weight = weight.flip(-2, -1)
            self.conv.padding = tuple(size // 2 for size in self.conv.kernel_size)
        layout = torch.channels_last
        self.conv.weight = nn.Parameter(weight.contiguous(memory_format=layout), False)
        self.conv.bias = None if bias is None else nn.Parameter(bias, False)


_ONE_PASS = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0]), nn.Identity: ("none", [])}
"""The activations, with oneDNN's names and parameters for them."""


@cache
def _one_pass_dtypes() -> tuple[torch.dtype, ...]:
    """Types for which this build of torch has oneDNN's convolution with a fused activation.

    torch.compile's CPU backend uses the same operation.
    """
    mkldnn = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(mkldnn, "_convolution_pointwise")):
        return ()
    if not mkldnn._is_mkldnn_bf16_supported():
        return (torch.float32,)
    return torch.float32, torch.bfloat16


def _working_dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _run_in_one_pass(conv: nn.Conv2d, activation: nn.Module, x: Tensor) -> Tensor:
    """Convolution and activation without storing the intermediate result: a third less time."""
    dtype = _working_dtype(x)
    bias = None if conv.bias is None else conv.bias.to(dtype)
    shape = conv.padding, conv.stride, conv.dilation, conv.groups
    return torch.ops.mkldnn._convolution_pointwise(
        x.to(dtype), conv.weight.to(dtype), bias, *shape, *_ONE_PASS[type(activation)], ""
    )


def _in_float32(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution in float32: its backward pass is 2 to 4 times as fast as in bfloat16."""
    with torch.autocast("cpu", enabled=False):
        return conv(x.float()).to(torch.get_autocast_dtype("cpu"))


class SeparableConv(nn.Sequential):
    """A 3 × 3 depthwise convolution, then a pointwise one with norm and activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        norm: bool = True,
        activation: Activation | None = "relu",
    ) -> None:
        depthwise = ConvNorm(inputs, inputs, 3, groups=inputs, norm=False, bias=False)
        super().__init__(depthwise, ConvNorm(inputs, outputs, norm=norm, activation=activation))


def conv3x3(
    inputs: int, outputs: int, *, separable: bool, activation: Activation | None = "relu"
) -> nn.Module:
    """A 3 × 3 convolution with norm and activation, full or separable."""
    if separable:
        return SeparableConv(inputs, outputs, activation=activation)
    return ConvNorm(inputs, outputs, 3, activation=activation)


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018, section 3.3): expand, depthwise, project.

    The input is added if its shape allows it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        expansion: int = 6,
        *,
        norm: bool = True,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        relu6 = {"norm": norm, "activation": "relu6"}
        self.expand = ConvNorm(inputs, hidden, **relu6) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, hidden, **relu6)
        self.project = ConvNorm(hidden, outputs, norm=norm)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def upsample(x: Tensor, factor: int = 2) -> Tensor:
    """Bilinear upsampling with half-pixel centres to (B, C, factor · H, factor · W)."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
