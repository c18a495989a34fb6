"""A network without weights that detects plain rectangles, with exact corners."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from tagwise.models.spec import ModelSpec
from tagwise.tasks import CornerTask

SIZE = 128


class BlockNetwork(nn.Module):
    """Red is a brick, green a tile; the share of blue is the tag.

    Edges must lie on those of cells, and blocks touch neither each other nor the image's edge.
    """

    stride, multiple = 4, 32

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))  # networks are asked for their device
        self.task = CornerTask(("brick", "tile"))
        self.spec = ModelSpec("blocks", {}, "corners", self.task.to_dict(), (SIZE, SIZE))

    def forward(self, images):
        cells = avg_pool2d(images, self.stride)
        there = (cells[:, :2] > 0.6).float()
        tag = 10 * cells[:, 2:]
        outputs = {}
        for corner, side in (("tl", 1), ("br", -1)):
            left, above = there.roll(side, -1), there.roll(side, -2)
            heat = there * (1 - left) * (1 - above)
            outputs[f"{corner}_heat"] = torch.logit(0.05 + 0.9 * heat)
            outputs[f"{corner}_tag"] = tag
            # the bottom-right corner ends the last cell of a block
            outputs[f"{corner}_off"] = torch.full_like(cells[:, :2], float(corner == "br"))
        return outputs


def draw_blocks(blocks, size=(SIZE, SIZE)):
    """(H, W, 3) uint8; blocks: (x, y, w, h, class, tag in [0, 1])."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, w, h, kind, tag in blocks:
        colour = [0, 0, round(255 * tag)]
        colour[kind] = 255
        image[y : y + h, x : x + w] = colour
    return image


BLOCKS = (
    (8, 16, 24, 40, 0, 0.1),
    (40, 16, 24, 40, 0, 0.5),
    (72, 64, 40, 48, 1, 0.9),
    (16, 72, 16, 16, 0, 0.9),
)
