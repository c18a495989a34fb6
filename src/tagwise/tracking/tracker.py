"""Track instances from frame to frame by motion, keypoints and tags.

The score of a pair of track and detection, in nats, is the logarithm of how much likelier the
detection belongs to the track than to a new instance. It is a sum of three terms:

motion: a Kalman filter's density of the detected box, see `tagwise.tracking.motion`.
keypoints: OKS between the detection and the track's last pose, moved with its box.
tags: the density of the difference between the detection's tag and the track's remembered tag for
    one instance in several frames, divided by that for different instances. Both densities are
    learned while tracking, so that tags which change between frames have no effect.

scipy finds the best assignment. Detections of high score are matched first, then those of low score
with the remaining tracks, since a partly hidden instance is still detected, with a low score (Zhang
et al. 2022, ByteTrack, arXiv:2110.06864).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from tagwise.errors import UserError
from tagwise.geometry import keypoint_boxes, least_side, oks, present_keypoints
from tagwise.results import Result
from tagwise.settings import Count, NonNegative, NonNegativeInt, Positive, Range, Settings
from tagwise.tracking.motion import Motion
from tagwise.tracking.tag_memory import TagMemory

_LEAST_OKS, _EVEN_OKS = 0.02, 0.25  # lower limit of OKS; the OKS that is neutral


@dataclass(frozen=True)
class TrackSettings(Settings):
    """Settings of a tracker.

    high: least score of a detection that starts a track.
    low: least score of a detection that continues a track.
    memory: frames for which a track without detections is kept.
    confirm: consecutive frames in which a new track must be detected to get an id. In the first
        frame, one detection is enough.
    surprise: largest surprise of a motion, in nats, that needs no support by keypoints or tags.
    noise, acceleration, speed: of boxes, see `Motion`.
    keypoint_weight: weight of the evidence of keypoints.
    tags: whether to use tags. Their weight depends on how stable they are between frames.
    tag_memory: weight of a track's remembered tag when a new detection updates it.
    """

    high: NonNegative = 0.5
    low: NonNegative = 0.1
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
            raise UserError(f"low is {self.low}; use a number of at most high, {self.high}")


class Tracker:
    """Give ids to the instances of one video, frame by frame.

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
        # Per track: id, -1 before it is confirmed; class; number of frames with a detection; number
        # of frames since the last one; last pose, relative to the centre of its box.
        self.id = self.cls = self.hits = self.gap = np.zeros(0, np.int64)
        self.pose: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.id)

    def update(self, result: Result) -> np.ndarray:
        """Return the ids (N,) int64 of the next frame's instances, from 1; -1 without a track.

        result: Poses, Boxes or Masks, in any order. Tags that are not finite are ignored.
        """
        s, detected = self.settings, _Detections.of(result, self.settings.tags)
        detected = replace(detected, tags=self.memory.fitted(detected.tags))
        self.gap = self.gap + 1
        self.motion.step()
        track = self._match(detected)
        rows = np.flatnonzero(track >= 0)
        self._correct(track[rows], detected.take(rows))
        started = np.flatnonzero((track < 0) & detected.usable & (detected.scores >= s.high))
        started = started[np.lexsort((detected.boxes[started, 0], -detected.scores[started]))]
        track[started] = np.arange(len(self), len(self) + len(started))
        self._add(detected.take(started))
        new = np.flatnonzero((self.id < 0) & ((self.hits >= s.confirm) | (self.frame == 0)))
        self.id[new] = self._last_id + 1 + np.arange(len(new))
        self._last_id += len(new)
        ids = np.where(track >= 0, np.append(self.id, -1)[track], -1)
        self._keep(self.gap <= np.where(self.id > 0, s.memory, 0))
        self.frame += 1
        return ids

    def _match(self, detected: _Detections) -> np.ndarray:
        """Return the track of each detection, -1 for none."""
        s, track = self.settings, np.full(len(detected), -1)
        if not len(self) or not len(detected):
            return track
        motion = self.motion.surprise(detected.boxes)
        motion[(self.cls[:, None] != detected.cls) | ~detected.usable] = np.inf
        gain = s.surprise - motion + self.memory.evidence(detected.tags, self.gap)
        gain += s.keypoint_weight * self._keypoint_evidence(detected)
        high, old = detected.scores >= s.high, self.id > 0
        weak = (detected.scores >= s.low) & ~high
        for tracks, wanted in ((old, high), (old & (self.gap == 1), weak), (~old, high)):
            free = tracks.copy()
            free[track[track >= 0]] = False
            _assign(gain, np.flatnonzero(free), np.flatnonzero(wanted), track)
        self._learn_tags(motion < s.surprise, detected, track)
        return track

    def _learn_tags(self, likely: np.ndarray, detected: _Detections, track: np.ndarray) -> None:
        """Measure how reliable tags are, on the pairs that are certain from motion only."""
        certain = likely & (likely.sum(0) == 1) & (likely.sum(1, keepdims=True) == 1)
        matched = np.flatnonzero((track >= 0) & certain[track, np.arange(len(detected))])
        sure = detected.scores >= self.settings.high
        confident = detected.tags[sure & detected.usable]
        self.memory.learn(track[matched], detected.tags[matched], confident)

    def _keypoint_evidence(self, detected: _Detections) -> np.ndarray | float:
        """Return the evidence of poses in nats, (T, N): by OKS, less after frames without any."""
        if self.pose is None or detected.keypoints is None:
            return 0.0
        poses = _shifted(self.pose, self.motion.state[:, :2])
        areas = self.motion.size**2
        fit = oks(detected.keypoints, poses, areas, detected.sigmas, common=True).T  # (T, N)
        evidence = np.log(np.maximum(fit, _LEAST_OKS) / _EVEN_OKS)
        both = present_keypoints(poses).astype(int) @ present_keypoints(detected.keypoints).T
        return np.where(both >= 2, evidence, 0) / self.gap[:, None]

    def _correct(self, track: np.ndarray, detected: _Detections) -> None:
        self.motion.correct(track, detected.boxes)
        self.memory.correct(track, detected.tags)
        self.hits[track] += 1
        self.gap[track] = 0
        if self.pose is not None:
            self.pose[track] = detected.relative

    def _add(self, detected: _Detections) -> None:
        N = len(detected)
        self.motion.add(detected.boxes)
        self.memory.add(detected.tags)
        self.id = np.append(self.id, np.full(N, -1))
        self.cls = np.append(self.cls, detected.cls)
        self.hits = np.append(self.hits, np.ones(N, np.int64))
        self.gap = np.append(self.gap, np.zeros(N, np.int64))
        if detected.keypoints is not None:
            pose = detected.relative
            self.pose = pose if self.pose is None else np.concatenate([self.pose, pose])

    def _keep(self, which: np.ndarray) -> None:
        self.motion.keep(which)
        self.memory.keep(which)
        for name in ("id", "cls", "hits", "gap"):
            setattr(self, name, getattr(self, name)[which])
        if self.pose is not None:
            self.pose = self.pose[which]


