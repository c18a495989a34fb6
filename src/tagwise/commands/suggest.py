"""`tagwise suggest`: which images to label next, by how unsure a model is about them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import cv2
import numpy as np
from torch import nn
from tqdm import tqdm

from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.files import make_folder, whole_file
from tagwise.labels import LabelSet, read_labels, write_labels
from tagwise.labels.from_results import categories_of, image_of, instances_of
from tagwise.labels.label_set import LabelledImage
from tagwise.labels.write import SUFFIXES, Target
from tagwise.plot.sheets import contact_sheet
from tagwise.prediction.doubt import Doubt, choose_varied, doubt_of, thumbnail
from tagwise.prediction.options import OlderNames, with_older_names
from tagwise.prediction.outcome import Outcome
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.sources import Source, find_sources
from tagwise.results.pictures import write_picture
from tagwise.training.folds import sequence_of

_SHOWN = 320  # pixels of the longest side of a picture on the contact sheet


class Suggestion(NamedTuple):
    """An image that is worth labelling.

    file: of the photo or video. frame: of the video, from 0, or None. doubt: how unsure the model
    is. instances: the number it found. image: with the predictions as labels to correct.
    """

    file: str
    frame: int | None
    doubt: Doubt
    instances: int
    image: LabelledImage
    picture: np.ndarray
    thumbnail: np.ndarray


def suggest(
    photos: str | Path | Sequence[str | Path],
    weights: str | Path | nn.Module,
    out: str | Path = Path("suggestions"),
    *,
    count: int = 20,
    labelled: str | Path | None = None,
    to: Target = "coco",
    conf: float | None = None,
    mirror: bool = True,
    device: str = "auto",
    quiet: bool = False,
    **older: Unpack[OlderNames],
) -> list[dict[str, Any]]:
    """Choose the images whose labels would teach a model most, and write its predictions for them.

    An image ranks high if its scores suggest many errors, if tags lie between two instances, or if
    the mirrored image gives another result; see `tagwise.prediction.doubt`. Of neighbouring frames
    and of similar views, only one is chosen.

    photos: files, folders, patterns or videos. weights: a trained model, see `Predictor`.
    out: folder for suggestions.csv and suggestions.json (the list), sheet.jpg (pictures in the
        same order), and the predictions as labels to correct.
    count: the most images. labelled: labels of any format; their images are left out.
    to: the format of the predictions, see `tagwise.labels.write`; COCO is labels.json and images/.
    conf: the score from which an instance counts as found; by default the model's own.
    mirror: also run each mirrored image, which takes twice the time.
    device: see `Predictor`. quiet: print nothing.

    Returns the rows of the list, the most unsure first. Raises UserError.

    >>> rows = suggest("videos", "runs/mice/best.safetensors")  # doctest: +SKIP
    >>> rows[0]["file"], rows[0]["doubt"]  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    if count < 1:
        raise UserError(f"count is {count}; use at least 1")
    known = _Known(labelled)
    predictor = Predictor(weights, device=device, conf=named["conf"])
    threshold, predictor.threshold = predictor.threshold, predictor.threshold / 4
    every = list(_examined(predictor, _unlabelled(photos, known), threshold, mirror, quiet))
    if not every:
        raise UserError("no image is left to suggest: all are labelled or cannot be read")
    places = [_place(each) for each in every]
    chosen = choose_varied(
        [each.doubt.total for each in every], places, [each.thumbnail for each in every], count
    )
    best = [every[index] for index in chosen]
    rows = [_row(rank, each) for rank, each in enumerate(best, 1)]
    _write(make_folder(out), predictor, best, rows, to)
    if not quiet and len(chosen) < min(count, len(every)):
        print_note(f"{len(chosen)} images differ enough; the others are neighbours of these")
    return rows


class _Known:
    """The images that have labels already: by their place, or by name if that is not known."""

    def __init__(self, labelled: str | Path | None) -> None:
        images = [] if labelled is None else read_labels(labelled).images
        images = [image for image in images if image.instances]
        self._places = {(image.path.resolve(), image.frame) for image in images if image.path}
        self._names = {(Path(i.file).name, i.frame) for i in images if not i.path}

    def __contains__(self, source: Source) -> bool:
        file = source.file or source.image
        if not isinstance(file, (str, Path)):
            return False
        file = Path(file)
        place, name = (file.resolve(), source.index), (file.name, source.index)
        return place in self._places or name in self._names


def _unlabelled(photos: str | Path | Sequence[str | Path], known: _Known) -> Iterator[Source]:
    for source in find_sources(photos if isinstance(photos, (str, Path)) else list(photos)):
        if source not in known:
            yield source


def _examined(
    predictor: Predictor, sources: Iterator[Source], threshold: float, mirror: bool, quiet: bool
) -> Iterator[Suggestion]:
    """Yield every image with its doubt."""
    sources, ahead = tee(sources)
    outcomes = predictor.outcomes(source.image for source in ahead)
    bar = tqdm(zip(sources, outcomes), unit="image", disable=quiet or None)
    for source, outcome in stoppable(bar):
        if outcome.error is not None:
            print_note(str(outcome.error))
            continue
        yield _examine(predictor, source, outcome, threshold, mirror)


def _examine(
    predictor: Predictor, source: Source, outcome: Outcome, threshold: float, mirror: bool
) -> Suggestion:
    pixels, result = outcome.image, outcome.result
    height, width = pixels.shape[:2]
    mirrored = predictor(np.ascontiguousarray(pixels[:, ::-1])) if mirror else None
    found = result.above(threshold)
    image = image_of(source, result)
    image.width, image.height = width, height
    image.instances = instances_of(found, categories_of(predictor.task)[0].name)
    drawn = found.draw(pixels) if len(found) else pixels
    scale = min(1.0, _SHOWN / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    doubt = doubt_of(result, threshold, mirrored)
    file = str(source.file or result.file)
    return Suggestion(file, source.index, doubt, len(found), image, picture, thumbnail(pixels))


def _place(each: Suggestion) -> tuple[str, int]:
    """The sequence of an image, such as its video, and its number in that."""
    return sequence_of(each.file) if each.frame is None else (each.file, each.frame)


def _row(rank: int, each: Suggestion) -> dict[str, Any]:
    doubt = {"doubt": each.doubt.total, "detection": each.doubt.detection}
    doubt |= {"grouping": each.doubt.grouping, "mirror": each.doubt.mirror}
    rounded = {name: round(value, 4) for name, value in doubt.items()}
    place = {"rank": rank, "file": each.file, "frame": each.frame}
    return {**place, **rounded, "instances": each.instances}


def _write(
    folder: Path,
    predictor: Predictor,
    best: list[Suggestion],
    rows: list[dict[str, Any]],
    to: Target,
) -> None:
    labels = LabelSet(folder, "predictions of tagwise", categories_of(predictor.task))
    labels.images = [each.image for each in best]
    place = folder if to == "coco" else folder / f"labels{SUFFIXES.get(to, '')}"
    write_labels(labels, to, place)
    write_picture(contact_sheet([each.picture for each in best]), folder / "sheet.jpg")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    contents = {"suggestions.csv": text.getvalue(), "suggestions.json": json.dumps(rows, indent=1)}
    for name, content in contents.items():
        with whole_file(folder / name) as file:
            file.write(content.encode("utf-8", "surrogateescape"))
