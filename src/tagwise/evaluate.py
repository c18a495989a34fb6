"""`tagwise eval`: a model over a labelled set, as a table of figures and a JSON file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from tqdm import tqdm

from tagwise import diagnose
from tagwise.data.coco import match_types
from tagwise.data.images import read_image
from tagwise.errors import UserError, unknown_name
from tagwise.files import whole_file
from tagwise.memory import keep_freed_memory
from tagwise.metrics._coco import part_of
from tagwise.metrics.keypoint_ap import keypoint_metrics, load_ground_truth
from tagwise.predictor import Outcome, Precision, Predictor
from tagwise.results import Poses
from tagwise.skeletons import Skeleton

__all__ = ["evaluate", "format_table", "keypoint_metrics"]


def evaluate(
    weights: str | Path | nn.Module,
    annotations: str | Path,
    images: str | Path,
    out: str | Path | None = None,
    *,
    coco: str | Path | None = None,
    sigmas: Sequence[float] = (),
    style: Literal["coco", "crowdpose"] = "coco",
    max_dets: int = 20,
    oracle: Literal["grouping", "keypoints"] | None = None,
    device: str = "auto",
    size: int | tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    threshold: float = 0.0,
    batch_size: int | None = None,
    precision: Precision = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Keypoint AP and AR of a model on a labelled set.

    weights: name of a model that ships with tagwise, a .safetensors file, or a model.
    annotations, images: a COCO keypoint JSON and the folder that its file names start from. Its
        keypoint types are found among the model's by name, in any order.
    out: JSON file for figures, settings and versions. coco: one for the results themselves.
    sigmas: each evaluates once with that OKS sigma for all keypoint types, as figures "AP@.4" and
        so on. By default those of the JSON's category, else those that the model was trained with.
    style, max_dets: see `keypoint_metrics`.
    oracle: what half of the model limits it? "grouping" has the found keypoints grouped by the
        truth, "keypoints" gives the true keypoints the model's tags; see `tagwise.diagnose`.
    device, size, flip, scales, threshold, batch_size, precision: see `Predictor`.
    first, every, limit: images number first, first + every, ... only, at most `limit` of them.
    quiet: print nothing.

    An image that cannot be read is named, and counts as one in which nothing was found.

    Returns what `out` holds: "metrics" (name to figure, in [0, 1] or -1 where nothing is labelled),
    "images", "failed" (messages), "settings", "versions". Raises UserError.

    >>> report = evaluate("robots", "robots/val.json", "robots/images")  # doctest: +SKIP
    >>> report["metrics"]["AP"]  # doctest: +SKIP
    """
    if oracle not in (None, *diagnose.ORACLES):
        raise unknown_name("oracle", oracle, diagnose.ORACLES)
    options = {"size": size, "flip": flip, "scales": tuple(scales), "threshold": threshold}
    options |= {"batch_size": batch_size, "precision": precision}
    truth = _chosen(load_ground_truth(annotations), first, every, limit)
    keep_freed_memory()
    predictor = Predictor(weights, device=device, **options)
    columns = _columns(predictor, truth, Path(annotations))
    if oracle:
        poses = diagnose.oracle_poses(predictor, truth, images, columns, oracle)
    else:
        poses = predicted_poses(predictor, truth, images)
    rows, failed = _collect(poses, truth, columns, quiet)
    metrics, sigma_sets = {}, _sigma_sets(sigmas, truth, predictor, columns)
    for name, values in sigma_sets.items():
        found = keypoint_metrics(rows, truth, values, style, max_dets)
        metrics |= {key + name: figure for key, figure in found.items()}
    report = {
        "metrics": metrics,
        "images": len(truth["images"]),
        "instances": len(rows),
        "failed": failed,
        "settings": {
            "weights": predictor.name,
            "annotations": str(annotations),
            "sigmas": {name or "own": values for name, values in sigma_sets.items()},
            "style": style,
            "max_dets": max_dets,
            "oracle": oracle,
            "first": first,
            "every": every,
            "limit": limit,
            "device": str(predictor.device),
            **options,
            "size": predictor.size,
        },
        "versions": _versions(),
    }
    _write(out, report, indent=1)
    _write(coco, rows)
    if not quiet:
        print(format_table(report))
    return report


def predicted_poses(
    predictor: Predictor, truth: dict[str, Any], images: str | Path
) -> Iterator[Poses | UserError]:
    """What the predictor finds in each image of a ground truth, in its order."""
    paths = (Path(images) / str(image.get("file_name")) for image in truth["images"])
    for outcome, image in zip(predictor.outcomes(paths), truth["images"]):
        try:
            yield _poses_as_labelled(predictor, outcome, image)
        except UserError as error:
            yield error


