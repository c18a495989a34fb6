"""`tagwise diagnose`: what limits a model on a labelled set, as a page and a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import cv2
import numpy as np
from torch import nn
from tqdm import tqdm

from tagwise.commands.labelled_sets import (
    chosen_images,
    open_labelled,
    open_validation_set,
    versions,
    write_json,
)
from tagwise.console.streams import print_note
from tagwise.data.photos import Photos
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.evaluation.diagnosis.advice import advise
from tagwise.evaluation.diagnosis.measure import Case, Measure, measured
from tagwise.evaluation.diagnosis.ranking import in_words, ranked_types, worst_cases
from tagwise.evaluation.diagnosis.report import Compared, diagnosis_page
from tagwise.evaluation.scoring import Scorer
from tagwise.files import make_folder, whole_file
from tagwise.prediction.labelled import Examined, examine_labelled
from tagwise.prediction.options import OlderNames, Precision, with_older_names
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.protocols import Protocol, default_protocol
from tagwise.results import Result
from tagwise.runtime import keep_freed_memory

_SIDE = 560  # pixels of the longest side of a picture on the page


def diagnose(
    weights: str | Path | nn.Module,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    out: str | Path | None = None,
    *,
    category: str | None = None,
    sigmas: Sequence[float] = (),
    style: Literal["coco", "crowdpose"] | None = None,
    max_dets: int | None = None,
    conf: float | None = None,
    device: str = "auto",
    imgsz: int | tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    protocol: Protocol | None = None,
    precision: Precision = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
    quiet: bool = False,
    **older: Unpack[OlderNames],
) -> dict[str, Any]:
    """Find out what limits a model of any task on a labelled set.

    Writes diagnosis.html, a page to open in a browser, and diagnosis.json with its figures.

    weights: see `tagwise.evaluate`.
    annotations, images: a labelled set, see `tagwise.evaluate`. By default the validation set that
        the recipe beside the weights names, which training writes there.
    out: folder for both files; by default "diagnosis" beside the weights, or in this folder for
        the name of a model.
    conf: score from which detections count as shown; by default the model's own. AP always
        uses all of them.
    category, sigmas, style, max_dets, first, every, limit: see `tagwise.evaluate`; with several
        sigmas, the first counts.
    device, imgsz, flip, scales, protocol, precision: see `Predictor`.
    quiet: print nothing.

    Returns the content of diagnosis.json: "metrics", as `tagwise.evaluate` measures them; "main",
    the name of the one that gains refer to; "ablation", the same with a part of the model replaced
    by the truth; "errors", with the number of each kind and the AP to be won; "scores", "tags",
    "types", "sizes", "overlaps", "worst" and "advice"; "images", "failed", "page", "settings",
    "versions". Figures are in [0, 1]. Raises UserError.

    >>> report = diagnose("runs/mice/best.safetensors")  # doctest: +SKIP
    >>> report["advice"][0]["what"]  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    scoring = {"sigmas": tuple(sigmas) or None, "style": style, "max_dets": max_dets}
    scoring = {name: value for name, value in scoring.items() if value is not None}
    keep_freed_memory()
    protocol = protocol or default_protocol(weights, measured=True)
    options = {
        "imgsz": named["imgsz"],
        "flip": flip,
        "scales": tuple(scales),
        "precision": precision,
    }
    predictor = Predictor(weights, device=device, protocol=protocol, **options)
    shown = predictor.threshold if named["conf"] is None else named["conf"]
    predictor.threshold = 0.0  # AP needs every detection
    predictor.task.check_evaluation(None, scoring)
    dataset = open_set(predictor, weights, annotations, images, category, quiet)
    dataset.keep(chosen_images(len(dataset), first, every, limit))
    new_scorer = partial(predictor.task.make_scorer, dataset, **scoring)
    folder = folder_beside(weights, out)
    make_folder(folder)
    cases, failed = _cases(predictor, dataset, new_scorer(), shown, quiet)
    report = _report(predictor, cases, new_scorer, shown, quiet)
    worst = worst_cases(cases)
    report |= {
        "worst": [{"file": case.file, "errors": in_words(case)} for case in worst],
        "images": len(dataset),
        "failed": failed,
        "page": str(folder / "diagnosis.html"),
        "settings": {
            "weights": predictor.name,
            "annotations": str(dataset.annotations),
            **new_scorer().settings(),
            "threshold": shown,
            "size": predictor.size,
            "flip": predictor.flip,
            "scales": predictor.scales,
            "protocol": predictor.protocol,
            "device": str(predictor.device),
        },
        "versions": versions(),
    }
    write_json(folder / "diagnosis.json", report, indent=1)
    pictures = [_compared(dataset, case) for case in worst]
    told = f"{dataset.annotations}, {len(dataset)} images, {date.today():%d %B %Y}"
    with whole_file(folder / "diagnosis.html") as file:
        file.write(diagnosis_page(report, pictures, told).encode())
    return report


