"""`tagwise tune`: fit the settings of a model's decoder, and its threshold, to labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack

from tqdm import tqdm

from tagwise.commands.diagnose import open_set
from tagwise.commands.labelled_sets import chosen_images, versions
from tagwise.console.streams import print_note
from tagwise.errors import UserError, brief, unknown_name
from tagwise.evaluation.calibration import Calibration, calibrated_threshold, fit_calibration
from tagwise.evaluation.diagnosis.reliability import f1_curve
from tagwise.evaluation.tuning.thresholds import Threshold, choose_threshold
from tagwise.models.find import find_weights
from tagwise.models.model_file import copy_with_spec, read_header
from tagwise.models.shipped import is_shipped
from tagwise.models.spec import parse_spec
from tagwise.prediction.cached import cached_images
from tagwise.prediction.options import OlderNames, with_older_names
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.sources import find_files
from tagwise.prediction.tuning import Detections, Fit, Objective, fit
from tagwise.runtime import keep_freed_memory
from tagwise.settings import Settings

Metric = Literal["ap", "f1"]


def tune(
    weights: str | Path,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    out: str | Path | None = None,
    *,
    write: bool = False,
    metric: Metric = "ap",
    precision: float = 0.0,
    negatives: str | Path | None = None,
    category: str | None = None,
    sigmas: Sequence[float] = (),
    trials: int = 120,
    seed: int = 0,
    device: str = "auto",
    imgsz: int | tuple[int, int] | None = None,
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
    quiet: bool = False,
    **older: Unpack[OlderNames],
) -> dict[str, Any]:
    """Fit the settings of a model's decoder and its threshold to labelled images.

    The network runs once per image. The settings are fitted on one half of the images and measured
    on the other, both ways, which gives the gain to expect; then they are fitted on all of them.
    If the held-out gain is not above 0, the settings stay as they are. The threshold from which
    instances are shown is chosen last, in any case. The scores of a calibrated model are calibrated
    again if its settings change.

    weights: a model file (.safetensors), or the name of a model.
    annotations, images: a labelled set that was not used for training, see `tagwise.evaluate`; by
        default the validation set that the recipe beside the weights names.
    out: model file to write, a copy with the new settings and the same weights.
    write: change the model file itself. Without `out` and `write`, nothing is written.
    metric: "ap"; or "f1", the best F1 over thresholds with at least the wanted `precision`.
    precision: least precision of the threshold, 0 to 1; 0 for the best F1.
    negatives: a folder of photos without any instance; at most one in a hundred of them may show
        one at the threshold, unless that costs more than .02 of F1.
    category, sigmas, first, every, limit: see `tagwise.evaluate`.
    trials: settings to try for each fit. seed: of the search; the same one gives the same result.
    device, imgsz: see `Predictor`.
    quiet: print nothing.

    Returns plain values: "settings" (name to before and after, of those that changed); "fitted"
    and "held_out" (each "before", "after" and "gain" of the metric, in [0, 1]); "kept" (whether the
    settings stay as they are); "threshold" and "threshold_before", see `Threshold`; "negatives"
    (number of photos); "written" (the file, or None); "images", "failed", "versions"; "text",
    the same in words. Raises UserError.

    >>> report = tune("runs/mice/best.safetensors", write=True)  # doctest: +SKIP
    >>> report["held_out"]["gain"], report["threshold"]["value"]  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    _check(metric, precision, trials)
    file = _file_to_change(weights, out, write)
    empty = None if negatives is None else [photo for photo, _ in find_files(negatives)]
    keep_freed_memory()
    predictor = Predictor(weights, device=device, imgsz=named["imgsz"])
    shown, calibration = predictor.threshold, predictor.calibration
    predictor.threshold, predictor.calibration = 0.0, None  # scores as decoded, until the end
    dataset = open_set(predictor, weights, annotations, images, category, quiet)
    dataset.keep(chosen_images(len(dataset), first, every, limit))
    indices = tqdm(range(len(dataset)), "images", disable=quiet or None, leave=False)
    cached, failed = cached_images(predictor, dataset, indices)
    for message in () if quiet else failed:
        print_note(message)
    scoring = {"sigmas": tuple(sigmas)} if sigmas else {}
    least = None if metric == "ap" else precision
    objective = Objective(predictor.task, predictor.stride, dataset, cached, scoring, least)
    with tqdm(total=3 * trials, desc="trials", disable=quiet or None, leave=False) as bar:
        found = fit(objective, trials, seed, bar.update)
    predictor.task = objective.with_settings(found.best)
    largest = None if empty is None else _largest_scores(predictor, empty, quiet)
    detections = objective.detections(found.best)
    chosen = choose_threshold(*detections, precision, largest)
    decoded = calibration.inverse(shown) if calibration else shown
    before = _at(decoded, objective, shown)
    if largest is not None:
        before = replace(before, false_photos=sum(score >= decoded for score in largest))
    if calibration is not None and found.best != objective.start:
        calibration = _recalibrated(detections)
    if calibration is not None:
        chosen = replace(chosen, value=calibrated_threshold(calibration, chosen.value))
    if file is not None:
        _write(file, predictor.task.decoder, found.best, chosen, calibration)
    report = {
        "metric": f"best F1 at a precision of {precision:g}" if metric == "f1" else "AP",
        **_fit_report(objective.start, found),
        "threshold": asdict(chosen),
        "threshold_before": asdict(before),
        "negatives": None if largest is None else len(largest),
        "written": None if file is None else str(file.target),
        "images": len(cached),
        "failed": failed,
        "versions": versions(),
    }
    return report | {"text": format_report(report)}


