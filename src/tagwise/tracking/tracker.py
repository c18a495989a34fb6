"""Instances keep their identity from frame to frame: by motion, by keypoints, and by tag.

A pair of track and detection is scored in nats, as the logarithm of how much likelier the
detection is the track's than a new instance. Three kinds of evidence add up:

motion: a Kalman filter's density of the detected box, see `tagwise.tracking.motion`.
keypoints: OKS between the detection and the track's last pose, moved with its box.
tags: the density of the difference between the detection's tag and the track's remembered one, as
    the same instance's tags differ from frame to frame, over that between different instances. Both
    are learned while tracking, so that tags which do not carry over count nothing, by themselves.

The best assignment is scipy's. Detections of high score are matched first, then those of low score
with the tracks that got none, as an instance that is half hidden is seen, but poorly (Zhang et al.
2022, ByteTrack, arXiv:2110.06864).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from scipy.optimize import linear_sum_assignment

from tagwise.errors import UserError
from tagwise.geometry import keypoint_boxes, oks, present_keypoints
from tagwise.results import Result
from tagwise.settings import Count, NonNegative, NonNegativeInt, Positive, Range, Settings, Share
from tagwise.tracking.motion import Motion
from tagwise.tracking.tag_memory import TagMemory

_LEAST_OKS, _EVEN_OKS = 0.02, 0.25  # the worst that counts; what says neither same nor other


@dataclass(frozen=True)
class TrackSettings(Settings):
    """How instances are tracked.

    high: score from which a detection may start a track.
    low: score from which a detection may go on with one.
    memory: frames for which a track that is not seen is kept.
    confirm: frames, one after the other, in which a new track must be seen to get an id. In the
        first frame once is enough.
    surprise: nats above which a detection is rather a new instance than the track's.
    noise, acceleration, speed: of boxes, see `Motion`.
    keypoint_weight: of the keypoints' evidence.
    tags: use them, as far as they carry over.
    tag_memory: how much of a track's remembered tag stays when it is seen again.

    Raises UserError for values that do not fit.
    """

    high: Share = 0.5
    low: Share = 0.1
    memory: NonNegativeInt = 30
    confirm: Count = 2
    surprise: float = 2.0
    noise: Positive = 0.08
    acceleration: NonNegative = 0.01
    speed: NonNegative = 0.1
    keypoint_weight: NonNegative = 1.0
    tags: bool = True
    tag_memory: Annotated[float, Range(least=0, below=1)] = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise UserError(f"low is {self.low}; use at most high, which is {self.high}")


class Tracker:
    """Gives the instances of one video's frames ids, frame by frame.

    >>> from tagwise.results import Boxes
    >>> tracker = Tracker(TrackSettings(confirm=1))
    >>> for x in (0, 4, 8):
    ...     boxes = [[x, 0, 20, 40], [100 - x, 0, 20, 40]]
    ...     print(tracker.update(Boxes(boxes, [0.9, 0.8], [0, 0], ("person",))))
    [1 2]
    [1 2]
    [1 2]
    """

    def __init__(self, settings: TrackSettings | None = None) -> None:
        self.settings = s = settings or TrackSettings()
        self.motion = Motion(s.noise, s.acceleration, s.speed)
        self.memory = TagMemory(s.tag_memory)
        self.frame = self._last_id = 0
        # Of each track: its id, -1 before it is confirmed; its class; in how many frames it was
        # seen; for how many it has not been; its last pose, relative to its box's centre.
        self.id = self.cls = self.hits = self.unseen = np.zeros(0, np.int64)
        self.pose: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.id)

    def update(self, result: Result) -> np.ndarray:
        """The ids (N,) int64 of the next frame's instances, from 1 on; -1 for those of no track.

        result: Poses, Boxes or Masks, in any order. Tags that are not finite are left out.
        """
        s, seen = self.settings, _Detections.of(result, self.settings.tags)
        seen = replace(seen, tags=self.memory.fitted(seen.tags))
        self.unseen = self.unseen + 1
        self.motion.step()
        track = self._match(seen)
        rows = np.flatnonzero(track >= 0)
        self._correct(track[rows], seen.take(rows))
        born = np.flatnonzero((track < 0) & seen.usable & (seen.scores >= s.high))
        born = born[np.lexsort((seen.boxes[born, 0], -seen.scores[born]))]
        track[born] = np.arange(len(self), len(self) + len(born))
        self._add(seen.take(born))
        new = np.flatnonzero((self.id < 0) & ((self.hits >= s.confirm) | (self.frame == 0)))
        self.id[new] = self._last_id + 1 + np.arange(len(new))
        self._last_id += len(new)
        ids = np.where(track >= 0, np.append(self.id, -1)[track], -1)
        self._keep(self.unseen <= np.where(self.id > 0, s.memory, 0))
        self.frame += 1
        return ids

    def _match(self, seen: _Detections) -> np.ndarray:
        """The track of each detection, -1 for none."""
        s, track = self.settings, np.full(len(seen), -1)
        if not len(self) or not len(seen):
            return track
        motion = self.motion.surprise(seen.boxes)
        motion[(self.cls[:, None] != seen.cls) | ~seen.usable] = np.inf
        gain = s.surprise - motion + self.memory.evidence(seen.tags, self.unseen)
        gain += s.keypoint_weight * self._keypoint_evidence(seen)
        high, old = seen.scores >= s.high, self.id > 0
        weak = (seen.scores >= s.low) & ~high
        for tracks, found in ((old, high), (old & (self.unseen == 1), weak), (~old, high)):
            free = tracks.copy()
            free[track[track >= 0]] = False
            _assign(gain, np.flatnonzero(free), np.flatnonzero(found), track)
        self._learn_tags(motion < s.surprise, seen, track)
        return track

    def _learn_tags(self, likely: np.ndarray, seen: _Detections, track: np.ndarray) -> None:
        """Tags of pairs about which motion leaves no doubt tell how far tags can be trusted."""
        lone = likely & (likely.sum(0) == 1) & (likely.sum(1, keepdims=True) == 1)
        found = np.flatnonzero((track >= 0) & lone[track, np.arange(len(seen))])
        sure = seen.scores >= self.settings.high
        self.memory.learn(track[found], seen.tags[found], seen.tags[sure & seen.usable])

    def _keypoint_evidence(self, seen: _Detections) -> np.ndarray | float:
        """Nats by which poses speak for each track, (T, N): OKS, fading while a track is unseen."""
        if self.pose is None or seen.keypoints is None:
            return 0.0
        poses = _shifted(self.pose, self.motion.state[:, :2])
        areas = self.motion.size**2
        fit = oks(seen.keypoints, poses, areas, seen.sigmas, common=True).T  # (T, N)
        evidence = np.log(np.maximum(fit, _LEAST_OKS) / _EVEN_OKS)
        both = present_keypoints(poses).astype(int) @ present_keypoints(seen.keypoints).T
        return np.where(both >= 2, evidence, 0) / self.unseen[:, None]

    def _correct(self, track: np.ndarray, seen: _Detections) -> None:
        self.motion.correct(track, seen.boxes)
        self.memory.correct(track, seen.tags)
        self.hits[track] += 1
        self.unseen[track] = 0
        if self.pose is not None:
            self.pose[track] = seen.relative

    def _add(self, seen: _Detections) -> None:
        N = len(seen)
        self.motion.add(seen.boxes)
        self.memory.add(seen.tags)
        self.id = np.append(self.id, np.full(N, -1))
        self.cls = np.append(self.cls, seen.cls)
        self.hits = np.append(self.hits, np.ones(N, np.int64))
        self.unseen = np.append(self.unseen, np.zeros(N, np.int64))
        if seen.keypoints is not None:
            pose = seen.relative
            self.pose = pose if self.pose is None else np.concatenate([self.pose, pose])

    def _keep(self, which: np.ndarray) -> None:
        self.motion.keep(which)
        self.memory.keep(which)
        for name in ("id", "cls", "hits", "unseen"):
            setattr(self, name, getattr(self, name)[which])
        if self.pose is not None:
            self.pose = self.pose[which]


@dataclass(frozen=True)
class _Detections:
    """A frame's instances as the tracker takes them; (N, ...) each.

    boxes x, y, width, height; scores; cls; tags (N, D), one an instance, NaN where not known;
    usable: whether the box is one. keypoints (N, K, 3) and sigmas (K,), of poses.
    """

    boxes: np.ndarray
    scores: np.ndarray
    cls: np.ndarray
    tags: np.ndarray
    usable: np.ndarray
    keypoints: np.ndarray | None = None
    sigmas: np.ndarray | None = None

    @classmethod
    def of(cls, result: Result, tags: bool) -> _Detections:
        boxes, N = np.asarray(result.boxes, np.float64), len(result)
        keypoints = sigmas = None
        if (given := result.tracked_keypoints()) is not None:
            keypoints, sigmas = given[0].astype(np.float64), given[1]
            boxes = keypoint_boxes(keypoints, least=_least_side(result))
        usable = np.isfinite(boxes).all(1) & (boxes[:, 2:].max(1, initial=0) > 0)
        usable &= np.isfinite(result.scores)
        return cls(
            np.where(usable[:, None], boxes, 0),
            np.where(usable, result.scores, 0),
            getattr(result, "classes", np.zeros(N, np.int64)),
            _instance_tags(result.tags) if tags else np.zeros((N, 0)),
            usable,
            keypoints,
            sigmas,
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: np.ndarray) -> _Detections:
        return _Detections(
            *(getattr(self, f)[index] for f in ("boxes", "scores", "cls", "tags", "usable")),
            None if self.keypoints is None else self.keypoints[index],
            self.sigmas,
        )

    @property
    def relative(self) -> np.ndarray:
        """Keypoints from the centres of their boxes."""
        return _shifted(self.keypoints, -(self.boxes[:, :2] + self.boxes[:, 2:] / 2))


def _least_side(result: Result) -> float:
    """The least width and height, in pixels, of the box around keypoints that are tracked.

    A single keypoint has no extent, by which motion is judged: its box is 3 % of the image's
    diagonal, or 20 pixels where the size of the image is not known.
    """
    if result.width is None or result.height is None:
        return 20.0
    return 0.03 * float(np.hypot(result.width, result.height))


def _shifted(keypoints: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Keypoints (N, K, 3) of each instance moved by its x, y (N, 2)."""
    moved = keypoints.copy()
    moved[..., :2] += by[:, None]
    return moved


def _instance_tags(tags: np.ndarray) -> np.ndarray:
    """One tag (N, D) an instance: the mean of its finite ones, NaN where there is none."""
    if tags.ndim == 2:
        return np.where(np.isfinite(tags).all(1, keepdims=True), tags, np.nan).astype(np.float64)
    known = np.isfinite(tags).all(-1, keepdims=True)
    count = known.sum(1)
    total = np.where(known, tags, 0).sum(1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _assign(gain: np.ndarray, rows: np.ndarray, columns: np.ndarray, track: np.ndarray) -> None:
    """Pairs of tracks and detections with the greatest sum of gains, of positive ones alone."""
    part = np.maximum(gain[np.ix_(rows, columns)], 0)
    i, j = linear_sum_assignment(part, maximize=True)
    paired = part[i, j] > 0
    track[columns[j[paired]]] = rows[i[paired]]
