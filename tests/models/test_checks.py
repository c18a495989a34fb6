import pytest
import torch

from tagwise.errors import UserError
from tagwise.models import create_model, load_model, save_model
from tagwise.models.checks import check_run, check_weights
from tagwise.skeletons import Skeleton
from tagwise.tasks import PoseTask


@pytest.fixture
def network():
    task = PoseTask(Skeleton("fox", ("nose", "tail")), tag_dim=2)
    return create_model("small", task, input_size=(64, 64), width=8, channels=8).eval()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["heads.tags.output.weight", "std", "trunk.smooth.p4.norm.bias"])
def test_weights_that_are_not_finite_are_named(network, tmp_path, name, value):
    with torch.no_grad():
        network.state_dict()[name].view(-1)[1] = value
    for half in (True, False):
        save_model(network, tmp_path / "fox.safetensors", half=half)
        with pytest.raises(
            UserError, match=r"fox\.safetensors has NaN or infinite.*1 of"
        ) as caught:
            load_model(tmp_path / "fox.safetensors")
        assert name in str(caught.value)
        with pytest.raises(UserError, match="NaN or infinite"):
            create_model(
                "small", network.task, str(tmp_path / "fox.safetensors"), **network.spec.options
            )


def test_large_weights_are_finite():
    check_weights({"a": torch.full((9,), 3e38), "b": torch.tensor(2)}, "x")


def test_a_negative_variance_is_found_by_a_run(network, tmp_path):
    network.state_dict()["trunk.smooth.p4.norm.running_var"].fill_(-1)
    save_model(network, tmp_path / "fox.safetensors")
    with pytest.raises(UserError, match=r"fox\.safetensors contains a network that cannot run"):
        load_model(tmp_path / "fox.safetensors")


def test_maps_that_the_task_does_not_have_are_found(network):
    check_run(network, "fox")
    network.task = PoseTask(Skeleton("fox", ("nose", "ear", "tail")), tag_dim=2)
    with pytest.raises(UserError, match=r"map heatmaps has the shape .* 3 channels expected"):
        check_run(network, "fox")
    network.task = PoseTask(Skeleton("fox", ("nose", "tail")), tag_dim=2, offsets=True)
    with pytest.raises(UserError, match="it has no map offsets"):
        check_run(network, "fox")
