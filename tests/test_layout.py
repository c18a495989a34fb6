"""The rules of CONTRIBUTING.md: imports, lengths of files and functions, committed files."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tagwise"
TEMPLATES = sorted(PACKAGE.glob("commands/templates/**/*.py"))  # copied, never imported
FILES = sorted(set(PACKAGE.rglob("*.py")) - set(TEMPLATES))

# Folders that can be copied into another project, and the packages that they may import.
COPYABLE = {
    "losses": {"torch"},
    "grouping": {"torch", "numpy", "scipy", "numba"},
}
SHARED = {"errors", "geometry", "runtime", "settings"}
LOADED_IF_INSTALLED = {"models.running_max_triton"}  # triton comes with CUDA builds of torch
DISTRIBUTION = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "PIL": "pillow"}


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    """The dotted name of a file inside the package; a folder's name for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in FILES}


def folder_of(name):
    return name.partition(".")[0]


def imports(node):
    """(module, name) of every absolute import under a node."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, None) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield from ((child.module, alias.name) for alias in child.names)


def package_imports(path):
    """Names of the files of this package that a file imports, including those for type checkers."""
    for module, name in imports(tree(path)):
        if module.partition(".")[0] == "tagwise":
            inside = module.removeprefix("tagwise").removeprefix(".")
            deeper = f"{inside}.{name}".removeprefix(".")
            yield deeper if deeper in NAMES else inside


def foreign_imports(node):
    """Top-level names of the imports from other distributions."""
    tops = {module.partition(".")[0] for module, _ in imports(node)}
    return {top for top in tops if top != "tagwise" and top not in sys.stdlib_module_names}


def assert_downward(graph):
    """Assert that the graph has no cycles."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(reversed(error.args[1]))}")


def test_files_do_not_import_each_other():
    # The `__init__` of the package imports its public names only on first use.
    assert_downward(
        {name: set(package_imports(path)) - {name, ""} for name, path in NAMES.items() if name}
    )


def test_imports_between_folders_have_no_cycles():
    """Files directly in the package count as folders of their own."""
    graph = {}
    for name, path in NAMES.items():
        if name:
            others = {folder_of(other) for other in package_imports(path)} - {folder_of(name), ""}
            graph.setdefault(folder_of(name), set()).update(others)
    assert_downward(graph)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_are_absolute(path):
    """Except in the files of a template, whose package gets its name later."""
    relative = [n for n in ast.walk(tree(path)) if isinstance(n, ast.ImportFrom) and n.level]
    assert not relative, ast.unparse(relative[0])


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_names_stay_in_their_file(path):
    modules = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "tagwise":
            names = [alias.name for alias in node.names]
            assert not list(filter(is_private, [*node.module.split("."), *names])), names
            modules |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id in modules and is_private(node.attr)), ast.unparse(node)


