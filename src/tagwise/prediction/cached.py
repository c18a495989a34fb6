"""A labelled set with the network's maps of every image, to decode it again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tagwise.console.interrupts import stoppable
from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.prediction.labelled import placed_maps
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.tta import Maps
from tagwise.results import Result
from tagwise.tasks import Task
from tagwise.tasks.base import Placement

_WHOLE = 1 << 30  # bytes of maps up to which they stay float32
_LARGEST = 4 << 30


@dataclass(frozen=True)
class CachedImage:
    """The labels of an image without its pixels, and the network's maps; see `Examined`."""

    index: int
    sample: Sample
    maps: Maps
    placement: Placement

    def decode(self, task: Task, stride: int) -> Result:
        """The instances that a task with other settings of its decoder finds, best first."""
        maps = {name: values.float() for name, values in self.maps.items()}
        return task.decode(maps, stride, [self.placement])[0]


def cached_images(
    predictor: Predictor, dataset: Photos, indices: Iterable[int]
) -> tuple[list[CachedImage], list[str]]:
    """Run the network once on some images of a set; also the messages of those that failed.

    Maps are float16 from 1 GiB on. Raises UserError if they need more than 4 GiB even so.
    """
    images: list[CachedImage] = []
    failed: list[str] = []
    used, half = 0, False
    for index in stoppable(indices):
        try:
            sample = dataset.load(index)
            maps, placement = placed_maps(predictor, sample.image)
        except UserError as error:
            failed.append(str(error))
            continue
        light = replace(sample, image=np.zeros((0, 0, 3), np.uint8))
        maps = {name: values.cpu() for name, values in maps.items()}
        maps = {name: values.half() for name, values in maps.items()} if half else maps
        images.append(CachedImage(index, light, maps, placement))
        used += _bytes_of(maps)
        if used > _WHOLE and not half:
            half = True
            images = [_halved(image) for image in images]
            used = sum(_bytes_of(image.maps) for image in images)
        if used > _LARGEST:
            raise UserError(
                f"the maps of {len(images)} images need {used >> 30} GiB; use fewer with --limit"
            )
    if not images:
        raise UserError(f"no image of the set could be read; the first: {failed[0]}")
    return images, failed


def _halved(image: CachedImage) -> CachedImage:
    return replace(image, maps={name: values.half() for name, values in image.maps.items()})


def _bytes_of(maps: Maps) -> int:
    return sum(values.numel() * values.element_size() for values in maps.values())
