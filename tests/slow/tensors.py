"""Names and shapes of the published networks' tensors, derived from their configurations."""


def conv(name, outputs, inputs, kernel, bias=False):
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    if bias:
        yield f"{name}.bias", (outputs,)


def norm(name, channels):
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


# ---------------------------------------------------------------------- HRNet


def _basic(name, channels):
    for n in (1, 2):
        yield from conv(f"{name}.conv{n}", channels, channels, 3)
        yield from norm(f"{name}.bn{n}", channels)


def _bottleneck(name, inputs):
    for n, (outputs, before, kernel) in enumerate(((64, inputs, 1), (64, 64, 3), (256, 64, 1)), 1):
        yield from conv(f"{name}.conv{n}", outputs, before, kernel)
        yield from norm(f"{name}.bn{n}", outputs)
    if inputs != 256:
        yield from conv(f"{name}.downsample.0", 256, inputs, 1)
        yield from norm(f"{name}.downsample.1", 256)


def _exchange(name, channels, ends):
    for branch, width in enumerate(channels):
        for n in range(4):
            yield from _basic(f"{name}.branches.{branch}.{n}", width)
    for i in range(ends):
        for j in range(len(channels)):
            way = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                yield from conv(f"{way}.0", channels[i], channels[j], 1)
                yield from norm(f"{way}.1", channels[i])
            for k in range(i - j):
                outputs = channels[i] if k == i - j - 1 else channels[j]
                yield from conv(f"{way}.{k}.0", outputs, channels[j], 3)
                yield from norm(f"{way}.{k}.1", outputs)


def hrnet(width):
    yield from conv("conv1", 64, 3, 3)
    yield from norm("bn1", 64)
    yield from conv("conv2", 64, 64, 3)
    yield from norm("bn2", 64)
    for n in range(4):
        yield from _bottleneck(f"layer1.{n}", 64 if n == 0 else 256)
    channels = [width, 2 * width, 4 * width, 8 * width]
    yield from conv("transition1.0.0", width, 256, 3)
    yield from norm("transition1.0.1", width)
    for new, before in ((1, 256), (2, channels[1]), (3, channels[2])):
        yield from conv(f"transition{new}.{new}.0.0", channels[new], before, 3)
        yield from norm(f"transition{new}.{new}.0.1", channels[new])
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for n in range(modules):
            ends = 1 if (stage, n) == (4, 2) else stage
            yield from _exchange(f"stage{stage}.{n}", channels[:stage], ends)


def hrnet_ae(width, keypoints):
    yield from hrnet(width)
    yield from conv("final_layer", 2 * keypoints, width, 1, bias=True)


def higherhrnet(width, keypoints):
    yield from hrnet(width)
    yield from conv("final_layers.0", 2 * keypoints, width, 1, bias=True)
    yield from conv("final_layers.1", keypoints, width, 1, bias=True)
    yield "deconv_layers.0.0.0.weight", (width + 2 * keypoints, width, 4, 4)
    yield from norm("deconv_layers.0.0.1", width)
    for n in range(1, 5):
        yield from _basic(f"deconv_layers.0.{n}.0", width)


# ---------------------------------------------------------------------- pose-ae


def _poseae_hourglass(name, depth, channels):
    wider = channels + 128
    yield from conv(f"{name}.up1.conv", channels, channels, 3, bias=True)
    yield from conv(f"{name}.low1.conv", wider, channels, 3, bias=True)
    if depth > 1:
        yield from _poseae_hourglass(f"{name}.low2", depth - 1, wider)
    else:
        yield from conv(f"{name}.low2.conv", wider, wider, 3, bias=True)
    yield from conv(f"{name}.low3.conv", channels, wider, 3, bias=True)


