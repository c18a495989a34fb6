"""Checkpoints as their authors write them, with random weights."""

import json

import numpy as np
import torch

from tagwise.cli import main

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def published(network, prefix, layers, seed=0):
    """The network with lively weights, written as a checkpoint with training state beside.

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


def predicted(*arguments):
    assert main(["predict", "photo.png", "--weights", "weights.pth", *arguments]) == 0
    with open("predictions/photo.predictions.json") as file:
        return json.load(file)
