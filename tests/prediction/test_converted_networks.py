"""Networks are converted for OpenVINO once; those that cannot be run in torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from tagwise import Predictor
from tagwise.models import load_model
from tagwise.models import openvino_convert as converting

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"


def test_network_that_cannot_be_converted_runs_in_torch(empty_cache, tiny, monkeypatch, capsys):
    def fail(network):
        raise RuntimeError("first line\nno such operation")

    monkeypatch.setattr(converting, "_traced", fail)
    predictor = Predictor(tiny, device="cpu")
    assert predictor.runtime == "torch"
    assert len(list(predictor.stream([PHOTO]))) == 1
    said = capsys.readouterr().err
    assert said == "tagwise: OpenVINO cannot run this network: no such operation; torch runs it\n"


def test_graph_with_other_maps_is_not_used(empty_cache, tiny, monkeypatch, capsys):
    traced = converting._traced

    def brighter(network):
        other = load_model(tiny, fuse=True)
        with torch.no_grad():
            other.heads["heatmaps"].output.bias += 0.01
        return traced(other)

    monkeypatch.setattr(converting, "_traced", brighter)
    assert Predictor(tiny, device="cpu").runtime == "torch"
    assert (
        "its heatmaps differ by 0.01, more than rounding explains; torch" in capsys.readouterr().err
    )
    assert not empty_cache.exists()


# ---------------------------------------------------------------------- the cache


def test_conversion_is_done_once(openvino, tiny, monkeypatch):
    first = Predictor(tiny, device="cpu").maps(PHOTO)[0]

    def fail(network):
        raise AssertionError("converted again")

    monkeypatch.setattr(converting, "_traced", fail)
    for name, maps in Predictor(tiny, device="cpu").maps(PHOTO)[0].items():
        assert torch.equal(maps, first[name])


def test_damaged_cache_is_replaced(empty_cache, tiny):
    network = load_model(tiny, fuse=True)
    converting.to_openvino(network, "f32", keep=True)
    (kept,) = empty_cache.iterdir()
    content = kept.read_bytes()
    for damaged in (content[:-5], content[:-1] + b"\1", content[:9], b""):
        kept.write_bytes(damaged)
        assert converting._read(kept) is None
    converting.to_openvino(network, "f32", keep=True)
    assert converting._read(kept) is not None


def test_other_weights_have_another_graph(openvino, tiny):
    network = load_model(tiny, fuse=True)
    before = converting._key(network)
    assert converting._key(load_model(tiny, fuse=True)) == before
    with torch.no_grad():
        network.heads["tags"].output.bias[0] += 1e-3
    assert converting._key(network) != before


def test_cache_that_cannot_be_written(openvino, tiny, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAGWISE_HOME", str(tmp_path / "file"))
    assert Predictor(tiny, device="cpu").runtime == "openvino"
    assert capsys.readouterr().err == ""


def test_cache_keeps_the_last_graphs(empty_cache, openvino, monkeypatch):
    monkeypatch.setattr(converting, "_KEPT", 2)
    for number, name in enumerate("abc"):
        constant = openvino.opset13.constant(np.float32([number]))
        model = openvino.Model([openvino.opset13.relu(constant)], [])
        converting._write(model, empty_cache / f"{name}.graph")
    assert sorted(path.name for path in empty_cache.iterdir()) == ["b.graph", "c.graph"]


def test_openvino_sends_no_data_about_its_use(openvino):
    code = (
        "import sys; from tagwise.models.openvino_graph import need_openvino; need_openvino();"
        "print('openvino' in sys.modules, [n for n in sys.modules if 'openvino_telemetry' in n])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "True []\n"
