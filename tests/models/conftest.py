"""Small tasks and networks that the tests of models share."""

import pytest
import torch

from tagwise.models import create_model
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask


@pytest.fixture
def pose():
    """People with two-component tags that start from their place, and offsets."""
    return PoseTask(COCO17, tag_dim=2, position=24.0, offsets=True)


@pytest.fixture
def corners():
    """Boxes of three classes, with tags that start from their place."""
    return CornerTask(["cell", "dish", "rod"], tag_dim=2, position=16.0)


@pytest.fixture
def lively():
    """Gives every batch norm of a network statistics that matter, reproducibly."""

    def enliven(model, seed=0):
        generator = torch.Generator().manual_seed(seed)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.running_mean, -0.2, 0.2),
                    (module.running_var, 0.5, 2.0),
                    (module.weight.data, 0.5, 1.5),
                    (module.bias.data, -0.2, 0.2),
                ):
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
        return model.eval()

    return enliven


@pytest.fixture
def network(pose, lively):
    """The smallest network that has every part."""
    torch.manual_seed(0)
    return lively(create_model("efficientnet_lite0", pose, channels=16, tag_channels=16))
