"""`tagwise label`: confident predictions as labels, and ignored regions where unsure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import tee
from pathlib import Path
from typing import NamedTuple

from torch import nn
from tqdm import tqdm

from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.labels import LabelSet
from tagwise.labels.from_results import categories_of, confident_instances, image_of
from tagwise.labels.write_coco import coco_content
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.sources import find_sources
from tagwise.results import Masks


class PseudoLabels(NamedTuple):
    """What `label` wrote.

    annotations: the COCO JSON. images: the folder that its file names are relative to.
    kept: the number of images with labels. seen: the number of images. labels: of the instances.
    ignored: of the ignored regions.
    """

    annotations: Path
    images: Path
    kept: int
    seen: int
    labels: int
    ignored: int


def label(
    photos: str | Path | Sequence[str | Path],
    weights: str | Path | nn.Module,
    out: str | Path = Path("pseudo.json"),
    *,
    confident: float = 0.5,
    least: float = 0.1,
    flip: bool = True,
    device: str = "auto",
    quiet: bool = False,
) -> PseudoLabels:
    """Label photos with a trained model, for `data.train` of a recipe.

    Instances with a score of at least `confident` become labels. Where the model is less sure, the
    photo is not background either: the boxes of instances with a score from `least` to `confident`,
    and the surroundings of unsure keypoints, are written as crowd regions (`iscrowd`), which give
    no loss. Photos without a confident instance are left out.

    photos: files, folders or patterns. weights: a trained model of poses or boxes, see `Predictor`.
    out: the COCO JSON to write.
    flip: also run each mirrored photo, which gives better labels in twice the time.
    device: see `Predictor`. quiet: show no progress.
    Raises UserError, also if no photo has a confident instance.

    >>> found = label("photos", "runs/mice/best.safetensors")  # doctest: +SKIP
    """
    if not 0 <= least <= confident <= 1:
        raise UserError(
            f"least is {least} and confident is {confident}; use 0 <= least <= confident <= 1"
        )
    predictor = Predictor(weights, device=device, flip=flip, conf=least)
    task = predictor.task
    if issubclass(task.result, Masks):
        raise UserError("label maps cannot hold ignored regions; use a model of poses or boxes")
    sources, ahead = tee(find_sources(photos if isinstance(photos, (str, Path)) else list(photos)))
    outcomes = predictor.outcomes(source.image for source in ahead)
    found, seen = LabelSet(Path(out), "labels of tagwise", categories_of(task)), 0
    for source, outcome in stoppable(
        tqdm(zip(sources, outcomes), unit="photo", disable=quiet or None)
    ):
        if outcome.error is not None:
            print_note(str(outcome.error))
            continue
        if source.file is not None:
            raise UserError(f"{source.file} is a video; give photos, such as its frames")
        seen += 1
        image = image_of(source, outcome.result)
        image.height, image.width = outcome.image.shape[:2]
        image.instances = confident_instances(
            outcome.result, found.categories[0].name, confident, least
        )
        if image.instances:
            found.images.append(image)
    if not found.images:
        raise UserError(
            f"no instance in {seen} photos has a score of at least {confident}; lower confident"
        )
    return _written(found, Path(out), seen)


def _written(found: LabelSet, path: Path, seen: int) -> PseudoLabels:
    folders = [image.path.absolute().parent for image in found.images]
    root = Path(os.path.commonpath(folders))
    images = [
        (image, image.path.absolute().relative_to(root).as_posix(), (image.width, image.height))
        for image in found.images
    ]
    content = json.dumps(coco_content(found, images), ensure_ascii=False)
    with whole_file(path) as file:
        file.write(content.encode("utf-8", "surrogateescape"))
    crowds = sum(each.crowd for image in found.images for each in image.instances)
    every = sum(len(image.instances) for image in found.images)
    return PseudoLabels(path, root, len(images), seen, every - crowds, crowds)
