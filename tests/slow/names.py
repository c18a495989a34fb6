"""The names that other programs give to the tensors of published networks."""


def in_mmpose(name, head):
    """The name in mmpose, for HRNet and HigherHRNet.

    head: "keypoint_head" in mmpose 0.x, "head" in 1.x.
    """
    of_head = name.startswith(("final_layer", "deconv_layers"))
    return f"{head if of_head else 'backbone'}.{name}"


def in_cornernet_lite(name):
    """The name in CornerNet-Lite, for CornerNet and CornerNet-Squeeze."""
    first, rest = name.split(".", 1)
    corner, _, part = first.partition("_")
    if corner in ("tl", "br"):
        part = {"cnvs": "modules", "regrs": "offs"}.get(part, part)
        return f"{corner}_{part}.{rest}"
    return f"hg.hgs.{rest}" if first == "kps" else f"hg.{name}"


def in_mmdetection(name):
    """The name in mmdetection 3.x, for CornerNet."""
    first, *rest = name.replace(".skip.", ".downsample.").split(".")
    corner, _, part = first.partition("_")
    if corner in ("tl", "br"):
        return ".".join(["bbox_head", *_in_corner_head(corner, part, rest)])
    if first == "pre":
        middle = ["stem", rest[0]] if rest[0] == "0" else ["stem", rest[0], "0"]
        return ".".join(["backbone", *middle, *rest[1:]])
    if first in ("inters_", "cnvs_"):  # a convolution and its norm, which have names in mmdetection
        stack, layer, parameter = rest
        group = {"inters_": "conv1x1s", "cnvs_": "remap_convs"}[first]
        return f"backbone.{group}.{stack}.{('conv', 'bn')[int(layer)]}.{parameter}"
    first = {"kps": "hourglass_modules", "cnvs": "out_convs"}.get(first, first)
    return ".".join(["backbone", first, *rest])


def _in_corner_head(corner, part, rest):
    if part != "cnvs":
        name = {"heats": "heat", "tags": "emb", "regrs": "off"}[part]
        rest = rest if "conv" in rest else [*rest[:-1], "conv", rest[-1]]
        return [f"{corner}_{name}", *rest]
    stack, layer, *parameters = rest
    layers = {
        "p1_conv1": ["direction1_conv"],
        "p2_conv1": ["direction2_conv"],
        "p_conv1": ["aftpool_conv", "conv"],
        "p_bn1": ["aftpool_conv", "bn"],
        "conv1": ["conv1", "conv"],
        "bn1": ["conv1", "bn"],
        "conv2": ["conv2"],
    }
    return [f"{corner}_pool", stack, *layers[layer], *parameters]
