"""Reading and copying labelled images: files, frames of videos, and images inside labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from tagwise.data.images import image_size
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import open_regular, whole_file
from tagwise.labels.find import name_parts
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


def write_images(
    images: Sequence[LabelledImage],
    names: dict[int, str],
    target: Path,
    problems: list[Problem],
    progress: bool = False,
) -> dict[int, Size]:
    """Write the images that are not in the target folder yet; frames become PNG files.

    names: the file name of each image in that folder, by its id. Images that cannot be read are
        added to the problems. Returns the sizes (width, height) of the others, by id.
    """
    sizes: dict[int, Size] = {}
    readable = each_readable(images, problems)
    bar = tqdm(readable, "images", len(images), disable=None if progress else True)
    for image, pixels, size in bar:
        path = target / names[id(image)]
        if pixels is not None:
            encoded = cv2.imencode(".png", pixels[..., ::-1])[1]
            with whole_file(path) as file:
                file.write(encoded.tobytes())
        elif path.absolute() != image.path.absolute():
            with open_regular(image.path, "image") as source, whole_file(path) as file:
                file.write(source.read())
        sizes[id(image)] = size
    return sizes


def known_sizes(images: Sequence[LabelledImage], problems: list[Problem]) -> dict[int, Size]:
    """The sizes (width, height) of images, by id, from the labels or the header of the file.

    Images of unknown size are added to the problems.
    """
    sizes: dict[int, Size] = {}
    for image in images:
        try:
            if image.width and image.height:
                sizes[id(image)] = (image.width, image.height)
            elif _is_file(image):
                sizes[id(image)] = image_size(image.path)
            else:
                kind = "frame of unknown size, left out (write the images too)"
                problems.append(Problem(kind, image.file, detail=f"frame {image.frame}"))
        except UserError as error:
            problems.append(Problem("image cannot be read, left out", detail=str(error)))
    return sizes


def image_names(images: Iterable[LabelledImage], flat: bool = False) -> dict[int, str]:
    """A different file name for each image, by its id.

    flat: without folders, and with different names even without the suffixes.
    Image files keep the folders in which they differ. A frame is named after its video and its
    index: clip-000079.png.
    """
    images = list(images)
    paths = [image.path.absolute().parent for image in images if _is_file(image)]
    root = Path(os.path.commonpath(paths)) if paths else Path()
    names: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        if _is_file(image):
            name = image.path.absolute().relative_to(root).as_posix()
        else:
            stem = Path((name_parts(image.file) or ("image",))[-1]).stem
            name = f"{stem}-{image.frame or 0:06d}.png"
        stem, suffix = os.path.splitext(name.replace("/", "_") if flat else name)
        unique, number = stem, 2
        while (key := (unique if flat else unique + suffix).casefold()) in taken:
            unique, number = f"{stem}_{number}", number + 1
        taken.add(key)
        names[id(image)] = unique + suffix
    return names


def _is_file(image: LabelledImage) -> bool:
    return image.path is not None and image.frame is None
