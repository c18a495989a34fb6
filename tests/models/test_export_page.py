"""The code of docs/export.md runs, in order, in a process without torch."""

import re
import shutil
from pathlib import Path

import pytest
import torch

import without_torch
from tagwise.commands.export import export
from tagwise.models import create_model, save_model
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask

pytest.importorskip("onnx", reason="needs the extra 'export'")
pytest.importorskip("onnxruntime", reason="needs the extra 'export'")

ROOT = Path(__file__).parents[2]


def test_code_of_the_page_runs(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = create_model("small", PoseTask(COCO17, tag_dim=2), width=8, channels=8)
    model.heads["heatmaps"].output.bias.data.fill_(0.5)  # so that there are peaks
    save_model(model, tmp_path / "people.safetensors")
    export(tmp_path / "people.safetensors", out=tmp_path / "people.onnx")
    shutil.copy(ROOT / "examples" / "photos" / "messi5.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    done = without_torch.run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nose [[")
    assert done.stdout.rstrip().endswith(", 17, 3)")
