"""An honest split into training and validation: by video, by time, or at random."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import cv2
import numpy as np

from tagwise.data.photos import Photos
from tagwise.errors import UserError

_FEWEST = 2  # images below which nothing can be held out
_PAIRS = 60  # pairs of images that are compared
_ALIKE = 0.7  # frames that differ less than this share of the difference of two random images
_SEED = 0


@dataclass(frozen=True)
class Split:
    """Indices of the images to train and to validate on, and how they were chosen."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    how: str


def split_images(dataset: Photos, share: float = 0.2, videos: Sequence[str] = ()) -> Split:
    """Choose the images to validate on, so that none looks like an image to train on.

    share: of the images to hold out, above 0 and below 1.
    videos: the video of each image; by default from the folders and file names, see `video_of`.

    Whole videos are held out if the number of images allows it. Frames of one video are held out
    as one block at its end, because neighbouring frames look alike. Other images are drawn with a
    fixed seed. Raises UserError for a share that leaves one side empty.
    """
    count = len(dataset)
    if not 0 < share < 1:
        raise UserError(f"val is {share:g}; give a share above 0 and below 1, such as 0.2")
    if count < _FEWEST:
        return Split(tuple(range(count)), (), "one image only: nothing is left to validate on")
    files = [dataset.info(index).file for index in range(count)]
    order = sorted(range(count), key=lambda index: natural_key(files[index]))
    wanted = min(max(1, round(share * count)), count - 1)
    groups = group_by_video(files, videos)
    if len(groups) > 1:
        chosen = _whole_videos(groups, wanted)
        if chosen is not None:
            held = [index for name in chosen for index in groups[name]]
            return _split(order, held, f"by video: {_listed(chosen)} of {len(groups)} videos")
        held = [i for each in groups.values() for i in _last(each, files, share)]
        if 0 < len(held) < count:
            return _split(
                order, held, f"by time: the last {share:.0%} of each of {len(groups)} videos"
            )
    if look_alike(dataset, order):
        how = f"by time: the last {wanted} images by name as one block, since neighbours look alike"
        return _split(order, order[-wanted:], how)
    drawn = np.random.default_rng(_SEED).permutation(count)[:wanted].tolist()
    return _split(order, drawn, f"at random, seed {_SEED}: the images are not frames of a video")


def _split(order: Sequence[int], held: Sequence[int], how: str) -> Split:
    out = set(held)
    train = tuple(index for index in order if index not in out)
    val = tuple(index for index in order if index in out)
    return Split(train, val, f"{how}; {len(train)} images to train on, {len(val)} to validate on")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts frame2 before frame10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def video_of(file: str) -> str:
    """The video that a file name suggests: its folder, and its name up to the last number.

    >>> video_of("cage1/frame_0012.png"), video_of("day2_0012.png")
    ('cage1/frame_', 'day2_')
    """
    path = PurePosixPath(file.replace("\\", "/"))
    stem = re.sub(r"\d+\D{0,2}$", "", path.stem)
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return folder + stem


def group_by_video(files: Sequence[str], videos: Sequence[str] = ()) -> dict[str, list[int]]:
    """The images of each video, if the names make sense as videos; otherwise one group.

    Names of videos must be shared by several images each, on average at least three.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(videos or map(video_of, files)):
        groups[name].append(index)
    if len(files) < 3 * len(groups) and not videos:
        return {"": list(range(len(files)))}
    return dict(groups)


def _whole_videos(groups: dict[str, list[int]], wanted: int) -> list[str] | None:
    """Videos with about as many images as wanted, from half to twice; None if there are none."""
    if len(groups) < 3:
        return None
    names = sorted(groups, key=natural_key)
    order = np.random.default_rng(_SEED).permutation(len(names)).tolist()
    chosen: list[str] = []
    total = 0
    for k in order:
        size = len(groups[names[k]])
        if total + size <= 1.25 * wanted:
            chosen.append(names[k])
            total += size
    return sorted(chosen, key=natural_key) if total >= wanted / 2 else None


def _last(indices: Sequence[int], files: Sequence[str], share: float) -> list[int]:
    """The last images of one video, by name."""
    ordered = sorted(indices, key=lambda index: natural_key(files[index]))
    wanted = round(share * len(ordered))
    return ordered[-wanted:] if wanted else []


def look_alike(dataset: Photos, order: Sequence[int]) -> bool:
    """Whether images that follow one another by name are more alike than two random ones.

    Images of a fixed camera also count, of which all are alike.
    """
    steps = np.linspace(0, len(order) - 2, min(_PAIRS, len(order) - 1)).astype(int)
    near, far = [], []
    rng = np.random.default_rng(_SEED)
    for step in steps:
        others = (order[step], order[step + 1], order[int(rng.integers(len(order)))])
        try:
            first, following, other = (_thumbnail(dataset, index) for index in others)
        except UserError:  # a broken image, which is reported elsewhere
            continue
        near.append(np.abs(first - following).mean())
        if others[2] not in others[:2]:
            far.append(np.abs(first - other).mean())
    if not near or not far:
        return True
    same_scene = np.median(far) < 0.35
    return bool(same_scene or np.median(near) < _ALIKE * np.median(far))


def _thumbnail(dataset: Photos, index: int) -> np.ndarray:
    """A grey image of 24 × 24 pixels with mean 0 and standard deviation 1."""
    image = dataset.load(index, 8).image
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA)
    values = grey.astype(np.float64)
    return (values - values.mean()) / max(values.std(), 1.0)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name or "(no name)" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