class _File(NamedTuple):
    """The model file to read and the one to write."""

    source: Path
    target: Path


def _check(metric: str, precision: float, trials: int) -> None:
    if metric not in ("ap", "f1"):
        raise unknown_name("metric", metric, ("ap", "f1"))
    if not 0 <= precision <= 1:
        raise UserError(f"precision is {brief(precision)}; use a number from 0 to 1, such as 0.9")
    if trials < 1:
        raise UserError(f"trials is {brief(trials)}; use a whole number of at least 1")


def _file_to_change(weights: str | Path, out: str | Path | None, write: bool) -> _File | None:
    """The model file to change. Raises UserError for one that cannot be changed."""
    if out is None and not write:
        return None
    if out is not None and write:
        raise UserError("write changes the model file itself, and out writes another; give one")
    source = find_weights(weights)
    if source.suffix != ".safetensors" or read_header(source) is None:
        raise UserError(f"{source} is not a model file of tagwise; run tagwise convert first")
    if write and is_shipped(source):
        raise UserError(f"{weights} is part of the package; write a copy with --out FILE")
    target = source if write else Path(str(out))
    if target.suffix != ".safetensors":
        raise UserError(f"{target} is to be a model file; name it .safetensors")
    return _File(source, target)


def _write(
    file: _File,
    decoder: str,
    settings: Settings,
    threshold: Threshold,
    calibration: Calibration | None,
) -> None:
    """Write the model file; calibration: None for a model without one."""
    spec = parse_spec(read_header(file.source) or "", file.source)
    options = {**spec.task_options, decoder: settings.to_dict()}
    changed = {**spec.decoder, "threshold": threshold.value}
    changed.pop("calibration", None)
    if calibration is not None:
        changed["calibration"] = calibration.to_dict()
    copy_with_spec(file.source, file.target, replace(spec, task_options=options, decoder=changed))


def _recalibrated(found: Detections) -> Calibration | None:
    """The calibration of other scores; None, with a note, if there are too few detections."""
    try:
        return fit_calibration(found.scores, found.right)
    except UserError as error:
        print_note(f"the model loses its calibration: {error}")
        return None


def _largest_scores(predictor: Predictor, photos: Sequence[Path], quiet: bool) -> list[float]:
    """The largest score in each photo, 0 without any; photos that cannot be read are reported."""
    largest = []
    outcomes = predictor.outcomes(photos)
    for outcome in tqdm(outcomes, "negatives", len(photos), disable=quiet or None, leave=False):
        if outcome.error is not None:
            print_note(str(outcome.error))
        else:
            largest.append(float(outcome.result.scores.max(initial=0.0)))
    if not largest:
        raise UserError("no photo of negatives could be read; give a folder of photos")
    return largest


def _fit_report(start: Settings, found: Fit) -> dict[str, Any]:
    """The entries of the report about the settings."""
    before, after = start.to_dict(), found.best.to_dict()
    changed = {k: [before.get(k), v] for k, v in after.items() if before.get(k) != v}
    figures = {
        name: {"before": values[0], "after": values[1], "gain": values[1] - values[0]}
        for name, values in (("fitted", found.fitted), ("held_out", found.held_out))
    }
    return {"settings": changed, **figures, "kept": found.best == start}


def _at(threshold: float, objective: Objective, shown: float) -> Threshold:
    """What the settings of the start give at their threshold; shown: the same, as users see it."""
    curve = f1_curve(*objective.detections(objective.start))
    above = curve["threshold"] >= threshold
    if not above.any():
        return Threshold(shown, 0.0, 0.0, 0.0)
    last = int(above.sum()) - 1
    values = (float(curve[name][last]) for name in ("precision", "recall", "f1"))
    return Threshold(shown, *values)


def format_report(report: dict[str, Any]) -> str:
    """Format what `tune` returns as text."""
    held, fitted = report["held_out"], report["fitted"]
    lines = [
        f"{report['metric']} on images that the settings were not fitted to: "
        f"{100 * held['before']:.1f} before, {100 * held['after']:.1f} after "
        f"({100 * held['gain']:+.1f}); fitted to all {report['images']}: "
        f"{100 * fitted['before']:.1f}, {100 * fitted['after']:.1f}"
    ]
    if report["kept"]:
        lines.append("the settings stay as they are: others gain nothing on other images")
    for name, (before, after) in report["settings"].items():
        lines.append(f"  {name}: {before} -> {after}")
    for name, at in (("before", report["threshold_before"]), ("now", report["threshold"])):
        lines.append(
            f"threshold {name} {at['value']:.3f}: F1 {100 * at['f1']:.1f}, precision "
            f"{100 * at['precision']:.1f}, recall {100 * at['recall']:.1f}"
        )
    if report["negatives"] is not None:
        count, was = (report[k]["false_photos"] for k in ("threshold", "threshold_before"))
        total = report["negatives"]
        told = f"{count} of {total} photos without instances show one"
        lines.append(f"{told} ({was} at the threshold before)")
    if report["written"]:
        lines.append(f"the model is in {report['written']}")
    else:
        lines.append("nothing is written; add --write or --out FILE")
    return "\n".join(lines)
