"""OpenVINO runs networks with the maps of torch; half precision holds the weights in half."""

import builtins
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from small_runs import FIGURE
from tagwise import Predictor
from tagwise.cli import main
from tagwise.errors import UserError
from tagwise.models import load_model, shipped_models
from tagwise.models import openvino_convert as converting
from tagwise.models.checks import TOLERANCE
from tagwise.prediction import runtimes
from tagwise.runtime import (
    can_share_threads,
    fastest_precision,
    share_threads,
    sharing_threads,
)

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"


def assert_same(found, expected):
    for name, maps in expected.items():
        assert (found[name] - maps).abs().max() <= TOLERANCE * maps.abs().max()


# ---------------------------------------------------------------------- the same maps


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_have_the_maps_of_torch(openvino, name):
    options = {"size": 128, "precision": "fp32", "threshold": 0.05, "device": "cpu"}
    ours = Predictor(name, runtime="openvino", **options)
    theirs = Predictor(name, runtime="torch", **options)
    assert (ours.runtime, theirs.runtime) == ("openvino", "torch")
    found, expected = ours.maps(PHOTO)[0], theirs.maps(PHOTO)[0]
    assert_same(found, expected)
    assert len(ours(PHOTO)) == len(theirs(PHOTO))


def test_more_shapes_than_graphs(openvino, tiny):
    """The first shapes have graphs of their own; the others share one."""
    network = load_model(tiny, fuse=True)
    converted = converting.to_openvino(network, "f32", keep=True)
    for number in range(1, 8):
        images = torch.rand(1 + number % 2, 3, 32 * number, 64)
        with torch.inference_mode():
            assert_same(converted(images), network(images))
    graphs = converted._graph._compiled.values()
    assert len(graphs) == 7
    assert len({id(graph) for graph in graphs}) == 5


def test_half_precision_is_near(openvino, tiny):
    plain = Predictor(tiny, runtime="torch", precision="fp32", device="cpu").maps(PHOTO)[0]
    half = Predictor(tiny, runtime="openvino", precision="bf16", device="cpu").maps(PHOTO)[0]
    for name, maps in plain.items():
        assert half[name].dtype == torch.float32
        assert (half[name] - maps).abs().max() < 0.05 * maps.abs().max()


def test_threads_may_share_a_predictor(openvino, tiny):
    from concurrent.futures import ThreadPoolExecutor

    predictor = Predictor(tiny, runtime="openvino", precision="fp32", threshold=0, device="cpu")
    images = [np.full((64, 32 * n, 3), 9 * n, np.uint8) for n in range(1, 5)] * 4
    expected = [predictor(image).to_dict() for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert [found.to_dict() for found in pool.map(predictor, images)] == expected


def test_threads_that_end_leave_nothing_behind(openvino, tiny):
    """What ran a graph in one thread runs it in the next one."""
    from concurrent.futures import ThreadPoolExecutor

    converted = converting.to_openvino(load_model(tiny, fuse=True), "f32", keep=True)
    images = torch.rand(1, 3, 32, 64)
    expected = converted(images)
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            assert_same(pool.submit(converted, images).result(), expected)
    assert [len(idle) for idle in converted._graph._idle.values()] == [1]


# ---------------------------------------------------------------------- several at once


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_networks_that_run_at_the_same_time_find_the_same(openvino, tiny, monkeypatch, runtime):
    predictor = Predictor(tiny, runtime=runtime, precision="fp32", threshold=0, device="cpu")
    images = [np.full((64, 32 * n, 3), 9 * n, np.uint8) for n in range(1, 8)] * 4
    expected = [predictor(image) for image in images]
    assert all(map(len, expected))
    monkeypatch.setattr(
        "tagwise.prediction.predictor.thread_counts",
        lambda on_cpu, most: {"readers": 2, "decoders": 2, "networks": min(most, 3)},
    )
    for found, alone in zip(predictor.stream(images), expected, strict=True):
        np.testing.assert_allclose(found.keypoints, alone.keypoints, atol=1e-3)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)


def test_only_small_networks_of_files_run_at_the_same_time(openvino, tiny, monkeypatch):
    def is_parallel(weights, **options):
        return Predictor(weights, device="cpu", **options).runner.most_networks > 1

    assert is_parallel(tiny)
    assert is_parallel(tiny, runtime="torch")
    assert not is_parallel(load_model(tiny))  # its owner may have added hooks
    monkeypatch.setattr(runtimes, "_SMALL", 1000)
    assert not is_parallel(tiny)


@pytest.mark.parametrize(
    ("options", "networks"),
    [
        ({"imgsz": (512, 384)}, 8),
        ({"imgsz": (1280, 960)}, 3),
        ({"imgsz": (640, 480), "scales": (1, 2)}, 3),
        ({"imgsz": (512, 384), "batch_size": 16}, 1),
        ({"imgsz": (4096, 4096)}, 1),
    ],
)
def test_large_inputs_run_in_fewer_threads(tiny, options, networks):
    """Each network that runs has the maps of its images in memory."""
    assert (
        Predictor(tiny, device="cpu", runtime="torch", **options).runner.most_networks == networks
    )


def test_threads_that_share_have_their_part_of_the_threads():
    from concurrent.futures import ThreadPoolExecutor

    before = torch.get_num_threads()
    if not can_share_threads():
        pytest.skip("this torch has no OpenMP whose threads could be shared")
    assert torch.get_num_threads() == before  # asking changes nothing

    def shared(number):
        share_threads(number)
        return torch.get_num_threads(), sharing_threads()

    torch.set_num_threads(6)
    try:
        for number, expected in ((2, 3), (4, 1), (9, 1)):
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(shared, number).result() == (expected, number)
        assert torch.get_num_threads() == 6
        assert sharing_threads() == 1
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------------- which one runs


