"""The view of poses: peaks of the heatmaps, and why two of them are in one pose or not."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from tagwise.grouping import KeypointGroups, group_keypoints
from tagwise.grouping.keypoints import join_terms
from tagwise.serving.views.base import (
    LETTERS,
    Answer,
    Detections,
    Grouped,
    Slider,
    View,
    check_pair,
)
from tagwise.tasks import PoseTask

_KEEP_ALL = {
    "max_instances": 1_000_000,
    "instance_threshold": 0.0,
    "min_keypoints": 0,
    "duplicate_similarity": None,
}


class PoseView(View):
    """Peaks and their groups."""

    settings_name: ClassVar[str] = "grouping"
    task: PoseTask

    @classmethod
    def own_sliders(cls, task: PoseTask) -> list[Slider]:
        rules = task.grouping
        far = max(1.0, round(4 * rules.tag_threshold, 1))
        by_sweeps = [
            Slider(
                "founder_threshold",
                "Founder threshold",
                "Peaks below it join an instance, but do not start one.",
                *(0, 1, 0.01),
            ),
            Slider(
                "compactness",
                "Weight of position",
                "How much the distance in the photo counts beside the tags. 0: tags alone.",
                *(0, 2, 0.01),
            ),
        ]
        sliders = [
            Slider(
                "peak_threshold",
                "Peak threshold",
                "A local maximum of a heatmap is a detection if it is above this value.",
                *(0, 1, 0.01),
            ),
            Slider(
                "tag_threshold",
                "Tag threshold",
                "The distance of tags that separates two instances.",
                *(0.02, far, 0.02),
            ),
            *(by_sweeps if rules.method == "sweeps" else []),
            Slider(
                "max_instances",
                "Number of instances",
                "Only the best instances are kept, at most this many.",
                *(1, 60, 1),
                whole=True,
            ),
        ]
        return [s for s in sliders if s.least <= getattr(rules, s.name) <= s.most]

    # ------------------------------------------------------------------ grouping

    @cached_property
    def _decoded(self) -> tuple:
        peaks, groups = self.task.decode_groups(self.maps)
        return peaks, self.calibrated(groups)

    @cached_property
    def _raw(self) -> KeypointGroups:
        """The groups before the weak, small and double ones are dropped."""
        rules = replace(self.task.grouping, **_KEEP_ALL)
        return group_keypoints(self._decoded[0], rules, self.task.skeleton.order)[0]

    def group(self) -> Grouped:
        groups = self._decoded[1]
        poses = self.placement.place(self.task.poses(groups, self.stride))
        return Grouped(poses.above(self.threshold), self._detections(groups))

    def _detections(self, groups: KeypointGroups) -> Detections:
        peaks, kept = self._decoded[0], groups.scores >= self.threshold
        return Detections(
            self.task.skeleton.keypoints,
            peaks.types,
            self.to_image(peaks.xy),
            peaks.scores.clip(0, 1),
            peaks.tags,
            _owners(groups.peaks[kept], len(peaks)),
        )

    # ------------------------------------------------------------------ why (not) together

    def why(self, a: int, b: int) -> Answer:
        found = self._detections(self._decoded[1])
        check_pair(len(found), a, b)
        raw = _owners(self._raw.peaks, len(found))
        distance = float(np.linalg.norm(found.tags[a] - found.tags[b]))
        base = {"distance": distance, "threshold": self._threshold(found.tags.shape[1])}
        if found.types[a] == found.types[b]:
            words = f"Both are a {found.name(a)}: an instance has at most one of each type."
            return Answer(False, words, self._states(found, raw, (a, b)), **base)
        if raw[a] >= 0 and raw[a] == raw[b]:
            reasons, margin = self._nearest_other(found, raw, a)
            kept = found.instance[a]
            words = f"Together, in instance {kept + 1}."
            if kept < 0:
                words = "Together, but their instance was dropped."
                reasons += self._states(found, raw, (a,))
            return Answer(True, words, reasons, margin=margin, **base)
        return self._apart(found, raw, a, b, base)

    def _threshold(self, dims: int) -> float:
        rules = self.task.grouping
        return rules.tag_threshold * (dims**0.5 if rules.tag_norm == "rms" else 1)

    def _apart(self, found: Detections, raw: np.ndarray, a: int, b: int, base: dict) -> Answer:
        reasons, takers = self._states(found, raw, (a, b)), []
        for one, other in ((a, b), (b, a)):
            if raw[other] < 0:
                continue
            where = self._group_name(found, other)
            place = int(self._raw.peaks[raw[other], found.types[one]])
            if place not in (-1, one):
                takers.append(place)
                reasons.append(
                    f"The place of the {found.name(one)} in {where} is taken by another peak "
                    f"({LETTERS[len(takers) + 1]}, score {found.scores[place]:.2f})."
                )
            reasons += self._reach(found, one, other, raw, where)
        distance, threshold = base["distance"], base["threshold"]
        words = f"Not together: their tags are {distance:.2f} apart, more than {threshold:.2f}."
        if distance <= threshold:
            words = (
                f"Not together, although their tags are near: {distance:.2f} of {threshold:.2f}."
            )
        margin = self._nearest_other(found, raw, a)[1] if raw[a] >= 0 else None
        return Answer(False, words, reasons, margin=margin, takers=takers, **base)

    def _group_name(self, found: Detections, peak: int) -> str:
        """What to call the group of a peak: its instance, or the peak's own name."""
        if found.instance[peak] >= 0:
            return f"instance {found.instance[peak] + 1}"
        return f"the dropped group of the {found.name(peak)}"

    def _reach(
        self, found: Detections, one: int, other: int, raw: np.ndarray, where: str
    ) -> list[str]:
        """Whether the group of `other`, called `where`, reaches peak `one`."""
        if self.task.grouping.method != "sweeps":
            return []
        terms = join_terms(self._decoded[0], self._raw, one, self.task.grouping)[raw[other]]
        distance, tag_cost, place_cost, gain = terms.tolist()
        who = f"The {found.name(one)} is {distance:.2f} from the mean tag of {where}"
        if tag_cost + place_cost < gain:
            return [f"{who}, near enough to join it, but it fits better where it is."]
        if tag_cost < gain:
            return [f"{who}, near enough, but it is too far away in the photo."]
        most = distance * (max(gain - place_cost, 0) / max(tag_cost, 1e-12)) ** 0.5
        return [f"{who}, which reaches {most:.2f}."]

    def _nearest_other(self, found, raw, a: int) -> tuple[list[str], float | None]:
        """How far peak a is from its own group and from the nearest other one."""
        peaks = self._raw.peaks
        if self.task.grouping.method != "sweeps" or len(peaks) < 2:
            return [], None
        distances = join_terms(self._decoded[0], self._raw, a, self.task.grouping)[:, 0]
        alone = (peaks[raw[a]] >= 0).sum() < 2
        others = np.delete(distances, raw[a])
        own = 0.0 if alone else float(distances[raw[a]])
        margin = float(others.min()) - own
        text = (
            f"The {found.name(a)} is {own:.2f} from the mean tag of its own group, and "
            f"{others.min():.2f} from that of the nearest other one."
        )
        return [text], margin

    def _states(self, found: Detections, raw: np.ndarray, peaks: tuple[int, ...]) -> list[str]:
        """Where each peak is, if that is not plain from the picture."""
        rules, out = self.task.grouping, []
        for p in peaks:
            who = f"The {found.name(p)} (score {found.scores[p]:.2f})"
            if raw[p] < 0:
                least = getattr(rules, "founder_threshold", 0.0)
                out.append(
                    f"{who} is in no instance: it joins none, and it is below the founder "
                    f"threshold {least:.2f}, so it starts none."
                )
            elif found.instance[p] < 0:
                out.append(f"{who} belongs to a group that was dropped: {self._dropped(raw[p])}.")
            else:
                out.append(f"{who} is in instance {found.instance[p] + 1}.")
        return out

    def _dropped(self, group: int) -> str:
        rules, raw = self.task.grouping, self._raw
        count, score = int((raw.peaks[group] >= 0).sum()), float(raw.scores[group])
        if count < rules.min_keypoints:
            return f"it has {count} keypoint, and {rules.min_keypoints} are needed"
        if score < rules.instance_threshold:
            return f"its score {score:.2f} is below {rules.instance_threshold:.2f}"
        kept = set(self._decoded[1].peaks.ravel()) & set(raw.peaks[group]) - {-1}
        if kept:
            return f"its score is below the instance score {self.threshold:.2f}"
        return "a better instance is at the same place, or there are too many"


def _owners(peaks: np.ndarray, count: int) -> np.ndarray:
    """The row of (N, K) peak indices that contains each of `count` peaks; -1 for none."""
    owner = np.full(count, -1, np.int64)
    n, k = np.nonzero(peaks >= 0)
    owner[peaks[n, k]] = n
    return owner
