"""Checkpoints in the format of their authors, with random weights, and their predictions."""

import json

import cv2
import numpy as np
import pytest
import torch

from slow import fitting
from tagwise.cli import main

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def published(network, prefix, layers, seed=0):
    """Write a network with non-zero weights as a checkpoint with training state.

    layers: of each stage, the last before its maps, which shall spread by a half.
    """
    torch.manual_seed(seed)
    network.eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                module.weight.normal_(0, 0.7 * (2 / module.weight[0].numel()) ** 0.5)
        for stage, layer in enumerate(layers):
            spread = network(torch.rand(1, 3, 64, 64))[stage].std()
            layer.weight /= 2 * spread
            layer.bias /= 2 * spread
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, "weights.pth")
    return network


def as_higherhrnet_sees(image, short):
    """The network's input (1, 3, H, W) and the way back from points on maps of its size."""
    size = fitting.higherhrnet_size(image.shape[1::-1], short, 1, 1)
    matrix = fitting.higherhrnet_matrix(image.shape[1::-1], size)
    warped = cv2.warpAffine(image, matrix, size) / 255
    inputs = torch.from_numpy(((warped - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    return inputs, lambda points: points @ back[:2, :2].T + back[:2, 2]


def predicted(*arguments):
    """Return the predicted record of photo.png with the weights in weights.pth."""
    assert main(["predict", "photo.png", "--weights", "weights.pth", *arguments]) == 0
    with open("predictions/photo.predictions.json") as file:
        return json.load(file)


def assert_people(record, keypoints, scores):
    """Assert that a record has these people (N, K, 3), best first; missing keypoints score 0."""
    best = np.argsort(-scores)
    keypoints = np.where(keypoints[..., 2:] > 0, keypoints, [np.nan, np.nan, 0])[best]
    found = np.array([each["keypoints"] for each in record["instances"]], np.float64)
    assert found.shape == keypoints.shape
    np.testing.assert_allclose(found[..., :2], keypoints[..., :2], atol=0.011)
    np.testing.assert_allclose(found[..., 2], keypoints[..., 2].clip(0, 1), atol=1e-3)
    wanted = scores[best].clip(0, 1)
    assert [each["score"] for each in record["instances"]] == pytest.approx(wanted, abs=1e-3)
