"""Files that are not checkpoints, and checkpoints that other functions should read."""

import os
import pathlib
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tagwise.commands.convert import convert
from tagwise.errors import UserError
from tagwise.models.create import create_model
from tagwise.models.load import load_model
from tagwise.models.model_file import save_model
from tagwise.published.checkpoints import read_tensors
from tagwise.published.pickles import scan_pickle, unknown_names
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask


@pytest.fixture(scope="module")
def network():
    return create_model("small", PoseTask(COCO17), input_size=(64, 64))


def test_training_state_error_names_the_model_next_to_it(tmp_path, network):
    state = network.state_dict()
    saved = {"step": 3, "best": 0.5, "model": state, "average": state, "optimizer": {}}
    torch.save({**saved, "random": torch.get_rng_state()}, tmp_path / "last.pt")
    for use in (
        load_model,
        convert,
        lambda path: create_model("hrnet_w32", PoseTask(COCO17), path),
    ):
        with pytest.raises(UserError, match=r"training state.*model is written at the end"):
            use(str(tmp_path / "last.pt"))
    save_model(network, tmp_path / "best.safetensors")
    with pytest.raises(UserError, match=r"the model is .*best\.safetensors$"):
        load_model(tmp_path / "last.pt")
    save_model(network, tmp_path / "last.safetensors")
    with pytest.raises(UserError, match=r"best\.safetensors or .*last\.safetensors$"):
        load_model(tmp_path / "last.pt")


def test_tagwise_model_file_needs_no_conversion(tmp_path, network):
    path = tmp_path / "mine.safetensors"
    save_model(network, path)
    with pytest.raises(UserError, match=r"already a tagwise model file: use it with --weights"):
        convert(path)
    path.rename(tmp_path / "mine.pth")
    for use in (load_model, convert):
        with pytest.raises(UserError, match=r"rename it so that it ends in \.safetensors"):
            use(tmp_path / "mine.pth")


def test_safetensors_under_another_name_are_read(tmp_path):
    save_file({"module.weight": torch.ones(2)}, tmp_path / "weights.bin")
    assert read_tensors(tmp_path / "weights.bin")["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_saved_by_training_programs_are_known(tmp_path, zipped):
    """Checkpoints of optimisers, schedulers, numbers and strings contain only allowed names."""
    layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimiser = torch.optim.AdamW(layer.parameters(), amsgrad=True)
    layer(torch.rand(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 5])
    content = {
        "state_dict": layer.state_dict(),
        "parameters": list(layer.parameters()),
        "optimizer": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "half": {n: v.half() for n, v in layer.state_dict().items()},
        "bf16": torch.ones(3, dtype=torch.bfloat16),
        "device": torch.device("cpu"),
        "type": torch.float16,
        "size": torch.Size([1, 2]),
        "numbers": [1, -5, 3.5, True, None, 2**70, "Fuß", {4}, (1, (2, (3,))), 1j],
        "random": torch.get_rng_state(),
    }
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    assert set(read_tensors(tmp_path / "c.pth")) == set(layer.state_dict())


def test_deeply_nested_tuples_are_refused(tmp_path):
    def nested(depth):
        value = 1
        for _ in range(depth):
            value = (value,)
        return value

    for depth, fits in ((90, True), (110, False)):
        with (tmp_path / "p").open("wb") as file:
            pickle.dump({nested(depth): 1}, file, protocol=2)
        with (tmp_path / "p").open("rb") as file:
            if fits:
                assert scan_pickle(file) == set()
            else:
                with pytest.raises(ValueError, match="nested more deeply"):
                    scan_pickle(file)


def test_names_are_those_that_the_pickle_calls(tmp_path):
    with (tmp_path / "p").open("wb") as file:
        pickle.dump([print, torch.float32, pathlib.Path("a"), torch.ones], file, protocol=2)
    with (tmp_path / "p").open("rb") as file:
        names = scan_pickle(file)
    assert {"builtins.print", "pathlib.PosixPath", "torch.float32"} <= names
    assert "torch.float32" not in unknown_names(names)
    assert "pathlib.PosixPath" not in unknown_names(names)
    assert "builtins.print" in unknown_names(names)


def test_archive_that_would_exhaust_memory_is_not_unpacked(tmp_path):
    torch.save({"weight": torch.zeros(100 << 18)}, tmp_path / "sound.pth")
    with (
        zipfile.ZipFile(tmp_path / "sound.pth") as source,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    assert (tmp_path / "small.pth").stat().st_size < 200_000
    with pytest.raises(UserError, match="would unpack to far more than its size"):
        read_tensors(tmp_path / "small.pth")
    assert read_tensors(tmp_path / "sound.pth")["weight"].numel() == 100 << 18


def test_weights_must_be_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.safetensors").mkdir()
    for use in (load_model, convert):
        with pytest.raises(UserError, match=r"pipe\.pth is a pipe, not a file"):
            use(tmp_path / "pipe.pth")
        with pytest.raises(UserError, match=r"folder\.safetensors is a folder"):
            use(tmp_path / "folder.safetensors")
        for name in ("a" * 5000 + ".pth", "a\0b.pth"):
            with pytest.raises(UserError, match=r"does not exist|cannot read|is not a valid"):
                use(name)
