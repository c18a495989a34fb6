"""A GPU that stops working: what was done is kept, and one line says how to continue."""

import json

import pytest
import torch
from PIL import Image

from spots import PINS, SpotNetwork, draw_pins
from tagwise import models
from tagwise.cli import main
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.prediction.lost_devices import DeviceError, is_out_of_memory, lost_devices
from tagwise.prediction.predictor import Predictor

LAUNCH = "CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"
ERRORS = [
    LAUNCH,
    "CUDA error: device-side assert triggered",
    "CUDA driver error: unknown error",
    "no CUDA-capable device is detected",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "HIP error: an illegal memory access was encountered",
    "Triton Error [CUDA]: an illegal memory access was encountered",
    "No CUDA GPUs are available",
]
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


class FailingNetwork(SpotNetwork):
    """Raises an error at and after some image."""

    def __init__(self, last, error):
        super().__init__()
        self.last, self.error = last, error

    def forward(self, images):
        if self.last == 0:
            raise self.error
        self.last -= 1
        return super().forward(images)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.fromarray(draw_pins(PINS)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("text", ERRORS)
def test_errors_of_lost_devices_become_one_line(text):
    with pytest.raises(DeviceError) as raised, lost_devices():
        raise RuntimeError(text)
    assert str(raised.value) == f"the GPU stopped working ({text.splitlines()[0]})"


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: str(error)[:20])
def test_too_little_memory_is_no_lost_device(error):
    assert is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, lost_devices():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("text", [*ERRORS, "shape mismatch", "the disk is out of memory"])
def test_other_errors_are_not_for_lack_of_memory(text):
    assert not is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize("error", NO_MEMORY[1:], ids=lambda error: str(error)[:20])
def test_batches_are_halved_for_any_error_of_too_little_memory(error):
    class Small(SpotNetwork):
        def forward(self, images):
            if len(images) > 2:
                raise error
            return super().forward(images)

    predictor = Predictor(Small(), device="cpu", batch_size=6)
    images = [draw_pins(PINS)] * 6
    assert [len(found) for found in predictor.stream(images)] == [len(PINS)] * 6
    assert predictor.runner.part_size == 2


@pytest.mark.parametrize("error", [*NO_MEMORY[:2], RuntimeError("No CUDA GPUs are available")])
def test_network_that_cannot_be_moved_to_the_gpu_gives_one_line(error):
    class Stuck(SpotNetwork):
        def to(self, device):
            raise error

    with pytest.raises(UserError, match=r"too little memory for the network|stopped working"):
        Predictor(Stuck(), device="cpu")


def test_class_of_newer_versions_of_torch():
    if not hasattr(torch, "AcceleratorError"):
        pytest.skip("this torch has no AcceleratorError")
    with pytest.raises(DeviceError, match=r"stopped working \(anything\)"), lost_devices():
        raise torch.AcceleratorError("anything")


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA error"), RuntimeError("shapes"), ValueError("CUDA error")],
)
def test_other_errors_stay(error):
    with pytest.raises(type(error)) as raised, lost_devices():
        raise error
    assert raised.value is error


def test_stream_yields_what_was_done_before():
    network = FailingNetwork(3, RuntimeError(LAUNCH))
    results = Predictor(network, device="cpu").stream([draw_pins(PINS)] * 6)
    assert [len(next(results)) for _ in range(3)] == [2, 2, 2]
    with pytest.raises(DeviceError, match="the GPU stopped working"):
        next(results)


def test_results_are_kept_and_resume_continues(photos, tmp_path, monkeypatch, capsys):
    network = FailingNetwork(4, RuntimeError(LAUNCH))
    monkeypatch.setattr(models, "load_model", lambda *args, **kwargs: network)
    out = tmp_path / "out"
    command = ["predict", str(photos), "--out", str(out), "--device", "cpu"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        "tagwise: the GPU stopped working (CUDA error: unspecified launch failure) after 4 photos, "
        f"whose results are in {out}; the same command with --resume continues from here, and with "
        "--device cpu it needs no GPU"
    )
    assert len(list(out.glob("*.predictions.json"))) == 4
    network.last = -1
    assert main([*command, "--resume"]) == 0
    assert "6 photos, 12 instances, 4 of the photos from an earlier run" in capsys.readouterr().out
    assert json.loads((out / "5.predictions.json").read_text())["instances"]


def test_runs_without_files_name_another_device(photos):
    network = FailingNetwork(2, RuntimeError(LAUNCH))
    with pytest.raises(DeviceError, match=r"after 2 photos; run the rest on another device"):
        list(predict(photos, network, device="cpu"))
