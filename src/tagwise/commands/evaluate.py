"""`tagwise eval`: measure a model on a labelled set, as a table and a JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn
from tqdm import tqdm

from tagwise.commands.labelled_sets import chosen_images, open_labelled, versions, write_json
from tagwise.console.streams import print_note, print_result
from tagwise.errors import UserError
from tagwise.evaluation.scoring import Scorer
from tagwise.prediction.labelled import predict_labelled, predict_with_truth
from tagwise.prediction.options import OlderNames, Precision, Runtime, with_older_names
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.protocols import Protocol, default_protocol, public_model
from tagwise.prediction.runtimes import runtime_for
from tagwise.results import Result
from tagwise.runtime import keep_freed_memory


def evaluate(
    weights: str | Path | nn.Module,
    annotations: str | Path,
    images: str | Path,
    out: str | Path | None = None,
    *,
    coco: str | Path | None = None,
    category: str | None = None,
    sigmas: Sequence[float] = (),
    style: Literal["coco", "crowdpose"] | None = None,
    max_dets: int | None = None,
    oracle: Literal["grouping", "keypoints", "corners", "offsets", "foreground", "both"]
    | None = None,
    device: str = "auto",
    imgsz: int | tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    protocol: Protocol | None = None,
    conf: float | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
    quiet: bool = False,
    **older: Unpack[OlderNames],
) -> dict[str, Any]:
    """Measure a model of any task on a labelled set.

    weights: the name of a model that ships with tagwise, or of a public one (see `list_models`), a
        model file (.safetensors or .onnx), a published checkpoint, or a model.
    annotations, images: a COCO JSON and the folder that its file names are relative to; for models
        that segment, a folder of label maps and the folder of their images, with the same names.
        Keypoint types and classes are matched with the model's by name, in any order.
    out: JSON file for figures, settings and versions. coco: JSON file for the results.
    category: for poses only, the category with keypoints to evaluate, if the JSON has several; by
        default the first that has annotations.
    sigmas: for poses only; each gives one evaluation with this OKS sigma for all keypoint types,
        named "AP@.4" and so on. By default those of the JSON's category, else those that the model
        was trained with.
    style: for poses only, "coco" (the default) or "crowdpose"; see `keypoint_metrics`.
    max_dets: best instances of an image, and of a class, that count; by default 20 poses, and 500
        boxes or masks.
    oracle: replace one part of the model by the truth, to find which part limits it; see
        `tagwise.evaluation`. Poses: "grouping" groups the found keypoints by the truth, and
        "keypoints" combines the true keypoints with the model's tags. Boxes: "grouping" pairs the
        found corners by the truth, "corners" combines the true corners with the model's tags and
        offsets, and "offsets" moves the found corners to the true ones. Masks: "grouping" separates
        the found pixels by the truth, and "foreground" combines the true pixels with the model's
        tags and seeds. "both": the truth replaces the detections and the grouping.
    device, imgsz, flip, scales, batch_size, precision, runtime: see `Predictor`.
    conf: instances with a lower score are left out; by default none is.
    protocol: see `Predictor`; here the default for a public model is "published".
    first, every, limit: use only the images first, first + every, ..., at most `limit` of them.
    quiet: print nothing.

    An image that cannot be read is reported, and counts as an image without detections.

    Returns the content of `out`: "metrics" (name to figure, in [0, 1], or -1 if nothing is
    labelled), "images", "failed" (messages), "settings", "versions", and for a public model
    "published" (its published AP, in [0, 1], and how it was measured). Raises UserError.

    The figures are those of `keypoint_metrics`, of `box_metrics`, or of `mask_metrics` and
    `pooled_figures`.

    >>> report = evaluate("robots", "robots/val.json", "robots/images")  # doctest: +SKIP
    >>> report["metrics"]["AP"]  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    options = {"imgsz": named["imgsz"], "conf": named["conf"] or 0.0, "flip": flip}
    options |= {"scales": tuple(scales), "batch_size": batch_size, "precision": precision}
    scoring = {"sigmas": tuple(sigmas) or None, "style": style, "max_dets": max_dets}
    scoring = {name: value for name, value in scoring.items() if value is not None}
    keep_freed_memory()
    protocol = protocol or default_protocol(weights, measured=True)
    runtime = runtime_for(runtime, weights, limit)
    predictor = Predictor(weights, device=device, protocol=protocol, runtime=runtime, **options)
    predictor.task.check_evaluation(oracle, scoring)
    dataset = open_labelled(predictor, annotations, images, category, quiet)
    dataset.keep(chosen_images(len(dataset), first, every, limit))
    scorer = predictor.task.make_scorer(dataset, **scoring)
    if oracle:
        results = predict_with_truth(predictor, dataset, oracle)
    else:
        results = predict_labelled(predictor, dataset)
    failed = _collect(results, scorer, quiet)
    write_json(coco, scorer.rows)  # before the figures, which may fail
    report = {
        "metrics": scorer.figures(),
        "images": len(dataset),
        "instances": len(scorer.rows),
        "failed": failed,
        "settings": {
            "weights": predictor.name,
            "annotations": str(annotations),
            "category": category,
            **scorer.settings(),
            "oracle": oracle,
            "first": first,
            "every": every,
            "limit": limit,
            "device": str(predictor.device),
            **options,
            **_used(predictor),
        },
        "versions": versions(),
        **_published(weights, predictor),
    }
    write_json(out, report, indent=1)
    if not quiet:
        print_result(format_table(report))
    return report


