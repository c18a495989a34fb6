"""All figures of the shipped models: sizes, times, AP at two input sizes, with flip, with oracles.

    make models DATA=/path/to/data
    OMP_NUM_THREADS=1 python benchmarks/models.py DATA [--only people robots] [--again]

DATA holds people_coco/, robots/, bees/, lab_files/sleap/, blood/ and nuclei/. Networks run with
torch, as after a plain installation; if OpenVINO is installed, its time is measured too. Figures go
to src/tagwise/weights/figures.json after each model; then the blocks of the cards and the table of
the README are rewritten from that file. A model whose weights have been measured already is left
out, so that an interrupted run continues, unless --again is given. All take three minutes of one
core.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import _bench
import numpy as np
import torch
from _bench import arguments, at_size, machine
from _cards import FIGURES, MODELS, ORACLES, ROOT, Shipped, facts, read_figures, write_texts
from torch.utils.flop_counter import FlopCounterMode

from tagwise.commands.calibrate import Detections
from tagwise.commands.evaluate import evaluate
from tagwise.data import read_image
from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.evaluation.calibration import cross_validated
from tagwise.evaluation.diagnosis.reliability import reliability
from tagwise.labels.read import read_labels
from tagwise.labels.write_coco import write_coco
from tagwise.models import load_model
from tagwise.models.shipped import shipped_file
from tagwise.prediction.predictor import Predictor

TIMED = 20  # photos


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=tuple(MODELS), metavar="MODEL")
    parser.add_argument(
        "--again", action="store_true", help="also models that are measured already"
    )
    options = parser.parse_args()
    missing = [path for name in options.only for path in paths(MODELS[name], options.data)]
    missing = [str(path) for path in missing if not path.exists()]
    if missing:
        parser.error(f"there is no {missing[0]}; give the folder with the data of all models")
    torch.set_num_threads(1)
    target = at_size(FIGURES, _bench.OUT / "figures.json")
    figures = read_figures(target)
    for name in options.only:
        digest = digest_of(shipped_file(name))
        if figures.get(name, {}).get("sha256") == digest and not options.again:
            print(f"{name}: measured already")
            continue
        try:
            figures[name] = {"sha256": digest, **measured(name, options.data)}
        except UserError as error:
            parser.error(str(error))
        write(target, figures)
        print(f"{name}: {json.dumps(figures[name]['rows']['as shipped'])}")
    if target == FIGURES:
        write_texts(figures)
    print(f"written: {target}")


def paths(model: Shipped, data: Path) -> tuple[Path, Path]:
    return data / model.annotations, data / model.images


def write(target: Path, figures: dict[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    ordered = {
        name: figures[name] | {"facts": facts(name, figures[name])}
        for name in MODELS
        if name in figures
    }
    target.write_text(json.dumps(ordered, indent=1) + "\n")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measured(name: str, data: Path) -> dict[str, Any]:
    """All figures of one model."""
    model = MODELS[name]
    annotations, images = paths(model, data)
    with tempfile.TemporaryDirectory() as folder:
        if model.video is not None:
            annotations, images = converted(annotations, model.video, data, Path(folder))
        if model.held is not None:
            annotations = held_part(annotations, model, Path(folder))
        predictor = Predictor(name, device="cpu", runtime="torch")
        dataset = predictor.task.open_dataset(
            annotations, images, like=predictor.task, keep_missing=True
        )
        dataset.keep(range(len(dataset))[: at_size(None, 2)])
        reliable, instances = reliability_of(predictor, dataset, model.sigmas[-1:])
        return {
            **size_of(name, predictor),
            "ms": times(name, dataset),
            "images": len(dataset),
            "instances": instances,
            "rows": rows(name, annotations, images, predictor) | by_stain(name, data),
            "reliability": reliable,
            "machine": machine(),
        }


def converted(labels: Path, video: tuple[str, str], data: Path, folder: Path) -> tuple[Path, Path]:
    """Labels of another program as COCO JSON and images; their video has another name there."""
    (folder / "videos").mkdir()
    shutil.copyfile(data / video[0], folder / "videos" / video[1])
    return write_coco(read_labels(labels, folder / "videos"), folder)


def held_part(annotations: Path, model: Shipped, folder: Path) -> Path:
    """The last images by name as a file, by recipes/split.py."""
    spec = importlib.util.spec_from_file_location("split", ROOT / "recipes" / "split.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, held = module.split(json.loads(annotations.read_text()), model.held, model.least)
    path = folder / "held.json"
    path.write_text(json.dumps(held))
    return path


def size_of(name: str, predictor: Predictor) -> dict[str, Any]:
    """Parameters, multiply-adds of one input of the model's size, and megabytes of the file."""
    network = load_model(name)
    width, height = (side + -side % network.multiple for side in predictor.size)
    network.requires_grad_(True)  # without gradients, a CPU runs operations that are not counted
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, height, width))
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": counter.get_total_flops() // 2,
        "megabytes": shipped_file(name).stat().st_size / 1e6,
        "input": list(predictor.size),
    }