def poseae(keypoints=17):
    sizes = ((0, 64, 3, 7), (1, 128, 64, 3), (3, 128, 128, 3), (4, 256, 128, 3))
    for n, outputs, inputs, kernel in sizes:
        yield from conv(f"pre.{n}.conv", outputs, inputs, kernel, bias=True)
    for n in range(4):
        yield from _poseae_hourglass(f"features.{n}.0", 4, 256)
        for k in (1, 2):
            yield from conv(f"features.{n}.{k}.conv", 256, 256, 3, bias=True)
        yield from conv(f"outs.{n}.conv", 4 * keypoints, 256, 1, bias=True)
        if n < 3:
            yield from conv(f"merge_features.{n}.conv.conv", 256, 256, 1, bias=True)
            yield from conv(f"merge_preds.{n}.conv.conv", 256, 4 * keypoints, 1, bias=True)


# ---------------------------------------------------------------------- CornerNet


def _convolution(name, kernel, inputs, outputs):
    yield from conv(f"{name}.conv", outputs, inputs, kernel)
    yield from norm(f"{name}.bn", outputs)


def _residual(name, inputs, outputs, stride=1):
    for n, before in ((1, inputs), (2, outputs)):
        yield from conv(f"{name}.conv{n}", outputs, before, 3)
        yield from norm(f"{name}.bn{n}", outputs)
    if stride != 1 or inputs != outputs:
        yield from conv(f"{name}.skip.0", outputs, inputs, 1)
        yield from norm(f"{name}.skip.1", outputs)


def _fire(name, inputs, outputs, stride=1):
    half = outputs // 2
    yield from conv(f"{name}.conv1", half, inputs, 1)
    yield from norm(f"{name}.bn1", half)
    yield from conv(f"{name}.conv_1x1", half, half, 1)
    yield from conv(f"{name}.conv_3x3", half, 1, 3)
    yield from norm(f"{name}.bn2", outputs)


def _corner_hourglass(name, channels, counts, layer, learned_up):
    here, below, count = channels[0], channels[1], counts[0]
    for n in range(count):
        yield from layer(f"{name}.up1.{n}", here, here)
        yield from layer(f"{name}.low1.{n}", here if n == 0 else below, below, 2 if n == 0 else 1)
        yield from layer(f"{name}.low3.{n}", below, here if n == count - 1 else below)
    if len(channels) > 2:
        inner = (channels[1:], counts[1:], layer, learned_up)
        yield from _corner_hourglass(f"{name}.low2", *inner)
    else:
        for n in range(counts[1]):
            yield from layer(f"{name}.low2.{n}", below, below)
    if learned_up:
        yield from conv(f"{name}.up2", here, here, 4, bias=True)


def cornernet(classes, squeeze):
    """Two stacks, with the names of CornerNet; also for CornerNet-Squeeze."""
    yield from _convolution("pre.0", 7, 3, 128)
    yield from _residual("pre.1", 128, 256, 2)
    tower = ((256, 256, 384, 384, 384, 512), (2, 2, 2, 2, 2, 4), _residual, False)
    if squeeze:
        yield from _residual("pre.2", 256, 256, 2)
        tower = ((256, 256, 384, 384, 512), (2, 2, 2, 2, 4), _fire, True)
    for stack in (0, 1):
        yield from _corner_hourglass(f"kps.{stack}", *tower)
        yield from _convolution(f"cnvs.{stack}", 3, 256, 256)
        for corner in ("tl", "br"):
            name = f"{corner}_cnvs.{stack}"
            yield from _convolution(f"{name}.p1_conv1", 3, 256, 128)
            yield from _convolution(f"{name}.p2_conv1", 3, 256, 128)
            yield from conv(f"{name}.p_conv1", 256, 128, 3)
            yield from norm(f"{name}.p_bn1", 256)
            yield from conv(f"{name}.conv1", 256, 256, 1)
            yield from norm(f"{name}.bn1", 256)
            yield from _convolution(f"{name}.conv2", 3, 256, 256)
            for head, maps in (("heats", classes), ("tags", 1), ("regrs", 2)):
                kernel = 1 if squeeze else 3
                yield from conv(f"{corner}_{head}.{stack}.0.conv", 256, 256, kernel, bias=True)
                yield from conv(f"{corner}_{head}.{stack}.1", maps, 256, 1, bias=True)
    yield from _residual("inters.0", 256, 256)
    for name in ("inters_.0", "cnvs_.0"):
        yield from conv(f"{name}.0", 256, 256, 1)
        yield from norm(f"{name}.1", 256)
