"""Load hostile and damaged model files.

    python tests/faults/bad_checkpoints.py --count 2000

Each file is loaded in a separate process. A file that is not loaded must be refused with a
UserError, within two seconds and within 600 MiB or four times the size of the file, with no output;
no process may die, and no code of a file may run.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hostile_files import (
    hostile_checkpoints,
    hostile_graphs,
    hostile_safetensors,
    other_files,
    torch_old,
    torch_zip,
)
from measured import Measured, measured, print_outcomes

from tagwise.commands.export import export
from tagwise.models.create import create_model
from tagwise.models.load import load_model
from tagwise.models.model_file import save_model
from tagwise.skeletons import Skeleton
from tagwise.tasks import PoseTask

SECONDS, MIB = 2.0, 600
SKELETON = Skeleton("bee", ("head", "tail"))


class Attempt(NamedTuple):
    """The kind of a file, whether loading it may succeed, and the outcome."""

    kind: str
    may_load: bool
    found: Measured


class Sound(NamedTuple):
    """The same small network in each type of file."""

    model_file: bytes
    graph: bytes
    checkpoint: bytes
    old_checkpoint: bytes


def sound_files(folder: Path) -> Sound:
    """Save a small network as a model file, an ONNX file, and new and old torch checkpoints."""
    torch.manual_seed(0)
    network = create_model("small", PoseTask(SKELETON), input_size=(64, 64))
    save_model(network, folder / "sound.safetensors")
    export(folder / "sound.safetensors", out=folder / "sound.onnx")
    kept = []
    for zipped in (True, False):
        file = io.BytesIO()
        state = {name: torch.rand(n, 3) for n, name in enumerate(list(network.state_dict())[:9])}
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=zipped)
        kept.append(file.getvalue())
    files = ((folder / f"sound.{suffix}").read_bytes() for suffix in ("safetensors", "onnx"))
    return Sound(*files, *kept)


def hostile(sound: Sound) -> Iterator[tuple[str, str, bytes]]:
    """The kind, suffix and content of every hostile file and of files of other types."""
    for name, data in hostile_checkpoints():
        yield f"hostile: {name}", ".pth", data
    for name, data, _ in other_files():
        for suffix in (".pth", ".pt", ".safetensors", ".onnx"):
            yield f"other: {name} as {suffix}", suffix, data
    for name, data in hostile_safetensors():
        yield f"hostile: {name}", ".safetensors", data
    for name, data in hostile_graphs(sound.graph):
        yield f"hostile: graph {name}", ".onnx", data


def damaged(sound: Sound, rng: np.random.Generator) -> tuple[str, str, bytes]:
    """The kind, suffix and content of an intact file with random damage."""
    way = int(rng.integers(6))
    if way == 0:
        return "damaged safetensors header", ".safetensors", _header_changed(sound.model_file, rng)
    if way == 1:
        data = _description_changed(sound.model_file, rng)
        return "damaged description", ".safetensors", data
    if way == 2:
        return "damaged graph", ".onnx", _bytes_changed(sound.graph, rng, 6000)
    if way == 3:
        data = _bytes_changed(sound.old_checkpoint, rng, len(sound.old_checkpoint))
        return "damaged old checkpoint", ".pth", data
    if way == 4:
        data = _bytes_changed(sound.checkpoint, rng, len(sound.checkpoint))
        return "damaged checkpoint", ".pth", data
    pickled = _bytes_changed(_pickle_of(sound.checkpoint), rng, 10**6)
    wrap = torch_zip if rng.integers(2) else torch_old
    return "damaged pickle", ".pth", wrap(pickled)


def _pickle_of(checkpoint: bytes) -> bytes:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        return next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl"))


def _bytes_changed(data: bytes, rng: np.random.Generator, end: int) -> bytes:
    """Change some of the first bytes; sometimes cut the file off or repeat a part of it."""
    changed, end = bytearray(data), min(end, len(data))
    for index in rng.integers(0, end, rng.integers(1, 6)):
        changed[index] = rng.choice([rng.integers(256), 0, 255, changed[index] ^ 1])
    if rng.integers(8) == 0:
        return bytes(changed[: rng.integers(1, len(data))])
    if rng.integers(8) == 0:
        index = int(rng.integers(1, end))
        return bytes(changed[:index] + changed[index - 20 : index] + changed[index:])
    return bytes(changed)


def _header_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file whose header has other values, or whose header's bytes are changed."""
    length = int.from_bytes(data[:8], "little")
    if rng.integers(2):
        return _bytes_changed(data, rng, 8 + length)
    header = json.loads(data[8 : 8 + length])
    name = str(rng.choice([key for key in header if key != "__metadata__"]))
    tensor = header[name]
    field = str(rng.choice(["dtype", "shape", "data_offsets", "name"]))
    if field == "name":
        header[name + "x"] = header.pop(name)
    elif field == "dtype":
        tensor["dtype"] = str(rng.choice(["F64", "F32", "I8", "BOOL", "BF16", "F8_E4M3", "X"]))
    else:
        tensor[field] = [_number(rng) for _ in range(rng.integers(0, 4))]
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data[8 + length :]