def open_set(
    predictor: Predictor,
    weights: str | Path | nn.Module,
    annotations: str | Path | None,
    images: str | Path | None,
    category: str | None,
    quiet: bool,
) -> Photos:
    """Open the labelled set that is given, or the validation set of the run of the weights."""
    if annotations is not None and images is not None:
        return open_labelled(predictor, annotations, images, category, quiet)
    if annotations is not None or images is not None:
        given, missing = ("annotations", "images") if images is None else ("images", "annotations")
        raise UserError(f"--{given} is given without --{missing}; give both, or none of them")
    if isinstance(weights, nn.Module):
        raise UserError("a model in memory has no recipe; give annotations and images")
    return open_validation_set(predictor, Path(weights), quiet)


def folder_beside(weights: str | Path | nn.Module, out: str | Path | None) -> Path:
    """The folder of the report: `out`, else "diagnosis" beside a model file or in this folder."""
    if out is not None:
        return Path(out)
    is_file = not isinstance(weights, nn.Module) and Path(weights).is_file()
    return (Path(weights).parent if is_file else Path()) / "diagnosis"


def _cases(
    predictor: Predictor, dataset: Photos, scorer: Scorer, shown: float, quiet: bool
) -> tuple[list[Case], list[str]]:
    """Predict every image and sort its errors; also the messages of images that failed."""
    cases: list[Case] = []
    failed: list[str] = []
    results = examine_labelled(predictor, dataset, predictor.task.oracles)
    bar = tqdm(results, "images", len(dataset), disable=quiet or None, leave=False)
    for index, found in enumerate(bar):
        if isinstance(found, UserError):
            failed.append(str(found))
            print_note(str(found)) if not quiet else None
        else:
            cases.append(_case(index, found, scorer, shown, predictor.stride))
    if not cases:
        raise UserError(f"no image of the set could be read; the first: {failed[0]}")
    return cases, failed


def _case(index: int, found: Examined, scorer: Scorer, shown: float, stride: int) -> Case:
    return Case(
        index,
        found.sample.file,
        scorer.sort_errors(found.sample, found.result),
        scorer.sort_errors(found.sample, found.result.above(shown)),
        found.oracles,
        found.tags,
        found.scale,
        stride,
    )


def _report(
    predictor: Predictor, cases: list[Case], new_scorer: Any, shown: float, quiet: bool
) -> dict[str, Any]:
    """Everything about the cases: figures, rankings and advice."""
    measure = Measure(cases, new_scorer)
    steps = 3 + len(cases[0].every.kinds)
    with tqdm(total=steps, disable=quiet or None, leave=False) as bar:

        def progress(what: str) -> None:
            bar.set_description(what)
            bar.update()

        report = measured(measure, shown, progress)
        progress("rankings")
        types = ranked_types(measure)
        size = "×".join(map(str, predictor.size))
        if predictor.task.zoom is not None:
            size = f"at {predictor.task.zoom:g} times the size of the image"
        return report | {"types": types, "advice": advise(measure, report, types, size)}


def _compared(dataset: Photos, case: Case) -> Compared:
    """The truth and the prediction of an image, drawn side by side."""
    image = dataset.load(case.index).image
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    affine = Affine.scaling(size[0] / width, size[1] / height).matrix

    def drawn(result: Result, numbers: Sequence[int]) -> np.ndarray:
        placed = result.transform(affine, width=size[0], height=size[1])
        poses = placed.tracked_keypoints() is not None
        return placed.draw_tracked(small, numbers) if poses else placed.draw(small)

    # A pose has the colour of the true one that it describes.
    errors, count = case.shown, len(case.shown.truth)
    extra = count + np.arange(len(errors.match))
    truth = drawn(errors.truth, range(count))
    found = drawn(errors.found, np.where(errors.match >= 0, errors.match, extra).tolist())
    both = np.concatenate([truth, np.full((size[1], 8, 3), 128, np.uint8), found], axis=1)
    return Compared(case.file, in_words(case), both)
