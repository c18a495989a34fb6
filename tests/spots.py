"""A network without weights and with known results: it detects coloured spots as keypoints."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from tagwise.models.spec import ModelSpec
from tagwise.skeletons import Skeleton
from tagwise.tasks import PoseTask

PIN = Skeleton("pin", ("top", "foot"), ((0, 1),))
SIZE = 128


class SpotNetwork(nn.Module):
    """Red is a top, green a foot, and the share of blue is the tag: spots of one pin share it."""

    stride, multiple = 4, 32

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))  # networks are asked for their device
        self.task = PoseTask(PIN)
        self.spec = ModelSpec("spots", {}, "pose", self.task.to_dict(), (SIZE, SIZE))
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images):
        self.batches.append(tuple(images.shape))
        red, green, blue = avg_pool2d(images, self.stride).split(1, dim=1)
        tag = 6 * blue / (red + green).clamp(min=0.02)
        heatmaps = torch.cat([red - green, green - red], dim=1)
        return {"heatmaps": heatmaps, "tags": torch.cat([tag, tag], dim=1)}


def draw_pins(pins, size=(SIZE, SIZE), sigma=5.0):
    """(H, W, 3) uint8; size is width, height. pins: ((top x, y), (foot x, y), blue in [0, 1])."""
    y, x = np.mgrid[: size[1], : size[0]]
    image = np.zeros((size[1], size[0], 3))
    for top, foot, blue in pins:
        for channel, (cx, cy) in enumerate((top, foot)):
            spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
            colour = np.zeros(3)
            colour[channel], colour[2] = 1, blue
            image = np.maximum(image, spot[..., None] * colour)
    return np.rint(255 * image).astype(np.uint8)


# Two pins that cross: only tags assign the feet.
PINS = (((30.0, 24.0), (90.0, 100.0), 0.0), ((94.0, 30.0), (34.0, 92.0), 1.0))


def pin_points(pins=PINS):
    """(N, 2, 2) x, y of tops and feet."""
    return np.array([[top, foot] for top, foot, _ in pins])


def by_place(keypoints):
    """(N, 2, 3) keypoints with the pins from left to right by their tops."""
    return keypoints[np.argsort(keypoints[:, 0, 0])]