def _description_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace a value in the description of the network in a model file."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["tagwise"])
    node, key = ours, str(rng.choice(list(ours)))
    while isinstance(node[key], dict | list) and node[key] and rng.integers(5):
        node = node[key]
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = keys[rng.integers(len(keys))]
    node[key] = [None, _number(rng), "x", [], {}, True, 1e308, [[]] * 99, "9" * 99][rng.integers(9)]
    header["__metadata__"]["tagwise"] = json.dumps(ours)
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data[8 + length :]


def _number(rng: np.random.Generator) -> int:
    return [0, 1, -1, 7, 2**31, 2**63 - 1, 2**64, 10**9][rng.integers(8)]


def load_measured(data: bytes, path: Path) -> Measured:
    """Write a file with this content, load it, and measure that."""
    path.write_bytes(data)
    return measured(lambda: load_model(path))


def fault_of(found: Measured, may_load: bool, length: int = 0) -> str | None:
    """Why an outcome is not acceptable; None if it is."""
    if found.outcome not in (("read", "refused") if may_load else ("refused",)):
        return f"{found.outcome}: {found.text}"
    if found.output:
        return f"printed {found.output[:100]!r}"
    if found.seconds > SECONDS or found.mib > max(MIB, 4 * length / 2**20):
        return f"took {found.seconds:.1f} s and {found.mib:.0f} MiB"
    return None


def warm_up(folder: Path) -> None:
    """Load one file of each kind, so that nothing is imported in the measured processes."""
    for suffix in (".safetensors", ".onnx"):
        load_model(folder / f"sound{suffix}")
    (folder / "sound.pth").write_bytes(torch_zip(b"\x80\x02}."))
    _quietly(lambda: load_model(folder / "sound.pth"))


def _quietly(call: Callable[[], object]) -> None:
    from tagwise.errors import UserError

    try:
        call()
    except UserError:
        return


def outcomes(count: int, seed: int) -> Iterator[Attempt]:
    """The outcomes of all hostile files, then of `count` damaged files."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound = sound_files(folder)
        warm_up(folder)
        for kind, suffix, data in hostile(sound):
            yield Attempt(kind, False, load_measured(data, folder / f"file{suffix}"))
        for _ in range(count):
            kind, suffix, data = damaged(sound, rng)
            yield Attempt(kind, True, load_measured(data, folder / f"file{suffix}"))
        if list(folder.glob("ran*")) or Path("ran").exists():
            raise SystemExit("a file ran its code")


def main() -> int:
    """Print the number of files per outcome, and the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    return print_outcomes(
        (kind, found, fault_of(found, may_load))
        for kind, may_load, found in outcomes(options.count, options.seed)
    )


if __name__ == "__main__":
    sys.exit(main())
