"""The figures of shipped models as text: blocks of their cards, and the table of the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "src" / "tagwise" / "weights"
FIGURES = CARDS / "figures.json"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


class Shipped(NamedTuple):
    """A model that ships with the package, and its validation set.

    annotations, images: in the folder of the data. held: the share of the images, the last by name,
    that is the validation set; None: all. least: labelled keypoints that an instance needs, if a
    part is held out. sigmas: OKS sigmas. video: for annotations of another program, a file of
    the data and the name that the annotations give it.
    other: the options of `tagwise.evaluate` for the second input size. columns: of the card.
    main: the columns of the README's table, for AP and for AP50.
    finds, trained, unit: texts of the README; unit: what an instance is.
    """

    annotations: str
    images: str
    columns: tuple[str, ...]
    main: tuple[tuple[str, ...], tuple[str, ...]]
    other: dict[str, Any]
    finds: str
    trained: str
    unit: str
    held: float | None = None
    least: int = 0
    video: tuple[str, str] | None = None
    sigmas: tuple[float, ...] = ()


POSE = ("AP", "AP50", "AP75")
MODELS = {
    "people": Shipped(
        "people_coco/val.json",
        "people_coco/images",
        POSE,
        (("AP",), ("AP50",)),
        {"size": 640},
        "17 keypoints of people",
        "6,090 photos, from MoveNet's trunk",
        "people, COCO sigmas",
    ),
    "robots": Shipped(
        "robots/val.json",
        "robots/images",
        ("AP@.4", "AP50@.4", "AP@.1", "AP50@.1"),
        (("AP@.4", "AP@.1"), ("AP50@.4", "AP50@.1")),
        {"size": 384},
        "6 keypoints of soccer robots",
        "1,004 photos, from ImageNet",
        "robots, sigmas .4 / .1",
        sigmas=(0.4, 0.1),
    ),
    "bees": Shipped(
        "bees/train.json",
        "bees/images",
        tuple(f"{name}@.1" for name in POSE),
        (("AP@.1",), ("AP50@.1",)),
        {"size": 640},
        "5 keypoints of honeybees",
        "108 frames, from ImageNet",
        "bees, sigmas .1",
        held=0.2,
        sigmas=(0.1,),
    ),
    "flies": Shipped(
        "lab_files/sleap/centered_pair_predictions.slp",
        "lab_files/sleap/videos",
        POSE,
        (("AP",), ("AP50",)),
        {"size": 320},
        "24 keypoints of two fruit flies",
        "900 frames, from `bees`",
        "flies, sigmas .1",
        held=200 / 1100,
        least=8,
        video=("lab_files/sleap/videos/centered_pair_small.mp4", "centered_pair_low_quality.mp4"),
    ),
    "blood": Shipped(
        "blood/val.json",
        "blood/images",
        (*POSE, "AP50/RBC", "AP50/WBC", "AP50/Platelets"),
        (("AP",), ("AP50",)),
        {"size": 512},
        "boxes of 3 types of blood cells",
        "240 photos, from ImageNet",
        "cells",
    ),
    "nuclei": Shipped(
        "nuclei/val/labels",
        "nuclei/val/images",
        ("F1@.5", "F1@.7", "F1@.9", "pooledAP@.5", "pooledAP@.7", *POSE[:2]),
        (("AP",), ("AP50",)),
        {"scales": (0.75,)},
        "masks of cell nuclei",
        "470 images, from ImageNet",
        "nuclei",
    ),
}
ORACLES = {
    "grouping": "these detections, true grouping",
    "keypoints": "true keypoints, these tags",
    "corners": "true corners, these tags and offsets",
    "offsets": "found corners moved to the true ones",
    "foreground": "true pixels, these tags",
    "both": "true detections, true grouping",
}


def read_figures(path: Path = FIGURES) -> dict[str, Any]:
    """The figures of each model by its name; none if the file does not exist."""
    return json.loads(path.read_text()) if path.is_file() else {}


def card_block(name: str, found: dict[str, Any]) -> str:
    """The text between the markers of a card; found: the figures of its model."""
    model = MODELS[name]
    columns = model.columns
    lines = [
        f"{found['parameters'] / 1e6:.1f} M parameters, {found['megabytes']:.1f} MB, "
        f"{found['macs'] / 1e9:.1f} G multiply-adds at {found['input'][0]} × {found['input'][1]} "
        f"pixels. {_speed(found)}",
        "",
        f"| {found['images']} photos, {found['instances']:,} instances | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for title, figures in found["rows"].items():
        cells = [_percent(figures.get(column)) for column in columns]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _reliability(model, found)])


def facts(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """What `tagwise models` says about a model, see `tagwise.published.registry.ShippedFacts`."""
    model, shipped = MODELS[name], found["rows"]["as shipped"]
    where = f"{found['images']} photos"
    if model.sigmas:
        where += f", sigmas {model.sigmas[0]:g}".replace(" 0.", " .")
    f1 = "" if "F1@.5" not in shipped else f"F1 at IoU .5: {_percent(shipped['F1@.5'])}"
    return {
        "finds": model.finds,
        "ap": round(100 * shipped[model.main[0][0]], 1),
        "set": where,
        "note": f1,
        "ms": round(found["ms"]["fp32"]),
    }


def readme_table(figures: dict[str, Any]) -> str:
    """The table of the models in the README."""
    head = (
        "| model | finds | trained on | validation | AP | AP50 | parameters | multiply-adds | size "
    )
    lines = [head + "| ms: bf16 (fp32), OpenVINO |", "|---" * 10 + "|"]
    for name, model in MODELS.items():
        found = figures[name]
        shipped = found["rows"]["as shipped"]
        ap, half = (" / ".join(_percent(shipped[key]) for key in keys) for keys in model.main)
        if "F1@.5" in shipped:
            ap += f" (F1 at IoU .5: {_percent(shipped['F1@.5'])})"
        checked = f"{found['images']} photos, {found['instances']:,} {model.unit}"
        cells = [f"`{name}`", model.finds, model.trained, checked, ap, half]
        cells += [f"{found['parameters'] / 1e6:.1f} M", f"{found['macs'] / 1e9:.1f} G"]
        cells += [f"{found['megabytes']:.1f} MB", _milliseconds(found["ms"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def replaced(text: str, block: str, where: str) -> str:
    """A text with the block between its markers replaced. Raises SystemExit without markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{where} needs the lines {BEGIN} and {END} once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def block_of(text: str) -> str:
    """The text between the markers."""
    return text.split(BEGIN)[1].split(END)[0].strip("\n")


