import importlib
import inspect
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from spots import PIN
from tagwise import cli
from tagwise.cli import main
from tagwise.console import arguments
from tagwise.errors import UserError
from tagwise.models import create_model, load_model, save_model, shipped_models
from tagwise.models.hourglass import StackedHourglass
from tagwise.prediction.run import PredictRun
from tagwise.skeletons import COCO17
from tagwise.tasks import PoseTask


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small real model file that detects a few keypoints in any image."""
    torch.manual_seed(0)
    task = PoseTask(PIN)
    model = create_model("efficientnet_lite0", task, input_size=(64, 64))
    with torch.no_grad():
        model.heads["heatmaps"].output.bias += 0.5
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(model, path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for name in ("one.jpg", "two.png"):
        noise = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def tagwise(*arguments, **options):
    """Run the program in a process of its own."""
    command = [sys.executable, "-m", "tagwise", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, **options
    )


def test_predict_writes_results_and_reports_broken_photos(photos, weights):
    (photos / "broken.jpg").write_bytes(b"not a photo")
    ran = tagwise("predict", "photos", "--weights", weights, "--threshold", 0, "--device", "cpu")
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "broken.jpg" in ran.stderr
    assert ran.stdout.startswith("2 photos, ")
    written = {path.name for path in (photos.parent / "predictions").glob("[!.]*")}
    names = {f"{n}.predictions.{suffix}" for n in ("one", "two") for suffix in ("json", "jpg")}
    assert written == names
    record = json.loads((photos.parent / "predictions" / "one.predictions.json").read_text())
    assert record["image"] == {"file": "photos/one.jpg", "width": 80, "height": 60}
    assert record["keypoints"] == ["top", "foot"]
    assert record["instances"]


def test_full_disk_gives_one_line_and_no_partial_file(photos, weights):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ran = tagwise("predict", "photos", "--weights", weights, preexec_fn=small_files_only)
    assert ran.returncode == 2
    assert ran.stderr.startswith("tagwise: cannot write predictions")
    assert ran.stderr.count("\n") == 1
    assert not list((photos.parent / "predictions").glob("[!.]*"))
    assert not list((photos.parent / "predictions").glob("*.partial"))


def test_help_imports_nothing_heavy():
    """A benchmark measures the time; it depends on these imports."""
    code = (
        "import sys, tagwise.cli\n"
        "try: tagwise.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'matplotlib', 'numba', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"
    for verb in cli.VERBS:
        assert verb in ran.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_of_every_verb_has_an_example(verb, capsys):
    text = help_of(verb, capsys)
    assert f"$ tagwise {verb} " in text
    writes = verb not in ("models", "serve", "completion")
    assert ("--out" in text) == writes


def test_every_documented_verb_exists():
    root = Path(__file__).parents[1]
    text = "\n".join(page.read_text() for page in [root / "README.md", *root.glob("docs/*.md")])
    commands = "\n".join(text.split("```")[1::2])
    written = set(re.findall(r"^tagwise ([a-z]+)", commands, re.MULTILINE))
    written |= set(re.findall(r"`tagwise ([a-z]+)", text))
    assert {"predict", "train", "eval", "convert"} <= written
    assert written <= set(cli.VERBS)


def test_convert_writes_a_model_file(tmp_path, capsys):
    network = StackedHourglass(17, 1, 32, 16)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "theirs.pth")
    assert main(["convert", str(tmp_path / "theirs.pth"), "--skeleton", "coco"]) == 0
    assert capsys.readouterr().out == f"the model is in {tmp_path / 'theirs.safetensors'}\n"
    assert load_model(tmp_path / "theirs.safetensors").task.skeleton == COCO17


def test_exported_model_predicts(photos, weights, capsys):
    pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    assert main(["export", str(weights), "--out", "tiny.onnx"]) == 0
    assert capsys.readouterr().out == "the model is in tiny.onnx\n"
    assert main(["predict", "photos", "--weights", "tiny.onnx", "--out", "found"]) == 0
    assert capsys.readouterr().out.startswith("2 photos, ")


def help_of(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_argument_is_explained(verb, capsys, monkeypatch):
    """Help has a text for each argument, and the docstring lists only arguments that exist."""
    monkeypatch.setenv("COLUMNS", "1000")  # so that no line is wrapped
    function, text = cli.VERBS[verb], help_of(verb, capsys)
    own = dict(re.findall(r"\n {8}(\w+): (.*)", function.__doc__))
    hints = get_type_hints(function, include_extras=True)
    for name in inspect.signature(function).parameters:
        marks = getattr(hints[name], "__metadata__", ())
        shared = [mark.help for mark in marks if getattr(mark, "help", None)]
        explained = [own.pop(name)] if name in own else shared
        assert len(explained) == 1, name
        assert explained[0] in text, name
    assert not own


def test_help_names_the_models_that_ship():
    named = re.search(r'metavar="([\w|]+)\|PATH"', Path(arguments.__file__).read_text())[1]
    assert set(named.split("|")) == set(shipped_models())


@pytest.mark.parametrize("verb", ["predict", "eval", "track", "plot"])
def test_help_names_every_form_of_weights(verb, capsys):
    text = help_of(verb, capsys)
    for form in ("comes with tagwise", "public one", ".safetensors", ".onnx", "published"):
        assert form in text


def test_help_mentions_poses_boxes_and_masks(capsys):
    for verb in ("--help", "predict", "eval"):
        text = " ".join(help_of(verb, capsys).split())
        for result in ("poses", "boxes", "masks"):
            assert result in text, verb


@pytest.mark.parametrize("verb", [verb for verb in cli.VERBS if verb != "completion"])
def test_verb_has_the_arguments_of_its_function(verb):
    """Names and defaults are those of the Python function, so that users learn them once."""
    name = {"eval": "evaluate"}.get(verb, verb)
    module = importlib.import_module(f"tagwise.commands.{name}")
    name = {"models": "list_models"}.get(verb, name)
    function = inspect.signature(getattr(module, name)).parameters
    arguments = inspect.signature(cli.VERBS[verb]).parameters
    # A bar or a table is shown on the command line, and no results are kept; settings are objects.
    # Older names are aliases there.
    absent = {"progress", "quiet", "settings", "stream", "older"}
    assert set(function) - set(arguments) <= absent
    for argument in arguments.values():
        same = function[argument.name]
        # The command line writes files; Python does on request. The words of a plot name both.
        apart = {("predict", "out"), ("track", "out"), ("plot", "source"), ("plot", "what")}
        if (verb, argument.name) not in apart:
            assert argument.default == same.default or same.default is same.empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere.jpg"], "no such file or folder: nowhere.jpg"),
        (["predict"], "no image to predict from"),
        (["predict", "photos", "--weights", "peeple"], "unknown weights 'peeple'"),
        (["predict", "photos", "--weights", "no.safetensors"], "no.safetensors"),
        (["predict", "photos", "--device", "cuda:77", "--weights", "W"], "use --device cpu"),
        (["predict", "photos", "--coco", "no.json", "--weights", "W"], "no.json"),
        (["plot"], "needs a photo"),
        (["train", "no.yaml"], "no.yaml"),
        (["convert", "no.pth"], "no such checkpoint: no.pth"),
        (["export", "no.safetensors"], "no.safetensors does not exist"),
        (["predcit", "a.jpg"], "unknown verb 'predcit'; did you mean 'predict'?"),
        (["train", "robots.yaml"], "`tagwise train robots.yaml --copy` copies it here"),
        (["train", "robot.yaml", "--copy"], "did you mean 'robots.yaml'?"),
        (["train", "robots.yaml", "--copy", "--optim.steps", "5"], "recipe alone"),
    ],
)
def test_invalid_input_gives_one_line_and_exit_code_2(photos, weights, arguments, message, capsys):
    arguments = [str(weights) if argument == "W" else argument for argument in arguments]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("tagwise: ")
    assert told.count("\n") == 1
    assert message in told


@pytest.mark.parametrize("arguments", [["--fliip"], ["predict", "a.jpg", "--fliip"], ["eval"]])
def test_wrong_arguments_end_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "tagwise" in capsys.readouterr().err


def test_debug_shows_the_traceback(photos):
    with pytest.raises(UserError):
        main(["predict", "nowhere.jpg", "--debug"])


def test_help_is_printed_without_arguments(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "predict" in capsys.readouterr().out


def test_version_is_printed(capsys):
    from tagwise import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tagwise {__version__}\n"


def test_help_shows_the_version_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "tagwise --version" in capsys.readouterr().out


def test_copy_of_a_recipe_replaces_no_file(photos, capsys):
    Path("bees.yaml").write_text("mine")
    assert main(["train", "bees", "--copy"]) == 2
    assert "bees.yaml exists in this folder already" in capsys.readouterr().err
    assert Path("bees.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("pre", "predict"), ("train --res", "--resume"), ("eval --style c", "crowdpose")],
)
def test_bash_completes_verbs_options_and_choices(typed, offered, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["completion", "bash"])
    assert ended.value.code in (0, None)
    script = tmp_path / "tagwise"
    script.write_text(capsys.readouterr().out)
    words = ["tagwise", *typed.split()]
    ask = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
    ask += 'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; '
    ask += "_tyro_tagwise; echo ${COMPREPLY[@]}"
    ran = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert offered in ran.stdout.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_with_every_verb(shell, capsys):
    with pytest.raises(SystemExit):
        main(["completion", shell])
    script = capsys.readouterr().out
    assert "_tyro_tagwise" in script
    assert all(f"'{verb}'" in script for verb in cli.VERBS)


def test_interrupted_run_says_how_to_continue(photos, weights, monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PredictRun, "finish", interrupt)
    assert main(["predict", "photos", "--weights", str(weights)]) == 130
    assert "--resume" in capsys.readouterr().err


def test_train_accepts_overrides_of_the_recipe(monkeypatch, capsys):
    passed = {}
    monkeypatch.setattr(cli.tagwise, "train", lambda **given: passed.update(given))
    main(["train", "r.yaml", "--optim.lr", "1e-3", "--resume", "--data.root=x y", "--out", "runs"])
    assert str(passed["recipe"]) == "r.yaml"
    assert str(passed["out"]) == "runs"
    assert passed["resume"] is True
    assert list(passed["overrides"]) == ["optim.lr=1e-3", "data.root=x y"]
