"""OpenVINO files with the inputs and outputs of Open Model Zoo's human-pose-estimation-0005."""

import numpy as np
import openvino
import openvino.opset13 as op


def network(kernel, side=64, fixed=True):
    """A graph whose maps are one convolution of the image; cells that are no peak are negated.

    kernel: (2 K, 3, 4, 4), for blue, green, red from 0 to 255. side: of the image.
    """
    image = op.parameter([1, 3, side, side] if fixed else [1, 3, -1, -1], np.float32, name="image")
    maps = op.convolution(image, op.constant(kernel), [2, 2], [1, 1], [1, 1], [1, 1])
    heatmaps, tags = op.split(maps, op.constant(1), 2).outputs()
    heatmaps = op.relu(heatmaps)
    pool = op.max_pool(heatmaps, [1, 1], [1, 1], [2, 2], [2, 2], [5, 5]).output(0)
    peak = op.convert(op.equal(heatmaps, pool), np.float32)
    signed = op.multiply(heatmaps, op.subtract(op.multiply(peak, np.float32(2)), np.float32(1)))
    return graph(image, signed, op.unsqueeze(tags, op.constant(-1)))


def planted(signed, tags, stride=2):
    """A graph that gives the same maps (K, h, w) for every image of their size."""
    size = [stride * side for side in signed.shape[1:]]
    image = op.parameter([1, 3, *size], np.float32, name="image")
    zero = op.multiply(op.reduce_mean(image, op.constant([1, 2, 3]), True), np.float32(0))
    heatmaps = op.add(op.constant(signed[None].astype(np.float32)), zero)
    embeddings = op.add(op.constant(tags[None].astype(np.float32)), zero)
    return graph(image, heatmaps, op.unsqueeze(embeddings, op.constant(-1)))


def graph(image, heatmaps, embeddings, names=("heatmaps", "embeddings")):
    for node, name in zip((heatmaps, embeddings), names):
        node.set_friendly_name(name)
        node.output(0).get_tensor().set_names({name})
    return openvino.Model([heatmaps, embeddings], [image], "stand_in")


def write(model, path, half=True):
    """The .xml and .bin of a graph, with weights of 16 bits as Open Model Zoo's FP16 files have."""
    openvino.save_model(model, str(path), compress_to_fp16=half)
    return path