def write_texts(figures: dict[str, Any]) -> None:
    """Rewrite the blocks of the cards, and the table of the README, from the figures."""
    texts = {CARDS / f"{name}.md": card_block(name, figures[name]) for name in figures}
    if set(figures) >= set(MODELS):
        texts[ROOT / "README.md"] = readme_table(figures)
    for path, block in texts.items():
        path.write_text(replaced(path.read_text(encoding="utf-8"), block, str(path)), "utf-8")


def _speed(found: dict[str, Any]) -> str:
    ms = found["ms"]
    half = f"{ms['bf16']:.0f} ms in bf16 and " if ms.get("bf16") else ""
    openvino = f", {ms['openvino']:.0f} ms with OpenVINO" if ms.get("openvino") else ""
    return (
        f"One photo takes {half}{ms['fp32']:.0f} ms in fp32{openvino}, from the image in memory to "
        f"the result, on one core of an {found['machine']['processor']} (median of 20 photos)."
    )


def _milliseconds(ms: dict[str, float | None]) -> str:
    """bf16 (fp32), and the time with OpenVINO."""
    torch = f"{ms['bf16']:.0f} ({ms['fp32']:.0f})" if ms.get("bf16") else f"({ms['fp32']:.0f})"
    return f"{torch}, {ms['openvino']:.0f}" if ms.get("openvino") else torch


def _percent(figure: float | None) -> str:
    return "–" if figure is None or figure < 0 else f"{100 * figure:.1f}"


def _reliability(model: Shipped, found: dict[str, Any]) -> str:
    r = found["reliability"]
    right = f"OKS of .5 with sigmas {model.sigmas[-1]:g}" if model.sigmas else "OKS or IoU of .5"
    right = right.replace(" 0.", " .")
    error = f"{100 * r['decoded']:.1f} %"
    if r["calibrated"]:  # without folds where --quick leaves too few photos
        held = "not measured" if r["held"] is None else f"{100 * r['held']:.1f} %"
        score = (
            f"Scores are calibrated: their expected calibration error is {held} in five-fold "
            f"cross-validation ({error} before)."
        )
    else:
        score = f"Scores are not calibrated: their expected calibration error is {error}."
    return (
        f"By default, instances with a score of {r['threshold']:.3g} or more are kept: "
        f"{100 * r['precision']:.0f} % of them are right ({right}), and "
        f"{100 * r['recall']:.0f} % of the labelled ones are found. {score}"
    )
