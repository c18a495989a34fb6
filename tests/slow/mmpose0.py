"""Networks of mmpose 0.x with tags: their tensors by its names, and their maps step by step.

A network is a dict of tensors as mmpose saves it; every step follows the name of its tensors. From
the public description: mmpose/models/backbones/resnet.py, mobilenet_v2.py and hourglass_ae.py,
mmpose/models/heads/ae_simple_head.py and ae_multi_stage_head.py.
"""

import numpy as np
import torch
from torch.nn import functional as F

from slow.tensors import conv, norm

# ---------------------------------------------------------------------- names and shapes


def _conv_module(name, outputs, inputs, kernel):
    """mmcv's ConvModule with a norm."""
    yield from conv(f"{name}.conv", outputs, inputs, kernel)
    yield from norm(f"{name}.bn", outputs)


def _simple_head(inputs, filters, keypoints):
    for place in (0, 3, 6):
        name = f"keypoint_head.deconv_layers.{place}"
        yield f"{name}.weight", (inputs if place == 0 else filters, filters, 4, 4)
        yield from norm(f"keypoint_head.deconv_layers.{place + 1}", filters)
    yield from conv("keypoint_head.final_layer", 2 * keypoints, filters, 1, bias=True)


def resnet(blocks, keypoints, width=64, filters=256):
    yield from conv("backbone.conv1", width, 3, 7)
    yield from norm("backbone.bn1", width)
    inputs = width
    for number, count in enumerate(blocks):
        middle = width << number
        for block in range(count):
            name = f"backbone.layer{number + 1}.{block}"
            for n, (outputs, before, kernel) in enumerate(
                ((middle, inputs, 1), (middle, middle, 3), (4 * middle, middle, 1)), 1
            ):
                yield from conv(f"{name}.conv{n}", outputs, before, kernel)
                yield from norm(f"{name}.bn{n}", outputs)
            if block == 0:
                yield from conv(f"{name}.downsample.0", 4 * middle, inputs, 1)
                yield from norm(f"{name}.downsample.1", 4 * middle)
            inputs = 4 * middle
    yield from _simple_head(inputs, filters, keypoints)


# Channels after each block of the layers 1 to 7.
MOBILENET = ((16,), (24,) * 2, (32,) * 3, (64,) * 4, (96,) * 3, (160,) * 3, (320,))


def mobilenetv2(keypoints, filters=256):
    yield from _conv_module("backbone.conv1", 32, 3, 3)
    inputs = 32
    for number, layer in enumerate(MOBILENET, 1):
        for block, outputs in enumerate(layer):
            name, hidden, place = f"backbone.layer{number}.{block}.conv", inputs, 0
            if number > 1:
                hidden = 6 * inputs
                yield from _conv_module(f"{name}.0", hidden, inputs, 1)
                place = 1
            yield f"{name}.{place}.conv.weight", (hidden, 1, 3, 3)
            yield from norm(f"{name}.{place}.bn", hidden)
            yield from _conv_module(f"{name}.{place + 1}", outputs, hidden, 1)
            inputs = outputs
    yield from _conv_module("backbone.conv2", 1280, inputs, 1)
    yield from _simple_head(1280, filters, keypoints)


def _tower(name, channels):
    now, below = channels[:2]
    yield from _conv_module(f"{name}.up1", now, now, 3)
    yield from _conv_module(f"{name}.low1", below, now, 3)
    if len(channels) > 2:
        yield from _tower(f"{name}.low2", channels[1:])
    else:
        yield from _conv_module(f"{name}.low2", below, below, 3)
    yield from _conv_module(f"{name}.low3", now, below, 3)


def hourglass(keypoints, stacks=4, channels=(256, 384, 512, 640, 768)):
    first = channels[0]
    for place, (outputs, inputs, kernel) in {
        0: (64, 3, 7),
        1: (128, 64, 3),
        3: (128, 128, 3),
        4: (first, 128, 3),
    }.items():
        yield from _conv_module(f"backbone.stem.{place}", outputs, inputs, kernel)
    for n in range(stacks):
        yield from _tower(f"backbone.hourglass_modules.{n}.0", channels)
        for place in (1, 2):
            name = f"backbone.hourglass_modules.{n}.{place}"
            yield from _conv_module(name, first, first, 3)
        yield from conv(f"backbone.out_convs.{n}.conv", 2 * keypoints, first, 1, bias=True)
    for n in range(stacks - 1):
        yield from _conv_module(f"backbone.remap_out_convs.{n}", first, 2 * keypoints, 1)
        yield from _conv_module(f"backbone.remap_feature_convs.{n}", first, first, 1)


