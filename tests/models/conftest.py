"""Small tasks and networks shared by the tests of models."""

import pytest
import torch

from tagwise.models import create_model
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask


@pytest.fixture
def pose():
    """People with tags of two components that include the position, and offsets."""
    return PoseTask(COCO17, tag_dim=2, position=24.0, offsets=True)


@pytest.fixture
def corners():
    """Boxes of three classes, with tags that include the position."""
    return CornerTask(["cell", "dish", "rod"], tag_dim=2, position=16.0)


@pytest.fixture
def lively():
    """Sets the statistics of every batch norm of a network to reproducible random values."""

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
