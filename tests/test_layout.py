"""The rules of CONTRIBUTING.md: who imports whom, how long things are, what is never committed."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tagwise"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

# From the bottom up. A module imports from its own line and those above it here, never from below.
LAYERS = (
    "errors",
    "files skeletons class_names devices memory rle grouping_settings corner_settings _layout",
    "_kernels _fill_kernels _corner_kernels _matching _sweeps _cluster_kernels _type_kernels"
    " _link_kernels _pixel_kernels",
    "label_map losses _map_losses peaks fill _points clusters assignments grouping results"
    " corner_peaks suppression fusion corners pixels",
    "data metrics",
    "tasks models",
    "video motion tag_memory tracker sources tta fitting tiles predictor",
    "config checkpoint training_log outputs plot diagnose diagnose_corners diagnose_pixels scoring",
    "predict train evaluate convert export",
    "track",
    "cli __main__",
)
# A result that draws itself reaches up for it, when asked.
EXCEPTIONS = {
    ("results.base", "data.images"),
    ("results.poses", "plot"),
    ("results.boxes", "plot"),
    ("results.masks", "plot"),
}
LIFTED = {"torch", "numpy", "scipy", "numba"}
DISTRIBUTION = {"cv2": "opencv-python-headless", "yaml": "pyyaml", "PIL": "pillow"}


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def level(name):
    for number, line in enumerate(LAYERS):
        if name.split(".")[0] in line.split():
            return number
    raise AssertionError(f"{name} has no line in LAYERS: say where it belongs")


def imports(node):
    """Full names of what is imported anywhere under a node, but for type checkers' sake."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from imports(child)


def own_imports(path):
    """Modules of this package that a module imports."""
    known = {name_of(module) for module in MODULES}
    known |= {path.parent.name for path in MODULES if path.parent != PACKAGE}
    for name in imports(tree(path)):
        parts = name.split(".")
        if parts[0] == "tagwise":
            candidates = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
            yield next((c for c in candidates if c in known), "")


def foreign_imports(node):
    """Top names of what is imported from other distributions."""
    tops = {name.split(".")[0] for name in imports(node)}
    return {top for top in tops if top != "tagwise" and top not in sys.stdlib_module_names}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downward(path):
    name = name_of(path)
    for other in own_imports(path):
        if other and (name, other) not in EXCEPTIONS:
            assert level(other) <= level(name), f"{name} imports {other} from above it"


@pytest.mark.parametrize("name", ["losses", "peaks", "grouping", "corners"])
def test_what_is_lifted_out_needs_little(name):
    todo, reached = [name], set()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [other for other in own_imports(PACKAGE / f"{name}.py") if other]
    for name in reached:
        path = PACKAGE / f"{name}.py"
        assert path.exists(), f"reaches into the package {name}"
        assert foreign_imports(tree(path)) <= LIFTED, name


def test_importing_tagwise_loads_nothing_heavy():
    code = "import sys, tagwise; print(*{'torch', 'numpy', 'cv2', 'numba'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def declared(requirements):
    return {re.match(r"[\w-]+", line).group().lower() for line in requirements}


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = declared(project["dependencies"])
    extras = declared(r for group in project["optional-dependencies"].values() for r in group)
    for path in PACKAGE.rglob("*.py"):
        at_import = ast.Module([n for n in tree(path).body if not is_lazy(n)], [])
        needed = {DISTRIBUTION.get(top, top) for top in foreign_imports(at_import)}
        assert needed <= core, name_of(path)
        later = {DISTRIBUTION.get(top, top) for top in foreign_imports(tree(path))}
        assert later <= core | extras, name_of(path)


def is_lazy(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def test_nothing_uses_torchvision():
    for folder in ("src", "tests", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            # This one has an environment for itself.
            if path != ROOT / "benchmarks" / "faster_rcnn.py":
                assert "torchvision" not in foreign_imports(tree(path)), path
    for file in ("pyproject.toml", "constraints.txt"):
        assert "torchvision" not in (ROOT / file).read_text(), file


@pytest.mark.parametrize("path", MODULES, ids=name_of)
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


def test_no_file_names_a_place_on_one_machine():
    place = re.compile(rb"(?<![\w.])/(?:work|root|home|Users)/\w")
    for path in committed_files():
        if path.is_file() and path != Path(__file__):
            assert not place.search(path.read_bytes()), path.relative_to(ROOT)


def test_every_shipped_model_has_a_card_and_is_small():
    for path in (PACKAGE / "weights").glob("*.safetensors"):
        assert path.with_suffix(".md").is_file(), path.name
        assert path.stat().st_size <= 12e6, path.name
