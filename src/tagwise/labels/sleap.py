"""SLEAP files (.slp, .pkg.slp), read and written through sleap-io."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tagwise.data.pixels import rgb_of_array
from tagwise.data.report import Problem
from tagwise.errors import UserError, optional
from tagwise.labels.find import Finder, finder_of
from tagwise.labels.label_set import (
    Category,
    Instance,
    LabelledImage,
    LabelSet,
    labelled_keypoints,
)


def sleap_io() -> ModuleType:
    """Import sleap-io. Raises UserError, naming the extra, if it is missing."""
    return optional("sleap_io", "labels", "SLEAP files need sleap-io")


def read_sleap(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a SLEAP file. Its frames are read from their video, or from inside the file.

    Raises UserError if the file is damaged or from a newer version of SLEAP.
    """
    sio = sleap_io()
    with quiet(path, "SLEAP file"):
        labels = sio.load_slp(str(path), open_videos=False)
    found = LabelSet(path, "a SLEAP file")
    names = _category_names(labels.skeletons)
    found.categories = [_category(each, names[id(each)]) for each in labels.skeletons]
    finder = finder_of(path, images, "videos")
    sources = {id(video): _Source(video, path, finder) for video in labels.videos}
    empty = 0
    for frame in labels.labeled_frames:
        instances = list(_instances(frame, names))
        if not instances and not getattr(frame, "is_negative", False):
            empty += 1
            continue
        image = sources[id(frame.video)].image(int(frame.frame_idx))
        image.instances = instances
        found.images.append(image)
    if empty:
        kind = "frame without instances, left out"
        found.problems.append(Problem(kind, detail=f"{empty} frames"))
    return found


class _Source:
    """One video of a SLEAP file: a video file, a list of images, or frames inside the file."""

    def __init__(self, video: Any, labels: Path, finder: Finder) -> None:
        self.video, metadata = video, video.backend_metadata or {}
        shape = video.shape or metadata.get("shape") or (None,) * 4
        self.height, self.width = shape[1:3]
        self.listed = isinstance(video.filename, list)
        self.finder, self.path = finder, None
        self.embedded = bool(metadata.get("dataset")) and bool(
            metadata.get("has_embedded_images") or str(video.filename).endswith((".slp", ".h5"))
        )
        origin = video.source_video or video
        self.name = str(origin.filename if not self.listed else _common(video.filename))
        if self.embedded and not str(video.filename).endswith(".slp"):
            inside = finder.find(str(video.filename))
            self.embedded = inside is not None
            if inside:
                video.replace_filename(str(inside))
        elif not self.embedded and not self.listed:
            self.path = finder.find(str(video.filename))

    def image(self, frame: int) -> LabelledImage:
        size = {"width": _whole(self.width), "height": _whole(self.height), "group": self.name}
        if self.embedded:
            return LabelledImage(self.name, frame=frame, pixels=self._reader(frame), **size)
        if self.listed:
            names = self.video.filename
            name = str(names[frame]) if 0 <= frame < len(names) else f"image {frame}"
            return LabelledImage(name, self.finder.find(name), **size)
        return LabelledImage(self.name, self.path, frame, **size)

    def _reader(self, frame: int) -> Callable[[], np.ndarray]:
        def read() -> np.ndarray:
            with quiet(Path(str(self.video.filename)), "SLEAP file"):
                if not self.video.is_open:
                    self.video.open()
                return rgb_of_array(np.asarray(self.video[frame]))

        return read


def _instances(frame: Any, names: dict[int, str]) -> Iterator[Instance]:
    for each in frame.instances:
        points = each.points
        keypoints = labelled_keypoints(points["xy"], np.where(points["visible"], 2, 0))
        scored = "score" in points.dtype.names
        score = getattr(each, "score", None) if scored else None
        if (keypoints[:, 2] > 0).any():
            yield Instance(
                names[id(each.skeleton)],
                keypoints,
                score=None if not scored else float(score or 0),
                keypoint_scores=np.asarray(points["score"], float) if scored else None,
                track=each.track.name if each.track else None,
            )


def _category(skeleton: Any, name: str) -> Category:
    edges = tuple((int(a), int(b)) for a, b in skeleton.edge_inds)
    pairs = tuple(tuple(sorted(map(int, pair))) for pair in skeleton.symmetry_inds)
    return Category(name, tuple(map(str, skeleton.node_names)), edges, tuple(sorted(set(pairs))))


def _category_names(skeletons: list[Any]) -> dict[int, str]:
    """A different name for each skeleton, by its id; SLEAP allows equal names and none."""
    names: dict[int, str] = {}
    for skeleton in skeletons:
        name = wanted = str(skeleton.name or "instance")
        while name in names.values():
            name = f"{wanted} {len(names) + 1}"
        names[id(skeleton)] = name
    return names


def _common(names: list[str]) -> str:
    return str(Path(str(names[0])).parent) if names else ""


def _whole(side: Any) -> int | None:
    return int(side) if side else None


@contextmanager
def quiet(path: Path, what: str) -> Iterator[None]:
    """Silence the warnings of a library, and name the file in errors of any type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"cannot read {what} {path}, it is damaged or from another version ({reason}); "
            "save it again in the program that wrote it"
        ) from error
