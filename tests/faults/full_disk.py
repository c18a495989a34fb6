"""Run every verb on a full disk: it must print one line, exit with code 2 and lose no data.

    python tests/faults/full_disk.py

Creates disks of many sizes in memory (Linux, as root), runs each verb on each disk until it is
full, checks the files, enlarges the disk and continues. Takes some minutes. `test_full_disk.py`
does the same with a limit on the size of files, for a few sizes per verb.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml
from PIL import Image
from safetensors import safe_open

from tagwise.models import load_model, save_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from small_runs import write_scenes

ROWS = 2000  # of the log that a resumed training finds
RECIPE = {
    "data": {
        "train": [{"annotations": "train.json", "images": "train"}],
        "val": {"annotations": "val.json", "images": "val"},
        "input_size": [96, 96],
        "workers": 0,
    },
    "task_options": {"tag_dim": 2, "position": 16},
    "model": {"name": "small", "pretrained": None, "options": {"width": 16}},
    "optim": {"steps": 4, "batch": 2},
    "run": {"save_every": 1, "log_every": 1, "validate_every": 2, "device": "cpu"},
}


@dataclass(frozen=True)
class Case:
    """A verb: its arguments, those that make it continue, and the folder that it starts with.

    "OUT" in an argument is replaced by the output folder.
    """

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    initial_folder: str | None = None


_PREDICT = ("predict", "val", "--weights", "w.safetensors", "--threshold", "0", "--out", "OUT")
_EVAL = ("eval", "--weights", "w.safetensors", "--annotations", "val.json", "--images", "val")
CASES = {
    "predict": Case(_PREDICT, ("--resume",)),
    "predict --coco": Case((*_PREDICT, "--coco", "val.json", "--no-pictures"), ("--resume",)),
    "track": Case(
        ("track", "val", "--weights", "w.safetensors", "--threshold", "0", "--out", "OUT")
    ),
    "train": Case(("train", "recipe.yaml", "--out", "OUT"), ("--resume",)),
    "train --resume": Case(
        ("train", "recipe.yaml", "--out", "OUT", "--resume", "--optim.steps", "6"),
        initial_folder="finished",
    ),
    "eval": Case((*_EVAL, "--out", "OUT/figures.json", "--coco", "OUT/rows.json")),
    "plot": Case(("plot", "val/0000.png", "--weights", "w.safetensors", "--out", "OUT/tags.png")),
    "export": Case(("export", "w.safetensors", "--out", "OUT/model.onnx")),
}

Run = Callable[[list[str]], tuple[int, str]]


def make_inputs(folder: Path, run: Run) -> None:
    """Create photos, labels, a recipe, a finished run with a long log, and a model."""
    for name, length, seed in (("train", 8, 0), ("val", 6, 1)):
        write_scenes(folder, name, length, seed)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    code, error = run(["train", "recipe.yaml", "--out", "finished"])
    assert code == 0, error
    model = load_model(folder / "finished" / "last.safetensors")
    with torch.no_grad():  # so that the model finds instances
        model.heads["heatmaps"].output.bias += 0.5
    save_model(model, folder / "w.safetensors")
    row = json.dumps({"step": 1, "total": 0.5})
    log = folder / "finished" / "log.jsonl"
    log.write_text(f"{row}\n" * (ROWS - len(log.read_text().splitlines())) + log.read_text())


def make_folder(case: Case, out: Path) -> None:
    """Create the output folder of a case in its initial state."""
    out.mkdir()
    if case.initial_folder:
        shutil.copytree(case.initial_folder, out, dirs_exist_ok=True)


def attempt(case: Case, out: Path, run: Run) -> tuple[bool, list[str]]:
    """Run a verb. Returns whether it finished, and the faults of the files that it left."""
    code, error = run([each.replace("OUT", str(out)) for each in case.arguments])
    lines = [line for line in error.splitlines() if line.startswith("tagwise: cannot write")]
    faults = [f"{path} is cut" for path in out.rglob("*") if not _is_whole(path)]
    if case.initial_folder:
        rows = [Path(folder, "log.jsonl").read_bytes() for folder in (case.initial_folder, out)]
        faults += [] if rows[1].startswith(rows[0]) else ["log.jsonl lost rows"]
    if code not in (0, 2) or (code == 2) != (len(lines) == 1) or "Traceback" in error:
        faults.append(f"exit code {code}: {error[-300:]!r}")
    return code == 0, faults


def _is_whole(path: Path) -> bool:
    """Whether a file is complete; partial files never are."""
    if path.is_dir() or path.name.startswith("events."):  # written by TensorBoard
        return True
    content = path.read_bytes()
    try:
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in content.splitlines()]
            return content.endswith(b"\n") or not rows  # the first row may find no room
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix == ".yaml":
            return "run" in yaml.safe_load(content)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return bool(file.keys())
        elif path.suffix == ".pt":
            torch.load(io.BytesIO(content), weights_only=True)
        elif path.suffix == ".html":
            return content.endswith(b"</html>\n")
        elif path.suffix in (".jpg", ".png"):
            Image.open(io.BytesIO(content)).load()
        else:
            return path.suffix in (".txt", ".mp4", ".onnx") and bool(content)
    except (ValueError, OSError, RuntimeError):
        return False
    return True


def same_results(one: Path, other: Path) -> bool:
    """Whether two folders contain the same files, with equal content except for times."""
    names = [sorted(p.relative_to(out) for p in out.rglob("*")) for out in (one, other)]
    return names[0] == names[1] and all(
        (one / name).read_bytes() == (other / name).read_bytes()
        for name in names[0]
        if name.suffix in (".json", ".jpg", ".txt", ".safetensors") and "figures" not in name.name
    )


# ---------------------------------------------------------------------- the long form


@contextmanager
def disk(size: int) -> Iterator[Path]:
    """Mount a disk in memory of `size` bytes at a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def run_program(arguments: list[str]) -> tuple[int, str]:
    """Run the program in a separate process; return its exit code and its output on stderr."""
    command = [sys.executable, "-m", "tagwise", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ran.returncode, ran.stderr


def fill_disks(name: str, sizes: int) -> tuple[int, list[str]]:
    """Run a case on disks of many sizes. Returns the number of full disks, and the faults."""
    case, faults, full = CASES[name], [], 0
    with disk(2**28) as large:
        whole = large / "out"
        make_folder(case, whole)
        finished, faults = attempt(case, whole, run_program)
        assert finished, faults
        used = sum(path.stat().st_blocks * 512 for path in whole.rglob("*"))
        for number in range(sizes):
            size = max(4096, _least(case), int(used * (number + 0.5) / sizes) // 4096 * 4096)
            with disk(size) as small:
                out = small / "out"
                make_folder(case, out)
                finished, found = attempt(case, out, run_program)
                full += not finished
                subprocess.run(["mount", "-o", "remount,size=256m", str(small)], check=True)
                again = replace(case, arguments=case.arguments + case.again)
                finished_then, found_then = attempt(again, out, run_program)
                found += found_then
                if not finished_then or not same_results(whole, out):
                    found.append("it did not continue to the same results")
                faults += [f"{size} bytes: {fault}" for fault in found]
    return full, faults


def _least(case: Case) -> int:
    """The bytes on a disk of the folder that a case starts with."""
    if case.initial_folder is None:
        return 0
    blocks = [-(-path.stat().st_size // 4096) for path in Path(case.initial_folder).rglob("*")]
    return 4096 * (sum(blocks) + 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, default=6, help="number of disks per verb")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_inputs(Path(folder), run_program)
        for name in options.cases:
            full, faults = fill_disks(name, options.sizes)
            wrong += len(faults)
            print(f"{name:16} {options.sizes} disks, {full} full, {len(faults)} faults", flush=True)
            for fault in faults:
                print(f"    {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
