"""Names of the published networks' tensors in the files of other programs."""


def in_mmpose(name, head):
    """Of HRNet and HigherHRNet. head: "keypoint_head" in mmpose 0.x, "head" in 1.x."""
    of_head = name.startswith(("final_layer", "deconv_layers"))
    return f"{head if of_head else 'backbone'}.{name}"


def in_cornernet_lite(name):
    """Of CornerNet and CornerNet-Squeeze."""
    first, rest = name.split(".", 1)
    corner, _, part = first.partition("_")
    if corner in ("tl", "br"):
        part = {"cnvs": "modules", "regrs": "offs"}.get(part, part)
        return f"{corner}_{part}.{rest}"
    return f"hg.hgs.{rest}" if first == "kps" else f"hg.{name}"


def in_mmdetection(name):
    """Of CornerNet in mmdetection 3.x."""
    first, *rest = name.replace(".skip.", ".downsample.").split(".")
    corner, _, part = first.partition("_")
    if corner in ("tl", "br"):
        return ".".join(["bbox_head", *_in_corner_head(corner, part, rest)])
    if first == "pre":
        middle = ["stem", rest[0]] if rest[0] == "0" else ["stem", rest[0], "0"]
        return ".".join(["backbone", *middle, *rest[1:]])
    if first in ("inters_", "cnvs_"):  # a convolution and its norm, which have names there
        stack, layer, kind = rest
        place = {"inters_": "conv1x1s", "cnvs_": "remap_convs"}[first]
        return f"backbone.{place}.{stack}.{('conv', 'bn')[int(layer)]}.{kind}"
    first = {"kps": "hourglass_modules", "cnvs": "out_convs"}.get(first, first)
    return ".".join(["backbone", first, *rest])


def _in_corner_head(corner, part, rest):
    if part != "cnvs":
        name = {"heats": "heat", "tags": "emb", "regrs": "off"}[part]
        rest = rest if "conv" in rest else [*rest[:-1], "conv", rest[-1]]
        return [f"{corner}_{name}", *rest]
    stack, layer, *kind = rest
    layers = {
        "p1_conv1": ["direction1_conv"],
        "p2_conv1": ["direction2_conv"],
        "p_conv1": ["aftpool_conv", "conv"],
        "p_bn1": ["aftpool_conv", "bn"],
        "conv1": ["conv1", "conv"],
        "bn1": ["conv1", "bn"],
        "conv2": ["conv2"],
    }
    return [f"{corner}_pool", stack, *layers[layer], *kind]