def test_auto_is_openvino_for_model_files(openvino, tiny, monkeypatch):
    def chosen(weights, **options):
        return Predictor(weights, device="cpu", **options).runtime

    assert chosen(tiny) == "openvino"
    assert chosen(tiny, precision="fp16") == "torch"
    assert chosen(load_model(tiny)) == "torch"  # its owner may go on training it
    assert chosen("blood") == "torch"  # no faster for corner pooling
    monkeypatch.setenv("TAGWISE_RUNTIME", "torch")
    assert chosen(tiny) == "torch"
    monkeypatch.setenv("TAGWISE_RUNTIME", "onnx")
    with pytest.raises(UserError, match="unknown TAGWISE_RUNTIME 'onnx'"):
        chosen(tiny)


def test_auto_is_torch_where_only_onednn_is_limited(openvino, tiny, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert Predictor(tiny, device="cpu").runtime == "torch"


def test_auto_is_torch_without_openvino(openvino, tiny, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert Predictor(tiny, device="cpu").runtime == "torch"
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.partition(".")[0] == "openvino":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("tagwise.errors.import_module", missing)
    with pytest.raises(UserError, match=r"runtime openvino needs openvino: pip install .*openvino"):
        Predictor(tiny, device="cpu", runtime="openvino")


def test_a_few_photos_do_not_start_openvino():
    few = runtimes.LEAST_PHOTOS - 1
    assert runtimes.runtime_for("auto", "people", few) == "torch"
    assert runtimes.runtime_for("auto", "people", few + 1) == "auto"
    assert runtimes.runtime_for("auto", "people", None) == "auto"
    assert runtimes.runtime_for("openvino", "people", 1) == "openvino"
    assert runtimes.runtime_for("auto", "people.onnx", 1) == "auto"  # always the same precision


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnx"}, "unknown runtime 'onnx'.*auto, openvino, torch"),
        ({"runtime": "openvino", "precision": "fp16"}, "openvino runs in fp32 or bf16, not in fp"),
    ],
)
def test_bad_runtimes(openvino, tiny, options, message):
    with pytest.raises(UserError, match=message):
        Predictor(tiny, device="cpu", **options)


def test_precision_of_a_file_does_not_ask_torch(monkeypatch):
    """onnxruntime may run it on a GPU where torch is missing, or knows no GPU."""
    file = SimpleNamespace(runtime="onnxruntime", precisions=("fp32",))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert runtimes.choose_precision(file, "auto", "cuda", exact=False) == "fp32"
    with pytest.raises(UserError, match=r"onnxruntime runs this file in fp32, not in bf16$"):
        runtimes.choose_precision(file, "bf16", "cuda", exact=False)


def test_openvino_runs_on_the_cpu_alone():
    with pytest.raises(UserError, match="runs on the CPU, not on cuda; use --device cpu"):
        runtimes._check_openvino(torch.device("cuda"), "fp32")
    with pytest.raises(UserError, match="runs on the CPU, not on cuda:1; use --device cpu"):
        runtimes.runtime_of_file("openvino", "cuda:1")


@pytest.mark.parametrize("verb", ["predict", "eval", "track"])
def test_runtime_of_the_command_line(openvino, tiny, tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    labels = {
        "images": [{"id": 1, "file_name": "messi5.jpg", "width": 548, "height": 342}],
        "categories": [{"id": 1, **FIGURE.to_coco()}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81}
            | {"keypoints": [2, 2, 2, 8, 8, 2] * 2, "iscrowd": 0}
        ],
    }
    Path("labels.json").write_text(json.dumps(labels))
    arguments = {
        "predict": [str(PHOTO)],
        "eval": ["--annotations", "labels.json", "--images", str(PHOTO.parent), "--out", "a.json"],
        "track": [str(PHOTO.parent)],
    }[verb]
    options = ["--weights", str(tiny), "--device", "cpu", "--precision", "fp32"]
    assert main([verb, *arguments, *options, "--runtime", "openvino"]) == 0
    assert capsys.readouterr().err.count("torch runs it") == 0
    if verb == "eval":
        assert json.loads(Path("a.json").read_text())["settings"]["runtime"] == "openvino"


# ---------------------------------------------------------------------- half precision in torch


@pytest.mark.parametrize("name", ["tiny", "nuclei"])
def test_weights_held_in_half_precision_give_the_same_maps(tiny, name):
    """Autocast rounds the weights in the same way, image after image."""
    weights = tiny if name == "tiny" else name
    predictor = Predictor(weights, device="cpu", precision="bf16", runtime="torch", size=128)
    types = {m.weight.dtype for m in predictor.model.modules() if isinstance(m, nn.Conv2d)}
    assert types == {torch.bfloat16}
    plain = load_model(weights, fuse=True)
    images = torch.randint(0, 256, (2, 3, 96, 64), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain(images / 255)
    with torch.inference_mode():
        found = predictor.runner.forward(images)
    for key, maps in expected.items():
        assert torch.equal(found[key], maps)


def test_weights_of_a_given_network_stay(tiny):
    network = load_model(tiny)
    Predictor(network, device="cpu", precision="bf16")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16")]
)
def test_half_precision_of_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest_precision(torch.device("cuda")) == expected
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert fastest_precision(torch.device("cuda")) == "fp32"
