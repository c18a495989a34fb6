"""The cards of the shipped models and the README say what `make models` measured."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tagwise.data import SyntheticShapes
from tagwise.models import load_model, shipped_models
from tagwise.models.shipped import shipped_file

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))  # the scripts import each other
_spec = importlib.util.spec_from_file_location("benchmark_of_models", FOLDER / "models.py")
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)
_bench, _cards = (sys.modules[name] for name in ("_bench", "_cards"))
FIGURES = _cards.read_figures()
every_model = pytest.mark.parametrize("name", shipped_models())


@every_model
def test_the_figures_are_those_of_the_shipped_weights(name):
    digest = hashlib.sha256(shipped_file(name).read_bytes()).hexdigest()
    assert FIGURES[name]["sha256"] == digest, f"{name} has other weights: run make models DATA="


@every_model
def test_cards_agree_with_the_figures(name):
    text = (_cards.CARDS / f"{name}.md").read_text(encoding="utf-8")
    assert _cards.block_of(text) == _cards.card_block(name, FIGURES[name])


def test_the_readme_agrees_with_the_figures():
    text = (_cards.ROOT / "README.md").read_text(encoding="utf-8")
    assert _cards.block_of(text) == _cards.readme_table(FIGURES)
    assert set(FIGURES) == set(_cards.MODELS) == set(shipped_models())


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    names = {"disc": "RBC", "star": "WBC", "ellipse": "Platelets"}
    shapes = SyntheticShapes(tuple(names), 2, size=(96, 96), count=(2, 4), radius=(8, 20))
    (data / "blood").mkdir()
    content = json.loads(shapes.save(data / "blood").read_text())
    for category in content["categories"]:
        category["name"] = names[category["name"]]
    (data / "blood" / "val.json").write_text(json.dumps(content))
    return data


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["models.py", *map(str, arguments)])
    script.main()


def test_a_model_is_measured_once_and_again_if_asked(monkeypatch, cells, tmp_path, capsys):
    monkeypatch.setattr(_bench, "OUT", tmp_path)
    run(monkeypatch, cells, "--quick", "--only", "blood")
    found = json.loads((tmp_path / "figures.json").read_text())["blood"]
    network = load_model("blood")
    assert found["parameters"] == sum(p.numel() for p in network.parameters())
    assert found["macs"] == pytest.approx(multiply_adds(network, (416, 320)), rel=1e-6)
    assert found["images"] == 2
    assert list(found["rows"])[:3] == ["as shipped", "at 512 pixels", "with `--flip`"]
    assert len(found["rows"]) == 3 + len(network.task.oracles)
    assert found["ms"]["fp32"] > 0
    assert "| as shipped |" in _cards.card_block("blood", found)
    capsys.readouterr()
    run(monkeypatch, cells, "--quick", "--only", "blood")
    assert "blood: measured already" in capsys.readouterr().out


def multiply_adds(network, size):
    """Counted by hooks on the convolutions, of which these networks consist."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        kernel = module.weight[0].numel()  # channels of a group × height × width
        each = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += each.numel() * kernel

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    with torch.inference_mode():
        network(torch.zeros(1, 3, size[1], size[0]))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize(("held", "told"), [(0.021, "2.1 %"), (None, "not measured")])
def test_cards_of_calibrated_models_state_the_error_in_cross_validation(held, told):
    reliability = {**FIGURES["blood"]["reliability"], "calibrated": True, "held": held}
    text = _cards.card_block("blood", {**FIGURES["blood"], "reliability": reliability})
    assert f"calibration error is {told} in five-fold cross-validation" in text


def test_missing_data_are_named(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, "--quick", "--only", "bees")
    assert "bees/train.json; give the folder" in capsys.readouterr().err


def test_a_block_is_replaced_between_its_markers_only():
    text = f"before\n{_cards.BEGIN}\nold\n{_cards.END}\nafter"
    assert _cards.replaced(text, "new", "a.md") == text.replace("old", "new")
    assert _cards.block_of(_cards.replaced(text, "new\nlines", "a.md")) == "new\nlines"
    with pytest.raises(SystemExit, match=r"a\.md needs the lines"):
        _cards.replaced("no markers", "new", "a.md")