def random_state(tensors, seed=0, maps=()):
    """Tensors of these names and shapes, such that maps neither vanish nor explode.

    maps: the names of the last layers, whose weights are larger.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in tensors:
        part = name.rpartition(".")[2]
        if part == "num_batches_tracked":
            state[name] = torch.tensor(7)
        elif part == "running_var" or (part == "weight" and len(shape) == 1):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        elif len(shape) == 4:
            fan = shape[1] * shape[2] * shape[3] if "deconv" not in name else 4 * shape[0]
            gain = 3.0 if name.startswith(tuple(maps)) else 1.4
            state[name] = gain * torch.randn(shape, generator=generator) / fan**0.5
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
    return state


# ---------------------------------------------------------------------- maps


class _Net:
    def __init__(self, state):
        self.state = state

    def has(self, name):
        return any(key.startswith(f"{name}.") for key in self.state)

    def conv(self, name, x, stride=1):
        kernel = self.state[f"{name}.weight"]
        groups = x.shape[1] // kernel.shape[1]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, kernel, bias, stride, kernel.shape[-1] // 2, groups=groups)

    def norm(self, name, x):
        mean, var, scale, shift = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def module(self, name, x, stride=1):
        x = self.conv(f"{name}.conv", x, stride)
        return self.norm(f"{name}.bn", x) if self.has(f"{name}.bn") else x

    def simple_head(self, x):
        for place in (0, 3, 6):
            name = "keypoint_head.deconv_layers"
            kernel = self.state[f"{name}.{place}.weight"]
            x = F.conv_transpose2d(x, kernel, stride=2, padding=1)
            x = F.relu(self.norm(f"{name}.{place + 1}", x))
        return self.conv("keypoint_head.final_layer", x)


def resnet_maps(state, x):
    net = _Net(state)
    x = F.relu(net.norm("backbone.bn1", net.conv("backbone.conv1", x, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in range(1, 5):
        block = 0
        while net.has(name := f"backbone.layer{layer}.{block}"):
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(net.norm(f"{name}.bn1", net.conv(f"{name}.conv1", x)))
            y = F.relu(net.norm(f"{name}.bn2", net.conv(f"{name}.conv2", y, stride)))
            y = net.norm(f"{name}.bn3", net.conv(f"{name}.conv3", y))
            if net.has(f"{name}.downsample"):
                x = net.conv(f"{name}.downsample.0", x, stride)
                x = net.norm(f"{name}.downsample.1", x)
            x, block = F.relu(y + x), block + 1
    return [net.simple_head(x)]


def mobilenetv2_maps(state, x):
    net = _Net(state)
    x = F.relu6(net.module("backbone.conv1", x, 2))
    for layer, outputs in enumerate(MOBILENET, 1):
        for block in range(len(outputs)):
            name, y = f"backbone.layer{layer}.{block}.conv", x
            halves = layer in (2, 3, 4, 6) and block == 0
            last = 2 if layer > 1 else 1
            for place in range(last):
                deep = place == last - 1
                y = F.relu6(net.module(f"{name}.{place}", y, 2 if deep and halves else 1))
            y = net.module(f"{name}.{last}", y)
            x = x + y if block > 0 else y
    return [net.simple_head(F.relu6(net.module("backbone.conv2", x)))]


def _tower_maps(net, name, x):
    aside = F.relu(net.module(f"{name}.up1", x))
    low = F.relu(net.module(f"{name}.low1", F.max_pool2d(x, 2, 2)))
    if net.has(f"{name}.low2.up1"):
        low = _tower_maps(net, f"{name}.low2", low)
    else:
        low = F.relu(net.module(f"{name}.low2", low))
    low = F.relu(net.module(f"{name}.low3", low))
    return aside + low.repeat_interleave(2, 2).repeat_interleave(2, 3)


def hourglass_maps(state, x):
    """The maps of every stack."""
    net, found = _Net(state), []
    x = F.relu(net.module("backbone.stem.0", x, 2))
    x = F.max_pool2d(F.relu(net.module("backbone.stem.1", x)), 2, 2)
    for place in (3, 4):
        x = F.relu(net.module(f"backbone.stem.{place}", x))
    while net.has(f"backbone.out_convs.{len(found)}"):
        n = len(found)
        y = _tower_maps(net, f"backbone.hourglass_modules.{n}.0", x)
        for place in (1, 2):
            y = F.relu(net.module(f"backbone.hourglass_modules.{n}.{place}", y))
        found.append(net.module(f"backbone.out_convs.{n}", y))
        if net.has(f"backbone.remap_out_convs.{n}"):
            again = net.module(f"backbone.remap_out_convs.{n}", found[-1])
            x = x + again + net.module(f"backbone.remap_feature_convs.{n}", y)
    return found


# ---------------------------------------------------------------------- resizing


def resized(maps, size, aligned):
    """(B, C, h, w) at another (height, width), bilinear, one side after the other.

    aligned: the centres of corner cells stay in place; else the edges of the map do.
    """
    for axis, new in ((2, size[0]), (3, size[1])):
        old = maps.shape[axis]
        weights = np.zeros((new, old))
        for cell in range(new):
            place = cell * (old - 1) / (new - 1) if aligned else (cell + 0.5) * old / new - 0.5
            place = min(max(place, 0), old - 1)
            low = min(int(place), old - 2)
            weights[cell, low] += low + 1 - place
            weights[cell, low + 1] += place - low
        maps = np.moveaxis(np.tensordot(maps, weights, (axis, 1)), -1, axis)
    return maps