@dataclass(frozen=True)
class _Detections:
    """The instances of a frame as the tracker needs them, (N, ...) each.

    boxes: x, y, width, height. tags: (N, D), one per instance, NaN where unknown. usable: whether
    box and score are valid. keypoints, sigmas: (N, K, 3) and (K,), of poses only.
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
            boxes = keypoint_boxes(keypoints, least=least_side(result.width, result.height))
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
        """Keypoints relative to the centres of their boxes."""
        return _shifted(self.keypoints, -(self.boxes[:, :2] + self.boxes[:, 2:] / 2))


def _shifted(keypoints: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return keypoints (N, K, 3) moved by x, y (N, 2) of each instance."""
    moved = keypoints.copy()
    moved[..., :2] += by[:, None]
    return moved


def _instance_tags(tags: np.ndarray) -> np.ndarray:
    """Return one tag (N, D) per instance: the mean of its finite ones, NaN if there are none."""
    if tags.ndim == 2:
        return np.where(np.isfinite(tags).all(1, keepdims=True), tags, np.nan).astype(np.float64)
    known = np.isfinite(tags).all(-1, keepdims=True)
    count = known.sum(1)
    total = np.where(known, tags, 0).sum(1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _assign(gain: np.ndarray, rows: np.ndarray, columns: np.ndarray, track: np.ndarray) -> None:
    """Assign detections to tracks, in place, with the largest sum of positive gains."""
    from scipy.optimize import linear_sum_assignment

    part = np.maximum(gain[np.ix_(rows, columns)], 0)
    i, j = linear_sum_assignment(part, maximize=True)
    paired = part[i, j] > 0
    track[columns[j[paired]]] = rows[i[paired]]
