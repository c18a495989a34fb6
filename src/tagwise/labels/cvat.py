"""CVAT's XML, "for images" and "for video": points, skeletons, boxes, polygons and masks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_text
from tagwise.label_maps import encode_labels
from tagwise.labels.find import Finder, finder_of
from tagwise.labels.label_set import LabelledImage, LabelSet
from tagwise.labels.loose import Loose, Shape, add_loose, join_shapes
from tagwise.prediction.video import SUFFIXES as VIDEO_SUFFIXES

Element = ElementTree.Element
_FRAME = re.compile(r"frame_(\d+)(\.\w+)?", re.IGNORECASE)  # names that CVAT gives to frames


def read_xml(path: Path, what: str) -> Element:
    """The root of an XML file. Raises UserError, naming the line, if it is damaged."""
    try:
        return ElementTree.fromstring(read_text(path, what))
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path} is not complete XML ({error}); export it again") from None


def read_cvat(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read "CVAT for images" or "CVAT for video".

    Of a video, the frames are read on which a person placed a shape (key frames of a track), with
    all shapes on them. Images without shapes are left out, because CVAT also lists images that
    nobody has labelled.
    """
    root = read_xml(path, "labels")
    found = LabelSet(path, "a CVAT file")
    finder = finder_of(path, images, "images")
    source = next((e.text or "" for e in root.iter("source")), "")
    rows: list[tuple[LabelledImage, Loose]] = []
    empty = 0
    for image, elements in [*_images(root, source, finder), *_frames(root, source, finder, found)]:
        try:
            loose = _instances(elements, image, found.problems)
        except (KeyError, ValueError, TypeError) as error:
            kind = "shapes cannot be read, image left out"
            found.problems.append(Problem(kind, image.file, detail=repr(error)[:200]))
            continue
        empty += not loose
        found.images += [image] if loose else []
        rows += [(image, each) for each in loose]
    if empty:
        found.problems.append(Problem("image without labels, left out", detail=f"{empty} images"))
    add_loose(found, rows)
    return found


def _images(
    root: Element, source: str, finder: Finder
) -> Iterator[tuple[LabelledImage, list[Element]]]:
    video = finder.find(source) if _is_video(source) else None
    for element in root.iter("image"):
        name = element.get("name") or f"image {element.get('id')}"
        size = {"width": _side(element.get("width")), "height": _side(element.get("height"))}
        frame = _FRAME.fullmatch(name)
        path = finder.find(name)
        if path is None and frame and video:
            yield LabelledImage(source, video, int(frame[1]), group=source, **size), list(element)
        else:
            group = str(PurePosixPath(name.replace("\\", "/")).parent)
            yield LabelledImage(name, path, group=group, **size), list(element)


def _frames(
    root: Element, source: str, finder: Finder, found: LabelSet
) -> Iterator[tuple[LabelledImage, list[Element]]]:
    """The frames with a key frame of a track, and all shapes on them."""
    shapes: dict[int, list[Element]] = {}
    keys = set()
    for track in root.iter("track"):
        for element in track:
            if element.get("outside") == "1" or element.get("frame") is None:
                continue
            frame = int(element.get("frame"))
            element.set("label", track.get("label") or "")
            element.set("track", track.get("id") or "")
            shapes.setdefault(frame, []).append(element)
            if element.get("keyframe", "1") == "1" or any(
                part.get("keyframe") == "1" for part in element
            ):
                keys.add(frame)
    if not shapes:
        return
    path = finder.find(source)
    left_out = len(shapes) - len(keys)
    if left_out:
        found.notes.append(f"left out {left_out} frames that CVAT has only interpolated")
    for frame in sorted(keys):
        yield LabelledImage(source or "video", path, frame, group=source), shapes[frame]


def _instances(
    elements: list[Element], image: LabelledImage, problems: list[Problem]
) -> list[Loose]:
    owners: dict[Any, Loose] = {}
    shapes: list[Shape] = []
    for number, element in enumerate(elements):
        label, group = element.get("label") or "", element.get("group_id")
        key = ("group", group) if group not in (None, "", "0") else ("shape", number)
        track = element.get("track") or element.get("id")
        if element.tag == "skeleton":
            owners[key] = Loose(label, points=_skeleton(element), track=track)
        elif element.tag == "points":
            corners = _points(element.get("points", ""))
            shared = key if key[0] == "group" else None
            if len(corners) == 1:
                shapes.append(Shape(label, corners[0], _visibility(element), shared))
            else:
                points = {f"{label}_{n}": (*xy, 2) for n, xy in enumerate(corners, 1)}
                owners[key] = Loose(label, points=points, track=track)
        elif element.tag in ("box", "polygon", "mask"):
            each = owners.setdefault(key, Loose(label, track=track))
            each.category = label
            if element.tag == "box":
                each.box = _box(element)
            else:
                each.mask = _polygon(element) if element.tag == "polygon" else _mask(element, image)
        elif element.tag not in ("tag", "attribute"):
            problems.append(Problem(f"{element.tag} cannot be read, left out", image.file))
    loose = join_shapes(shapes, owners, image, problems)
    return [each for each in loose if each.points or each.box or each.mask]


def _skeleton(element: Element) -> dict[str, tuple[float, float, int]]:
    points = {}
    for part in element.iter("points"):
        if part.get("outside") != "1":
            xy = _points(part.get("points", ""))[0]
            points[part.get("label") or f"point_{len(points) + 1}"] = (*xy, _visibility(part))
    return points


def _visibility(element: Element) -> int:
    return 1 if element.get("occluded") == "1" else 2


def _points(text: str) -> list[tuple[float, float]]:
    """The corners of "x,y;x,y". Raises ValueError for anything else."""
    pairs = [tuple(map(float, pair.split(","))) for pair in text.split(";") if pair.strip()]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"points are {text[:60]!r}, not x,y;x,y")
    return pairs


def _box(element: Element) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(element.attrib[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    return x1, y1, x2 - x1, y2 - y1


def _polygon(element: Element) -> list[list[float]]:
    return [[value for xy in _points(element.get("points", "")) for value in xy]]


def _mask(element: Element, image: LabelledImage) -> dict[str, Any]:
    """A mask of CVAT, run lengths by rows of a box, as a COCO RLE of the image."""
    left, top, width, height = (
        int(float(element.attrib[name])) for name in ("left", "top", "width", "height")
    )
    runs = np.array(element.attrib["rle"].split(","), np.int64)
    inside = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
    whole = np.zeros((image.height or top + height, image.width or left + width), np.uint8)
    part = whole[top : top + height, left : left + width]
    part[:] = inside[: part.shape[0], : part.shape[1]]
    return encode_labels(whole, 1)[0]


def _is_video(name: str) -> bool:
    return PurePosixPath(name.replace("\\", "/")).suffix.lower() in VIDEO_SUFFIXES


def _side(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) else None