def times(name: str, dataset: Photos) -> dict[str, float | None]:
    """Median CPU milliseconds of one thread per photo, from the image to the result.

    "openvino": in the fastest precision; None where OpenVINO does not run the model.
    """
    files = [dataset.path(index) for index in range(len(dataset))]
    photos = [read_image(file) for file in files[: at_size(TIMED, 1)]]
    best = Predictor(name, device="cpu")
    return {
        "fp32": lap(Predictor(name, device="cpu", runtime="torch", precision="fp32"), photos),
        "bf16": lap(Predictor(name, device="cpu", runtime="torch", precision="bf16"), photos)
        if best.precision == "bf16"
        else None,
        "openvino": lap(best, photos) if best.runtime == "openvino" else None,
    }


def lap(predictor: Predictor, photos: Sequence[np.ndarray]) -> float:
    """Median CPU milliseconds per photo."""
    for photo in photos[:5]:  # OpenVINO compiles a graph for each shape
        predictor(photo)
    laps = []
    for photo in photos:
        start = time.process_time()
        predictor(photo)
        laps.append(time.process_time() - start)
    return round(1e3 * median(laps), 1)


def rows(name: str, annotations: Path, images: Path, predictor: Predictor) -> dict[str, Any]:
    """The figures of each row of the card."""
    other = MODELS[name].other
    where = (
        f"at {other['size']} pixels" if "size" in other else f"at {other['scales'][0]:g} × scale"
    )
    options: dict[str, dict[str, Any]] = {"as shipped": {}, where: other}
    options["with `--flip`"] = {"flip": True}
    for oracle in predictor.task.oracles:
        options[f"oracle: {ORACLES[oracle]}"] = {"oracle": oracle}
    found = {}
    for title, given in options.items():
        report = evaluate(
            name,
            annotations,
            images,
            sigmas=MODELS[name].sigmas,
            device="cpu",
            runtime="torch",
            limit=at_size(None, 2),
            quiet=True,
            **given,
        )
        metrics = report["metrics"]
        found[title] = {column: round(metrics[column], 5) for column in MODELS[name].columns}
    return found


def by_stain(name: str, data: Path) -> dict[str, dict[str, float]]:
    """For nuclei, the pooled figures of fluorescent and of stained images."""
    if name != "nuclei":
        return {}
    from nuclei import by_type, scored

    from tagwise.metrics import pooled_figures

    predictor = Predictor(name, device="cpu", runtime="torch")
    found = {}
    for kind, photos in by_type(data / "nuclei" / "val", at_size(1, 30)).items():
        counts, _ = scored(lambda image: predictor(image).labels, photos)
        pooled = pooled_figures(counts) if photos else {}
        found[f"{kind} ({len(photos)}), as shipped"] = {
            column: round(pooled[column], 5) for column in MODELS[name].columns if column in pooled
        }
    return found


def reliability_of(
    predictor: Predictor, dataset: Photos, sigmas: Sequence[float]
) -> tuple[dict[str, Any], int]:
    """How far scores can be trusted, and the number of labelled instances."""
    threshold, calibration = predictor.threshold, predictor.calibration
    predictor.threshold, predictor.calibration = 0.0, None
    scorer = predictor.task.make_scorer(dataset, **({"sigmas": sigmas} if sigmas else {}))
    found = Detections.of(predictor, dataset, scorer, quiet=True)
    scores = found.scores if calibration is None else calibration(found.scores)
    kept = found.right[scores >= threshold]
    held = None
    if calibration is not None and at_size(True, False):  # two photos are too few for folds
        unseen = cross_validated(found.scores, found.right, found.images)
        held = round(reliability(unseen, found.right)["ece"], 5)
    return {
        "calibrated": calibration is not None,
        "decoded": round(reliability(found.scores, found.right)["ece"], 5),
        "held": held,
        "threshold": threshold,
        "precision": round(float(kept.mean()), 5) if len(kept) else 0.0,
        "recall": round(float(kept.sum()) / max(found.instances, 1), 5),
    }, found.instances


if __name__ == "__main__":
    main()