def defined_in(path):
    """Names that a file defines itself, at its top level."""
    names = set()
    for node in ast.walk(ast.Module([n for n in tree(path).body if not is_block(n)], [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names | {node.name for node in tree(path).body if is_block(node)}


def is_block(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_are_imported_from_where_they_are_defined(path):
    """Or from a folder, whose `__init__` lists its public names; files do not re-export names."""
    for module, name in imports(tree(path)):
        source = NAMES.get(module.removeprefix("tagwise").removeprefix("."))
        if module.partition(".")[0] == "tagwise" and name and source.name != "__init__.py":
            assert name in defined_in(source), (module, name)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_package_is_imported_at_the_top_of_files(path):
    """Imports inside functions hide dependencies. Only the command line has them, to start fast."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef) and name_of(path) != "cli":
            inside = [module for module, _ in imports(node)]
            assert not [m for m in inside if m.partition(".")[0] == "tagwise"], node.name


def test_every_folder_with_code_is_a_package():
    """So that it is part of what `pip install` copies."""
    folders = {path.parent for path in FILES}
    assert folders == {path.parent for path in FILES if path.name == "__init__.py"}


@pytest.mark.parametrize("name", [n for n, path in NAMES.items() if n and path.stem == "__init__"])
def test_every_folder_documents_its_content_and_imports(name):
    """The last sentence names exactly the folders that its files import directly."""
    text = ast.get_docstring(tree(NAMES[name]))
    assert text, name
    files = [other for other in NAMES if f"{other}.".startswith(f"{name}.")]
    folders = {folder_of(other) for file in files for other in package_imports(NAMES[file])}
    folders -= {folder_of(name), ""}
    listed = set(re.findall(r"`(\w+)`", text.rpartition("Imports ")[2]))
    assert listed == folders, "write: Imports " + ", ".join(
        f"`{folder}`" for folder in sorted(folders)
    )


@pytest.mark.parametrize("path", [*FILES, *TEMPLATES], ids=name_of)
def test_files_and_public_names_have_docstrings(path):
    for node in [tree(path), *filter(is_block, tree(path).body)]:
        name = getattr(node, "name", "")
        assert name.startswith("_") or ast.get_docstring(node), name


def test_package_has_few_entries():
    entries = [
        entry for entry in PACKAGE.iterdir() if entry.name not in ("__pycache__", "py.typed")
    ]
    assert len(entries) <= 29, sorted(entry.name for entry in entries)


def test_no_function_has_the_name_of_a_module_next_to_it():
    import tagwise

    modules = {"grouping", "losses", "peaks", "plot", "scale"}
    assert not (set(tagwise.__all__) - modules) & {entry.stem for entry in PACKAGE.iterdir()}


@pytest.mark.parametrize("folder", COPYABLE)
def test_folders_that_can_be_copied_have_few_imports(folder):
    for name, path in NAMES.items():
        if folder_of(name) == folder:
            assert foreign_imports(tree(path)) <= COPYABLE[folder], name
            assert {folder_of(other) for other in package_imports(path)} <= SHARED | {folder}, name
    for name in SHARED & set(NAMES):
        assert foreign_imports(tree(NAMES[name])) <= COPYABLE["grouping"], name
        assert {folder_of(other) for other in package_imports(NAMES[name])} <= SHARED, name


def declared(requirements):
    return {re.match(r"[\w-]+", line).group().lower() for line in requirements}


def test_imported_packages_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = declared(project["dependencies"])
    extras = declared(r for group in project["optional-dependencies"].values() for r in group)
    for path in FILES:
        at_import = ast.Module([n for n in tree(path).body if not is_lazy(n)], [])
        if name_of(path) in LOADED_IF_INSTALLED:
            continue
        needed = {DISTRIBUTION.get(top, top) for top in foreign_imports(at_import)}
        assert needed <= core, name_of(path)
        later = {DISTRIBUTION.get(top, top) for top in foreign_imports(tree(path))}
        assert later <= core | extras, name_of(path)


def is_lazy(node):
    for_type_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    return for_type_checkers or is_block(node)


def test_nothing_uses_torchvision():
    for folder in ("src", "tests", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            # These have their own environment.
            if path.name not in ("faster_rcnn.py", "_faster_rcnn.py"):
                assert "torchvision" not in foreign_imports(tree(path)), path
    for file in ("pyproject.toml", "constraints.txt"):
        assert "torchvision" not in (ROOT / file).read_text(), file


@pytest.mark.parametrize("path", [*FILES, *TEMPLATES], ids=name_of)
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
            assert node.end_lineno - start <= 50, node.name


def committed_files():
    try:
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_contains_an_absolute_path():
    absolute = re.compile(rb"(?<![\w.])/(?:work|root|home|Users)/\w")
    for path in committed_files():
        if path.is_file() and path != Path(__file__):
            assert not absolute.search(path.read_bytes()), path.relative_to(ROOT)


def test_every_shipped_model_has_a_card_and_is_small():
    for path in (PACKAGE / "weights").glob("*.safetensors"):
        assert path.with_suffix(".md").is_file(), path.name
        assert path.stat().st_size <= 12e6, path.name
