"""Damaged model files, part by part. `python tests/faults/fuzzed_models.py`.

Of a small model of each task, every setting in the header is replaced by values that do not belong
there, every tensor by values, types and shapes that do not, and every entry of the header of
safetensors. Each file must be refused with a UserError of one line that names it, or predict, and
what is plainly wrong must be refused. `bad_checkpoints.py` damages files by chance.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from fuzzed_labels import seen
from hostile_files import safetensors
from label_readers import Reader
from mutations import value

from tagwise.models import create_model, save_model
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import Skeleton
from tagwise.tasks import CornerTask, PixelTask, PoseTask, Task

FOX = Skeleton("fox", ("nose", "left_hip", "right_hip"), ((0, 1), (0, 2)))
TASKS: dict[str, Task] = {
    "pose": PoseTask(FOX, tag_dim=2, position=16, offsets=True),
    "corners": CornerTask(("fox", "hen"), centres=True),
    "pixels": PixelTask(tag_dim=2, position=16),
}
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
# Settings that only training uses, and facts: nothing that they hold stops a prediction.
FREE = ("format", "info", "sigmas", "name", "classes", "edges", "keypoints")
WRONG = (None, "x", -1, 10**9, float("nan"), float("inf"), [], [[1]], {"x": 1}, True, 1e308)


class Case(NamedTuple):
    """A model file. must: whether it has to be refused. word: what the refusal must have."""

    kind: str
    data: bytes
    must: bool = False
    word: str = ""


def model_file(task: Task, folder: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the data of a small model."""
    torch.manual_seed(0)
    path = folder / "sound.safetensors"
    network = create_model("small", task, input_size=(64, 64), width=8, channels=8)
    network.spec.decoder["threshold"] = 0.3
    save_model(network, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _with_spec(header: dict[str, Any], spec: Any, data: bytes) -> bytes:
    return safetensors({**header, "__metadata__": {"tagwise": json.dumps(spec)}}, data)


def _leaves(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a tree, containers too."""
    if path:
        yield path
    if isinstance(node, dict | list):
        for key in node.keys() if isinstance(node, dict) else range(len(node)):
            yield from _leaves(node[key], (*path, key))


def _changed(tree: Any, path: tuple, new: Any = None, way: str = "set") -> Any:
    """A copy of a tree with another value, another name, or nothing at a path."""
    tree = json.loads(json.dumps(tree))
    node = tree
    for key in path[:-1]:
        node = node[key]
    if way == "set":
        node[path[-1]] = new
    elif way == "renamed" and isinstance(node, dict):
        node[f"{path[-1]}x"] = node.pop(path[-1])
    else:
        del node[path[-1]]
    return tree


def settings_cases(header: dict[str, Any], data: bytes, rng: np.random.Generator) -> Iterator[Case]:
    """Every setting with values that do not belong there, renamed, and missing."""
    spec = json.loads(header["__metadata__"]["tagwise"])
    for path in _leaves(spec):
        name = ".".join(map(str, path))
        for way in ("renamed", "missing"):
            yield Case(
                f"setting {way}: {name}", _with_spec(header, _changed(spec, path, way=way), data)
            )
        free = any(part in FREE for part in path)
        for new in (*WRONG, value(rng), value(rng)):
            old = spec
            for key in path:
                old = old[key]
            alike = isinstance(new, type(old)) or (isinstance(old, float) and new is not None)
            must = isinstance(old, int | float | str) and not free and not alike and old is not True
            must &= isinstance(new, str | list | dict) and old is not False
            word = str(path[-1]) if must and isinstance(path[-1], str) else ""
            kind = f"setting: {name} = {str(new)[:30]}"
            yield Case(kind, _with_spec(header, _changed(spec, path, new), data), must, word)


def tensor_cases(header: dict[str, Any], data: bytes) -> Iterator[Case]:
    """Every tensor with values that are not finite, of another type or shape, or missing."""
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        size = {"F16": 2, "F32": 4, "I64": 8}[entry["dtype"]]
        if entry["dtype"] in ("F16", "F32"):
            kind = np.float16 if size == 2 else np.float32
            for bad in (np.nan, np.inf, -np.inf):
                values = np.frombuffer(data[start:end], kind).copy()
                values[len(values) // 2] = bad
                changed = data[:start] + values.tobytes() + data[end:]
                yield Case(f"tensor of {bad}: {name}", safetensors(header, changed), True, name)
            integers = {**entry, "dtype": {2: "I16", 4: "I32"}[size]}
            yield Case(f"tensor of integers: {name}", safetensors({**header, name: integers}, data))
        flat = {**entry, "shape": [(end - start) // size, 1, 1, 1, 1]}
        yield Case(
            f"tensor of another shape: {name}", safetensors({**header, name: flat}, data), True
        )
        renamed = {key: each for key, each in header.items() if key != name}
        yield Case(f"tensor renamed: {name}", safetensors({**renamed, "x": entry}, data), True)
        again = {**entry, "data_offsets": [len(data), len(data) + end - start]}
        both = safetensors({**header, f"{name}.more": again}, data + data[start:end])
        yield Case(f"tensor too many: {name}", both, True)
        for offsets in ([start, end - 1], [start + 1, end], [end, start], [-1, end], [0, 2**63]):
            moved = {**entry, "data_offsets": offsets}
            yield Case(
                f"offsets {offsets}: {name}", safetensors({**header, name: moved}, data), True
            )


def extreme_cases(header: dict[str, Any], data: bytes) -> Iterator[Case]:
    """Weights that are finite and of the right shape, and make every map useless."""
    for name, entry in header.items():
        if not name.endswith(("running_var", "std", "mean", "heads.heatmaps.output.weight")):
            continue
        start, end = entry["data_offsets"]
        kind = {"F16": np.float16, "F32": np.float32}[entry["dtype"]]
        for bad in (-1e4, np.finfo(kind).max):
            values = np.full((end - start) // kind().itemsize, bad, kind)
            changed = data[:start] + values.tobytes() + data[end:]
            must = name.endswith("running_var") and bad < 0
            yield Case(f"extreme weights {bad:.0e}: {name}", safetensors(header, changed), must)


def length_cases(header: dict[str, Any], data: bytes) -> Iterator[Case]:
    """The field that says how long the header is, and the header's text."""
    written = json.dumps(header).encode()
    for length in (0, 1, len(written) - 1, len(written) + 1, 2**31, 2**63, 2**64 - 1):
        file = safetensors(written, data, length)
        yield Case(f"header length {length}", file, True)
    for name, text in (
        ("twice", written + written),
        ("a list", b"[]"),
        ("empty", b""),
        ("NUL", b"\0"),
    ):
        yield Case(f"header text: {name}", safetensors(text, data), True)
    for ours in ("", "null", "[]", "{}", "nan", "[" * 10_000, '{"format": 2}', '"text"'):
        file = safetensors({**header, "__metadata__": {"tagwise": ours}}, data)
        yield Case(f"description {ours[:12]}", file, True)
    for meta in (None, [], {}, {"tagwise": 1}, {"tagwise": None}, {"tagwise": {}}):
        yield Case(f"metadata {meta}", safetensors({**header, "__metadata__": meta}, data), True)


def cases(folder: Path, seed: int, tasks: tuple[str, ...] = tuple(TASKS)) -> Iterator[Case]:
    """Every damaged file of every task."""
    rng = np.random.default_rng(seed)
    for name in tasks:
        header, data = model_file(TASKS[name], folder)
        yield Case(f"sound: {name}", safetensors(header, data))
        yield from settings_cases(header, data, rng)
        yield from tensor_cases(header, data)
        yield from extreme_cases(header, data)
        yield from length_cases(header, data)


def predict(path: Path) -> None:
    """Load a model and predict an image; what it finds must be finite."""
    result = Predictor(path, device="cpu", precision="fp32")(IMAGE)
    json.dumps(result.to_dict(), allow_nan=False)


def outcome(case: Case, folder: Path) -> tuple[str, str]:
    """What comes of a case: "read", "refused" or "fault", and the error."""
    reader = Reader("model", "model.safetensors", lambda rng: (b"", ""), predict)
    what, text = seen(reader, case.data, folder)
    if what == "read" and case.must:
        return "fault", "it was loaded"
    if what == "refused" and case.word not in text:
        return "fault", f"the refusal does not have the word {case.word!r}: {text[-300:]}"
    return what, text


def main() -> int:
    """Print what was tried and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="try only every Nth file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counts: dict[str, Counter[str]] = {}
    faults = []
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for number, case in enumerate(cases(Path(name), options.seed)):
            if number % options.every:
                continue
            what, text = outcome(case, Path(name))
            kind = case.kind.partition(":")[0].partition(" [")[0]
            kind = kind if kind.startswith(("setting", "tensor")) else kind.partition(" ")[0]
            counts.setdefault(kind, Counter())[what] += 1
            faults += [f"{case.kind}: {text}"] if what == "fault" else []
    print(f"{'kind':28}{'tried':>7}{'loaded':>8}{'refused':>9}{'faults':>8}")
    for kind, found in counts.items():
        row = f"{found.total():7}{found['read']:8}{found['refused']:9}{found['fault']:8}"
        print(f"{kind:28}{row}")
    total = sum(found.total() for found in counts.values())
    print(f"{total} model files, {len(faults)} faults")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
