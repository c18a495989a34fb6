"""Reading the pixels of labelled images: files, frames of videos, and images inside labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tagwise.data.images import image_size
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.labels.label_set import LabelledImage
from tagwise.prediction.video import Video

Size = tuple[int, int]  # width, height


def each_readable(
    images: Sequence[LabelledImage], problems: list[Problem]
) -> Iterator[tuple[LabelledImage, np.ndarray | None, Size]]:
    """Yield each image with its pixels (H, W, 3) uint8 RGB and its size (width, height).

    The pixels of an image file are None: it can be copied. The frames of a video are read in one
    pass, so that the order differs from that of the images. Images that cannot be read, or whose
    size differs from that in the labels, are added to the problems and left out.
    """
    videos: dict[Path, list[LabelledImage]] = {}
    for image in images:
        if image.path is not None and image.frame is not None:
            videos.setdefault(image.path, []).append(image)
            continue
        try:
            pixels = image.pixels() if image.pixels else None
            size = pixels.shape[1::-1] if pixels is not None else image_size(image.path)
        except UserError as error:
            problems.append(Problem("image cannot be read, left out", detail=str(error)))
            continue
        if _fits(image, size, problems):
            yield image, pixels, size
    for path, frames in videos.items():
        yield from _frames(path, frames, problems)


def _frames(
    path: Path, images: list[LabelledImage], problems: list[Problem]
) -> Iterator[tuple[LabelledImage, np.ndarray, Size]]:
    wanted: dict[int, list[LabelledImage]] = {}
    for image in images:
        wanted.setdefault(image.frame, []).append(image)
    try:
        for frame in Video(path).frames_at(wanted):
            for image in wanted.pop(frame.index):
                size = frame.image.shape[1::-1]
                if _fits(image, size, problems):
                    yield image, frame.image, size
    except UserError as error:
        if "PyAV" in str(error):
            raise
        problems.append(Problem("video cannot be read", detail=str(error)))
    for index in wanted:
        kind = "video does not contain the labelled frame, left out"
        problems.append(Problem(kind, path.name, detail=f"frame {index}"))


def _fits(image: LabelledImage, size: Size, problems: list[Problem]) -> bool:
    stated = (image.width, image.height)
    if None in stated or stated == size:
        return True
    kind = "image has another size than its labels say, left out"
    detail = f"{size[0]}×{size[1]} instead of {stated[0]}×{stated[1]}"
    problems.append(Problem(kind, image.file, detail=detail))
    return False