def _used(predictor: Predictor) -> dict[str, Any]:
    """The settings of the test that the model and its protocol may determine."""
    names = ("size", "flip", "scales", "protocol", "runtime")
    return {name: getattr(predictor, name) for name in names}


def _published(weights: str | Path | nn.Module, predictor: Predictor) -> dict[str, Any]:
    """What the authors of a public model measured, as an entry of the report."""
    public = public_model(weights, predictor.model.spec)
    if public is None or public.ap is None:
        return {}
    return {"published": {"AP": public.ap / 100, "set": public.set, "test": public.test}}


def _beside(report: dict[str, Any]) -> str:
    """The published AP next to the measured one, in a line."""
    told, settings = report["published"], report["settings"]
    # Files are named after the set: person_keypoints_val2017.json. Other names tell nothing.
    same = told["set"].split()[-1] in Path(settings["annotations"]).name
    part = (settings["first"], settings["every"], settings["limit"]) != (0, 1, None)
    mark = "" if same and not part else "; these are other photos, or a part of those"
    return (
        f"published AP {_percent(told['AP'])} on {told['set']} ({told['test']}), "
        f"measured here {_percent(report['metrics'].get('AP', -1))} "
        f"({settings['protocol'] or 'no'} protocol){mark}"
    )


def format_table(report: dict[str, Any]) -> str:
    """Format the figures of `evaluate` as text, in percent.

    There is a row for the whole set, and one for each class ("AP/RBC"), IoU threshold or set of
    sigmas ("AP@.4"). A line of names precedes the first row and each row with other names.
    """
    rows: dict[str, dict[str, float]] = {}
    for key, figure in report["metrics"].items():
        name, slash, label = key.partition("/")
        if not slash:
            name, at, label = key.partition("@")
            label = at + label
        rows.setdefault(label, {})[name] = figure
    settings = report["settings"]
    title = f"{settings['weights']} on {settings['annotations']}, {report['images']} images"
    if settings["oracle"]:
        title += f", oracle: {settings['oracle']}"
    lines, names = [title], []
    first = max(map(len, rows)) + 2
    width = max(6, *(len(name) for row in rows.values() for name in row)) + 2
    for label, figures in rows.items():
        if list(figures) != names:
            names = list(figures)
            lines.append(" " * first + "".join(f"{name:>{width}}" for name in names))
        cells = "".join(f"{_percent(figure):>{width}}" for figure in figures.values())
        lines.append(f"{label:<{first}}{cells}")
    if "published" in report and not settings["oracle"]:
        lines.append(_beside(report))
    if report["failed"]:
        lines.append(f"{len(report['failed'])} images could not be read and count as empty:")
        lines += [f"  {message}" for message in report["failed"]]
    return "\n".join(lines)


def _percent(figure: float) -> str:
    """Format a figure for the table; a dash if nothing is labelled."""
    return "–" if figure < 0 else f"{100 * figure:.1f}"


def _collect(results: Iterator[Result | UserError], scorer: Scorer, quiet: bool) -> list[str]:
    """Add every result to the scorer; returns the messages of images that failed."""
    failed: list[str] = []
    total = len(scorer.dataset)
    bar = tqdm(results, "images", total, disable=quiet or None, leave=False)
    for index, found in enumerate(bar):
        if isinstance(found, UserError):
            failed.append(str(found))
            print_note(str(found)) if not quiet else None
        else:
            scorer.add(index, found)
    if len(failed) == total:
        raise UserError(f"no image of the set could be read; the first: {failed[0]}")
    return failed
