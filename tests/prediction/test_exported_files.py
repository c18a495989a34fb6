"""Files of `tagwise export` have the same instances in OpenVINO as in onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tagwise import Predictor
from tagwise.commands.export import export
from tagwise.errors import UserError
from tagwise.prediction import runtimes
from tagwise.runtime import has_bf16

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"


@pytest.fixture(scope="module")
def exported(tiny):
    pytest.importorskip("onnx", reason="needs the extra 'export'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    return export(tiny, out=tiny.with_name("tiny.onnx"))


def test_exported_files_have_the_same_instances_in_openvino(openvino, tmp_path):
    """Once mirrored too, which runs on tensors."""
    people = export("people", out=tmp_path / "people.onnx")
    for flip in (False, True):
        fixed = {"conf": 0, "precision": "fp32", "imgsz": 256, "flip": flip}
        ours = Predictor(people, runtime="openvino", **fixed)
        theirs = Predictor(people, runtime="torch", **fixed)
        assert (ours.runtime, theirs.runtime) == ("openvino", "onnxruntime")
        images = [PHOTO, np.full((64, 96, 3), 99, np.uint8)] * 3
        for found, expected in zip(ours.stream(images), map(theirs, images), strict=True):
            assert len(found) == len(expected)
            np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        assert len(ours(PHOTO))


def test_auto_is_openvino_for_exported_files(openvino, tiny, exported, monkeypatch):
    def chosen(**options):
        predictor = Predictor(exported, **options)
        return predictor.runtime, predictor.precision, predictor.runner.most_networks > 1

    if has_bf16():
        computed = Predictor(exported).maps(PHOTO)[0], Predictor(tiny).maps(PHOTO)[0]
        exact = Predictor(exported, precision="fp32").maps(PHOTO)[0]["tags"]
        for maps in computed:
            assert not torch.equal(maps["tags"], exact)
    monkeypatch.setattr("tagwise.runtime.has_bf16", lambda: True)
    assert chosen() == ("openvino", "bf16", True)
    assert chosen(precision="fp32") == ("openvino", "fp32", True)
    assert chosen(runtime="torch") == ("onnxruntime", "fp32", True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert chosen() == ("onnxruntime", "fp32", True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setenv("TAGWISE_RUNTIME", "torch")
    assert chosen() == ("onnxruntime", "fp32", True)
    with pytest.raises(
        UserError, match="onnxruntime runs this file in fp32, not in bf16; use --runtime op"
    ):
        chosen(precision="bf16")
    with pytest.raises(UserError, match="openvino runs this file in fp32 or bf16, not in fp16"):
        chosen(runtime="openvino", precision="fp16")


def test_one_installed_program_runs_exported_files(openvino, exported, monkeypatch):
    def only(*installed):
        def find(name):
            return name if name in installed else None

        monkeypatch.setattr(runtimes, "find_spec", find)
        monkeypatch.setattr("tagwise.models.onnx_model.find_spec", find)

    only("openvino")
    assert Predictor(exported, runtime="torch").runtime == "openvino"  # also for a few photos
    only("onnxruntime")
    assert Predictor(exported).runtime == "onnxruntime"


def test_exported_file_that_openvino_cannot_run(openvino, exported, monkeypatch, capsys):
    def fail(session, *arguments):
        raise ValueError("no such operator")

    monkeypatch.setattr("tagwise.models.onnx_sessions.OpenVinoSession.run", fail)
    assert Predictor(exported).runtime == "onnxruntime"
    told = capsys.readouterr().err
    assert "OpenVINO cannot run" in told
    assert "tiny.onnx, but onnxruntime can (" in told
    assert "no such operator" in told
    with pytest.raises(UserError, match="no such operator"):
        Predictor(exported, runtime="openvino")


def test_damaged_exported_file_has_one_error(openvino, exported, tmp_path, capsys):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:-5000])
    for options in ({}, {"runtime": "openvino"}):
        with pytest.raises(UserError, match=r"damaged\.onnx is not a readable ONNX file"):
            Predictor(damaged, **options)
    assert not capsys.readouterr().err
