"""The forward passes of the published networks in numpy.

A network is a dict of tensors with the published names; a layer is a function of it. No module of
torch is used; the names of the tensors determine the layers.
"""

import numpy as np

from slow.corners import pooled

# ---------------------------------------------------------------------- layers


def convolve(x, kernel, bias=None, stride=1, groups=1):
    """Convolve (C, h, w) with a kernel (O, C / groups, k, k), padded by (k - 1) // 2 zeros."""
    size = kernel.shape[-1]
    edge = (size - 1) // 2
    x = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
    height, width = ((side - size) // stride + 1 for side in x.shape[1:])
    out = np.zeros((len(kernel), height, width))
    for v in range(size):
        for u in range(size):
            part = x[:, v : v + stride * height : stride, u : u + stride * width : stride]
            if groups == 1:
                out += np.tensordot(kernel[:, :, v, u], part, 1)
            else:  # one input channel per output channel
                out += kernel[:, :, v, u][:, :, None] * part
    return out if bias is None else out + bias[:, None, None]


def spread(x, kernel, bias=None):
    """Double the size by a transposed convolution with a kernel (C, O, 4, 4)."""
    _, height, width = x.shape
    out = np.zeros((kernel.shape[1], 2 * height + 2, 2 * width + 2))
    for v in range(4):
        for u in range(4):
            part = np.tensordot(kernel[:, :, v, u].T, x, 1)
            out[:, v : v + 2 * height : 2, u : u + 2 * width : 2] += part
    out = out[:, 1:-1, 1:-1]
    return out if bias is None else out + bias[:, None, None]


def larger(x, times):
    """Repeat every cell."""
    return x.repeat(times, 1).repeat(times, 2)


def halved(x):
    """The maximum of each 2 x 2 cells."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max((2, 4))


class Weights:
    """Tensors by name, and the layers that use them."""

    def __init__(self, state):
        self.state = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def conv(self, name, x, stride=1, groups=1):
        bias = self.state.get(f"{name}.bias")
        return convolve(x, self.state[f"{name}.weight"], bias, stride, groups)

    def norm(self, name, x):
        mean, var, scale, shift = (
            self.state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * scale + shift

    def has(self, name):
        return any(key.startswith(f"{name}.") for key in self.state)

    def count(self, name):
        """The number of numbered parts under a name."""
        skip = len(name) + 1
        return len({n[skip:].split(".")[0] for n in self.state if n.startswith(f"{name}.")})


def relu(x):
    return np.maximum(x, 0)


# ---------------------------------------------------------------------- HRNet


def hrnet_block(w, name, x):
    y = relu(w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x)))
    y = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", y))
    if w.has(f"{name}.conv3"):
        y = w.norm(f"{name}.bn3", w.conv(f"{name}.conv3", relu(y)))
    if w.has(f"{name}.downsample"):
        x = w.norm(f"{name}.downsample.1", w.conv(f"{name}.downsample.0", x))
    return relu(y + x)


def hrnet_exchange(w, name, branches):
    """Four blocks per branch; then every branch is the sum of all branches, resized to it."""
    for b, x in enumerate(branches):
        for n in range(4):
            x = hrnet_block(w, f"{name}.branches.{b}.{n}", x)
        branches[b] = x
    out = []
    # The last exchange computes only the first branch, because the others are not used.
    ends = 1 + max(i for i in range(4) if i == 0 or w.has(f"{name}.fuse_layers.{i}"))
    for i in range(ends):
        total = 0
        for j, x in enumerate(branches):
            way = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                x = larger(w.norm(f"{way}.1", w.conv(f"{way}.0", x)), 2 ** (j - i))
            for k in range(i - j):
                x = w.norm(f"{way}.{k}.1", w.conv(f"{way}.{k}.0", x, 2))
                x = relu(x) if k < i - j - 1 else x
            total = total + x
        out.append(relu(total))
    return out


def hrnet(w, x):
    for n in (1, 2):
        x = relu(w.norm(f"bn{n}", w.conv(f"conv{n}", x, 2)))
    for n in range(4):
        x = hrnet_block(w, f"layer1.{n}", x)
    branches = [x]
    for stage in (2, 3, 4):
        before, branches = branches, []
        for b in range(stage):
            way = f"transition{stage - 1}.{b}"
            if b == len(before):
                x = relu(w.norm(f"{way}.0.1", w.conv(f"{way}.0.0", before[-1], 2)))
            elif w.has(way):
                x = relu(w.norm(f"{way}.1", w.conv(f"{way}.0", before[b])))
            else:
                x = before[b]
            branches.append(x)
        for n in range(w.count(f"stage{stage}")):
            branches = hrnet_exchange(w, f"stage{stage}.{n}", branches)
    return branches[0]


def higherhrnet(state, image):
    """The maps of an image (3, H, W) at strides 4 and 2."""
    w = Weights(state)
    x = hrnet(w, image)
    coarse = w.conv("final_layers.0", x)
    x = spread(np.concatenate([x, coarse]), w.state["deconv_layers.0.0.0.weight"])
    x = relu(w.norm("deconv_layers.0.0.1", x))
    for n in range(1, 5):
        x = hrnet_block(w, f"deconv_layers.0.{n}.0", x)
    return [coarse, w.conv("final_layers.1", x)]


def hrnet_ae(state, image):
    w = Weights(state)
    return [w.conv("final_layer", hrnet(w, image))]


# ---------------------------------------------------------------------- pose-ae


def _poseae_hourglass(w, name, x):
    aside = relu(w.conv(f"{name}.up1.conv", x))
    x = relu(w.conv(f"{name}.low1.conv", halved(x)))
    if w.has(f"{name}.low2.up1"):
        x = _poseae_hourglass(w, f"{name}.low2", x)
    else:
        x = relu(w.conv(f"{name}.low2.conv", x))
    return aside + larger(relu(w.conv(f"{name}.low3.conv", x)), 2)


def poseae(state, image):
    w = Weights(state)
    x = relu(w.conv("pre.0.conv", image, 2))
    x = halved(relu(w.conv("pre.1.conv", x)))
    x = relu(w.conv("pre.4.conv", relu(w.conv("pre.3.conv", x))))
    outputs = []
    for n in range(w.count("outs")):
        features = _poseae_hourglass(w, f"features.{n}.0", x)
        for k in (1, 2):
            features = relu(w.conv(f"features.{n}.{k}.conv", features))
        outputs.append(w.conv(f"outs.{n}.conv", features))
        if w.has(f"merge_preds.{n}"):
            x = x + w.conv(f"merge_preds.{n}.conv.conv", outputs[-1])
            x = x + w.conv(f"merge_features.{n}.conv.conv", features)
    return outputs


# ---------------------------------------------------------------------- CornerNet


def _convolution(w, name, x, stride=1):
    x = w.conv(f"{name}.conv", x, stride)
    return relu(w.norm(f"{name}.bn", x) if w.has(f"{name}.bn") else x)


def _corner_layer(w, name, x, stride=1):
    """A residual block or a fire module, depending on the names of its tensors."""
    if w.has(f"{name}.conv_1x1"):
        y = w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x))
        wide = w.conv(f"{name}.conv_3x3", y, stride, groups=len(y))
        y = w.norm(f"{name}.bn2", np.concatenate([w.conv(f"{name}.conv_1x1", y, stride), wide]))
        return relu(y + x if y.shape == x.shape else y)
    y = relu(w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x, stride)))
    y = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", y))
    if w.has(f"{name}.skip"):
        x = w.norm(f"{name}.skip.1", w.conv(f"{name}.skip.0", x, stride))
    return relu(y + x)


def _corner_layers(w, name, x, stride=1):
    for n in range(w.count(name)):
        x = _corner_layer(w, f"{name}.{n}", x, stride if n == 0 else 1)
    return x


def _corner_hourglass(w, name, x):
    aside = _corner_layers(w, f"{name}.up1", x)
    x = _corner_layers(w, f"{name}.low1", x, 2)
    if w.has(f"{name}.low2.up1"):
        x = _corner_hourglass(w, f"{name}.low2", x)
    else:
        x = _corner_layers(w, f"{name}.low2", x)
    x = _corner_layers(w, f"{name}.low3", x)
    if w.has(f"{name}.up2"):
        return aside + spread(x, w.state[f"{name}.up2.weight"], w.state[f"{name}.up2.bias"])
    return aside + larger(x, 2)


def _corner_module(w, name, x, directions):
    ways = [
        np.stack([pooled(plane, way) for plane in _convolution(w, f"{name}.p{n}_conv1", x)])
        for n, way in enumerate(directions, 1)
    ]
    y = w.norm(f"{name}.p_bn1", w.conv(f"{name}.p_conv1", sum(ways)))
    y = relu(y + w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x)))
    return _convolution(w, f"{name}.conv2", y)


def cornernet(state, image):
    """The maps of each stack, by name."""
    w = Weights(state)
    x = _convolution(w, "pre.0", image, 2)
    for n in range(1, w.count("pre")):
        x = _corner_layer(w, f"pre.{n}", x, 2)
    outputs = []
    for n in range(w.count("kps")):
        features = _convolution(w, f"cnvs.{n}", _corner_hourglass(w, f"kps.{n}", x))
        maps = {}
        for corner, ways in (("tl", ("top", "left")), ("br", ("bottom", "right"))):
            y = _corner_module(w, f"{corner}_cnvs.{n}", features, ways)
            for short, head in (("heat", "heats"), ("tag", "tags"), ("off", "regrs")):
                name = f"{corner}_{head}.{n}"
                maps[f"{corner}_{short}"] = w.conv(f"{name}.1", _convolution(w, f"{name}.0", y))
        outputs.append(maps)
        if w.has(f"inters.{n}"):
            x = w.norm(f"inters_.{n}.1", w.conv(f"inters_.{n}.0", x))
            x = relu(x + w.norm(f"cnvs_.{n}.1", w.conv(f"cnvs_.{n}.0", features)))
            x = _corner_layer(w, f"inters.{n}", x)
    return outputs
