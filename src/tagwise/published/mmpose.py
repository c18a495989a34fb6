"""What the settings in a checkpoint of mmpose tell that its tensors do not.

mmpose 0.x stores its config as text ("meta", "config"). Published files carry it unless it was
removed; then the name that mmpose gives its files is all there is.
"""

from __future__ import annotations

import re
from pathlib import Path

from tagwise.errors import UserError
from tagwise.skeletons import AIC14, Skeleton, skeleton_with

_UDP = (
    "{path} is tested with unbiased data processing (UDP{how}): mmpose aligns the corners of maps, "
    "and places each keypoint by a Newton step on a blurred heatmap, which tagwise does not do. "
    "Its people would be shifted; give the variant without UDP. A recipe can start from this file "
    "(model.pretrained)"
)


def check_settings(path: Path, settings: str) -> None:
    """Raise UserError for networks of mmpose that tagwise cannot test as published.

    settings: the config in the file, see `read_checkpoint`.
    """
    if re.search(r"\buse_udp\s*=\s*True", settings):
        raise UserError(_UDP.format(path=path, how=", says its config"))
    if not settings and "udp" in _words(path):
        raise UserError(_UDP.format(path=path, how=", says its name"))
    if re.search(r"\btype\s*=\s*'(TopDown|TopdownPoseEstimator)'", settings):
        raise UserError(
            f"{path} is a network for one person at a time, which has no tags to group by; give "
            "one of mmpose's networks with associative embedding"
        )


def input_size(settings: str) -> tuple[int, int] | None:
    """(width, height) in pixels of the images that the network was trained on, if it says so."""
    found = re.search(r"\bimage_size\s*=\s*(\d{2,4})\b", settings)
    return (int(found.group(1)), int(found.group(1))) if found else None


def skeleton_of(path: Path, settings: str, count: int) -> Skeleton | None:
    """The known skeleton with `count` keypoint types; None if there is none.

    AI Challenger has as many as CrowdPose; the settings tell them apart, or the file's name.
    """
    stated = "BottomUpAicDataset" in settings or (not settings and "aic" in _words(path))
    return AIC14 if stated and count == len(AIC14) else skeleton_with(count)


def _words(path: Path) -> list[str]:
    return re.split(r"[^a-z0-9]+", path.name.lower())