def format_table(report: dict[str, Any]) -> str:
    """The figures of `evaluate` as text: a row for each set of sigmas, in percent."""
    rows: dict[str, dict[str, float]] = {}
    for key, figure in report["metrics"].items():
        name, _, sigma = key.partition("@")
        rows.setdefault(f"@{sigma}" if sigma else "", {})[name] = figure
    settings = report["settings"]
    title = f"{settings['weights']} on {settings['annotations']}, {report['images']} images"
    if settings["oracle"]:
        title += f", oracle: {settings['oracle']}"
    names = list(next(iter(rows.values())))
    width = max(len(row) for row in rows) + 2
    lines = [title, " " * width + "".join(f"{name:>10}" for name in names)]
    for label, figures in rows.items():
        cells = ("–" if figures[name] < 0 else f"{100 * figures[name]:.1f}" for name in names)
        lines.append(f"{label:<{width}}" + "".join(f"{cell:>10}" for cell in cells))
    if report["failed"]:
        lines.append(f"{len(report['failed'])} images could not be read and count as empty:")
        lines += [f"  {message}" for message in report["failed"]]
    return "\n".join(lines)


def _poses_as_labelled(predictor: Predictor, outcome: Outcome, image: dict[str, Any]) -> Poses:
    """The poses in the pixels that the annotations mean. Raises UserError if the photo differs."""
    if outcome.error is not None:
        raise outcome.error
    said = (image.get("height"), image.get("width"))
    shape = outcome.image.shape[:2]
    if None in said or shape == said:
        return outcome.poses
    if shape[::-1] == said:  # labelled as stored, not as its EXIF orientation shows it
        return predictor(read_image(outcome.source, upright=False))
    raise UserError(
        f"image {outcome.source} is {shape[1]}×{shape[0]} pixels, but the annotations say "
        f"{said[1]}×{said[0]}; was it resized?"
    )


def _collect(
    poses: Iterator[Poses | UserError], truth: dict[str, Any], columns: list[int], quiet: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """COCO results in the truth's keypoint types, and the messages of images that failed."""
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    category = truth["categories"][0]
    skeleton = Skeleton.from_coco(category)
    bar = tqdm(poses, "images", len(truth["images"]), disable=quiet or None, leave=False)
    for found, image in zip(bar, truth["images"]):
        if isinstance(found, UserError):
            failed.append(str(found))
            tqdm.write(str(found)) if not quiet else None
            continue
        tags = found.tags[:, columns]
        found = Poses(found.keypoints[:, columns], found.scores, tags, skeleton)
        rows += found.to_coco(image["id"], category["id"])
    if len(failed) == len(truth["images"]):
        raise UserError(f"no image of the set could be read; the first: {failed[0]}")
    return rows, failed


def _chosen(truth: dict[str, Any], first: int, every: int, limit: int | None) -> dict[str, Any]:
    """The images number first, first + every, and so on, at most `limit` of them."""
    if first < 0 or every < 1 or (limit is not None and limit < 1):
        raise UserError(
            f"first {first}, every {every}, limit {limit} choose no images; use 0, 1, 1 or more"
        )
    ids = [image["id"] for image in truth["images"]][first::every][:limit]
    if not ids:
        raise UserError(f"no image is left: the set has {len(truth['images'])}, first is {first}")
    return part_of(truth, ids)


def _columns(predictor: Predictor, truth: dict[str, Any], where: Path) -> list[int]:
    """For each keypoint type of the truth, which of the model's it is."""
    if predictor.task.name != "pose":
        raise UserError(f"{predictor.name} is a {predictor.task.name} model, none of keypoints")
    wanted, own = Skeleton.from_coco(truth["categories"][0]), predictor.task.skeleton
    columns = match_types(wanted, own, {}, where).tolist()
    missing = [name for name, column in zip(wanted.keypoints, columns) if column < 0]
    if missing:
        raise UserError(
            f"{where} labels {', '.join(missing)}, which {predictor.name} does not predict; "
            f"it predicts {', '.join(own.keypoints)}"
        )
    return columns


def _sigma_sets(
    sigmas: Sequence[float], truth: dict[str, Any], predictor: Predictor, columns: list[int]
) -> dict[str, float | list[float]]:
    """Sigmas by the ending that their figures' names get."""
    if sigmas:
        return {f"@{sigma:g}".replace("@0.", "@."): sigma for sigma in sigmas}
    given = truth["categories"][0].get("sigmas")
    return {"": given or [predictor.task.skeleton.sigmas[column] for column in columns]}


def _write(path: str | Path | None, content: Any, indent: int | None = None) -> None:
    if path is None:
        return
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    with whole_file(Path(path)) as file:
        file.write(text.encode())


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("tagwise", "hotcoco", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
