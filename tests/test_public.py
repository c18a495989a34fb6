"""The public names of the package: lazy, typed, and listed by `help(tagwise)`."""

import ast
import inspect
import json
import pydoc
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import tagwise

SOURCE = Path(tagwise.__file__).parents[1]
SCRIPT = Path(__file__).parent / "typed" / "user_script.py"
PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "messi5.jpg"


@pytest.mark.parametrize("name", tagwise.__all__)
def test_public_names_resolve(name):
    assert getattr(tagwise, name) is not None
    assert name in dir(tagwise)


def test_type_checkers_find_the_same_names():
    """The imports under TYPE_CHECKING give the objects that resolve at run time."""
    tree = ast.parse(Path(tagwise.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {}
    for node in block.body:
        for alias in node.names:
            module = import_module(node.module)
            if not hasattr(module, alias.name):
                import_module(f"{node.module}.{alias.name}")
            told[alias.name] = getattr(module, alias.name)
    assert told == {name: getattr(tagwise, name) for name in tagwise.__all__}


def test_verbs_are_functions_even_after_their_modules_were_imported():
    code = (
        "import importlib, tagwise\n"
        "for verb in ('predict', 'track', 'train', 'evaluate', 'convert', 'export', 'serve'):\n"
        "    importlib.import_module(f'tagwise.commands.{verb}')\n"
        "    assert callable(getattr(tagwise, verb)), verb"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, tagwise; heavy = {'torch', 'numpy', 'cv2', 'numba', 'scipy', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'peeple'"):
        _ = tagwise.peeple


# ---------------------------------------------------------------------- help


def examples():
    """The indented blocks of the package's docstring, as code."""
    paragraphs = re.split(r"\n(?=\S)", tagwise.__doc__)
    blocks = [re.findall(r"(?:\n {4}.*|\n)+", "\n" + each) for each in paragraphs]
    code = [textwrap.dedent(block).strip() for found in blocks for block in found]
    return [block for block in code if block]


def test_help_begins_with_three_examples():
    text = pydoc.render_doc(tagwise, renderer=pydoc.plaintext)
    start = text.index("DESCRIPTION")
    for example in examples():
        place = text.index(textwrap.indent(example, " " * 8).splitlines()[0], start)
        assert place < text.index("PACKAGE CONTENTS")
    assert len(examples()) == 3


def test_docstring_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for copy in ("photos/one.jpg", "photo.jpg"):
        shutil.copy(PHOTO, copy)
    generator = torch.Generator().manual_seed(0)
    given = {
        "tags": torch.zeros(3, 1),
        "group": torch.tensor([0, 0, 1]),
        "image": torch.zeros(3, dtype=torch.long),
        "heatmaps": torch.rand(1, 2, 16, 16, generator=generator),
        "tag_maps": torch.zeros(1, 2, 16, 16),
    }
    for example in examples():
        exec(example, given)
    assert len(given["poses"]) > 0
    assert Path("boxes.png").stat().st_size > 0
    assert given["pull"] == 0
    assert given["push"] > 0
    assert len(given["people"][0]) > 0


# ---------------------------------------------------------------------- types


def wrong_lines():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def run(*command):
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


def assert_only_wrong_lines(reported):
    """reported: line to messages."""
    assert {line: text for line, text in reported.items() if line not in wrong_lines()} == {}
    assert wrong_lines() - set(reported) == set()


def test_user_script_uses_every_public_name_correctly_and_wrongly():
    text = SCRIPT.read_text(encoding="utf-8")
    body = text[text.index("version:") :].splitlines()
    for name in tagwise.__all__:
        used = [line for line in body if re.search(rf"\b{name}\b", line)]
        assert any(line.endswith("# wrong") for line in used), name
        assert any(not line.endswith("# wrong") for line in used), name


def test_mypy_reports_what_is_wrong_in_a_user_script_and_nothing_else(pytestconfig, monkeypatch):
    pytest.importorskip("mypy", reason="needs the extra 'test'")
    monkeypatch.setenv("MYPYPATH", str(SOURCE))
    monkeypatch.setenv("MYPY_CACHE_DIR", str(pytestconfig.cache.mkdir("mypy")))
    options = ("--strict", "--config-file=", "--follow-imports=silent")
    text = run(sys.executable, "-m", "mypy", *options, SCRIPT)
    found = re.findall(r"user_script\.py:(\d+): error: (.*)", text)
    assert_only_wrong_lines({int(line): message for line, message in found})


def test_pyright_reports_what_is_wrong_in_a_user_script_and_nothing_else(tmp_path):
    pytest.importorskip("basedpyright", reason="needs the extra 'test'")
    config = {"include": [str(SCRIPT)], "extraPaths": [str(SOURCE)], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    options = ("--project", tmp_path, "--pythonpath", sys.executable, "--outputjson")
    text = run(sys.executable, "-m", "basedpyright", *options)
    found = json.loads(text)["generalDiagnostics"]
    errors = [each for each in found if each["severity"] == "error"]
    assert_only_wrong_lines(
        {each["range"]["start"]["line"] + 1: each["message"] for each in errors}
    )


def functions(owner, name):
    """Public functions of a module, a class or a function itself, with their names."""
    if isinstance(owner, ModuleType):
        own = [key for key, value in vars(owner).items() if is_own(value, owner)]
        for key in getattr(owner, "__all__", own):
            yield from functions(getattr(owner, key), f"{name}.{key}")
    elif isinstance(owner, type):
        for key, value in vars(owner).items():
            value = getattr(value, "fget", getattr(value, "__func__", value))
            called = key in ("__init__", "__call__", "__getitem__", "__iter__", "__len__")
            if inspect.isfunction(value) and (called or not key.startswith("_")):
                yield f"{name}.{key}", value
    elif inspect.isfunction(owner):
        yield name, owner


def is_own(value, module):
    public = not getattr(value, "__name__", "_").startswith("_")
    return public and getattr(value, "__module__", None) == module.__name__


@pytest.mark.parametrize("name", tagwise.__all__)
def test_public_functions_are_annotated(name):
    for where, function in functions(getattr(tagwise, name), name):
        names = {*inspect.signature(function).parameters, "return"} - {"self", "cls"}
        assert not names - set(function.__annotations__), where
