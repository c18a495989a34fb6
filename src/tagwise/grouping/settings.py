"""Every knob of the way from heatmaps to grouped keypoints, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from tagwise.errors import UserError, unknown_name


@dataclass(frozen=True)
class GroupingSettings:
    """How peaks are found and grouped. All fields are plain values, so that JSON can hold them.

    Peaks
        peak_threshold: a peak's heatmap value must be above it, [0, 1].
        nms_window: side in cells of the square in which a peak is the largest value; odd.
        plateaus: of cells that are equally the largest of their window, the "first" as one reads
            is a peak, or "all" are. Maps that were enlarged repeat their border cells. On a GPU
            all are in any case.
        top_k: at most so many peaks a keypoint type.
        subcell: "offset" (predicted offset maps), "parabola" (vertex through the neighbours'
            logarithms: exact for a Gaussian), "quarter" (a quarter cell towards the larger
            neighbour), "inner_quarter" (the same, but not where both are equal, nor across the two
            first cells and the last of the map, nor along the first), "none", or "auto": offsets
            where there are any, else the parabola.
    Matching
        method: "sweeps" or "greedy"; `tagwise.grouping.group_keypoints` explains them.
        tag_threshold: the tag distance that separates instances.
        tag_norm: "l2", or "rms", the root of the mean over the tag's components.
        order: in which keypoint types are grouped, whatever a caller gives; None: the caller's.
    Matching by sweeps
        sweeps: how often all peaks are dealt anew.
        tag_tolerance: how far the scatter of a group's own tags extends its reach.
        compactness: weight of distance in the image; 0 groups by tags alone.
        score_power: a peak's claim to a group counts times its score to this power; 0 makes faint
            peaks as good as sure ones.
        founder_threshold: fainter peaks join groups but start none, [0, 1].
        inertia: share of the keypoint types that a group needs to attract with half its strength.
    Matching greedily
        round_tags: the cost sees the distance rounded to a whole number, so that among near
            tags the peaks' scores decide; equal costs are told apart by the roots of the
            unrounded distances, up to tag_threshold.
        use_score: the cost subtracts the peak's score (with round_tags, a hundredth of a tag unit).
        match_limit: only so many groups can receive peaks; the first ones formed. None: all.
        stop_when_full: match nothing more once match_limit groups exist.
        join_equal: a peak that would start a group joins one that was started with the same first
            tag component, takes the place of a peak of its type, and becomes the group's mean tag.
            So do programs that know their groups by that number.
        group_limit: only so many groups are kept, the first ones formed. None: all.
    Results
        max_instances: at most so many instances, the best ones.
        instance_threshold: instances with a lower score are dropped.
        min_keypoints: instances with fewer keypoints are dropped.
        duplicate_similarity: an instance is dropped if this similar (object keypoint similarity,
            every sigma duplicate_sigma) to a better one; None keeps all.
        fill: missing keypoints are set where heatmap - round(l2 tag distance) is largest.
        fill_order: "sum" is that; "tag" looks for the least rounded distance first, and for the
            largest heatmap value where that is equal.
        fill_threshold: that value must be above it; None fills always.
        fill_reach: look no further than this many box sides around the group; None: everywhere.
        fill_score: score of such a keypoint, "heatmap" or "one".
        fill_floor: such a score is at least this; None: what is not above 0 stays missing.
        fill_place: such a keypoint lies where "subcell" says, or at the top left "corner" of its
            cell.
        fill_below: where its neighbour below is looked for, in the "map" or, as the refinement of
            the published pose-ae does, not below the row that is the number of "types" less one.
        score_filled: filled keypoints count in the instance's score.
    """

    peak_threshold: float = 0.1
    nms_window: int = 5
    plateaus: Literal["first", "all"] = "first"
    top_k: int = 30
    subcell: Literal["auto", "offset", "parabola", "quarter", "inner_quarter", "none"] = "auto"
    method: Literal["sweeps", "greedy"] = "sweeps"
    tag_threshold: float = 1.0
    tag_norm: Literal["l2", "rms"] = "l2"
    order: tuple[int, ...] | None = None
    sweeps: int = 3
    tag_tolerance: float = 2.0
    compactness: float = 0.2
    inertia: float = 0.5
    score_power: float = 1.0
    founder_threshold: float = 0.2
    round_tags: bool = True
    use_score: bool = True
    match_limit: int | None = None
    stop_when_full: bool = False
    join_equal: bool = False
    group_limit: int | None = None
    max_instances: int = 30
    instance_threshold: float = 0.04
    min_keypoints: int = 2
    duplicate_similarity: float | None = 0.7
    duplicate_sigma: float = 0.05
    fill: bool = True
    fill_order: Literal["sum", "tag"] = "sum"
    fill_threshold: float | None = 0.03
    fill_reach: float | None = 0.5
    fill_score: Literal["heatmap", "one"] = "heatmap"
    fill_floor: float | None = None
    fill_place: Literal["subcell", "corner"] = "subcell"
    fill_below: Literal["map", "types"] = "map"
    score_filled: bool = False

    def __post_init__(self) -> None:
        if self.nms_window % 2 != 1 or self.nms_window < 3:
            raise UserError(f"nms_window is {self.nms_window}; use an odd number from 3")
        if self.order is not None:
            if sorted(self.order) != list(range(len(self.order))):
                raise UserError(f"order is {list(self.order)}; name each keypoint type once")
            object.__setattr__(self, "order", tuple(self.order))  # JSON knows lists alone
        for name in ("top_k", "max_instances", "group_limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; use 1 or more")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, str(getattr(self, name)), known)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> GroupingSettings:
        """Settings by name, one of `PRESETS`, with some fields changed.

        >>> GroupingSettings.preset("higherhrnet", tag_threshold=0.5).subcell
        'quarter'
        """
        if name not in PRESETS:
            raise unknown_name("grouping preset", name, PRESETS)
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GroupingSettings:
        """Settings from plain values; a key "preset" names what the others change."""
        values = dict(values)
        base = values.pop("preset", None)
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown_name("grouping setting", name, known)
        return replace(cls.preset(base), **values) if base else cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        order = None if self.order is None else list(self.order)
        return {**asdict(self), "order": order}


_CHOICES = {
    "method": ("sweeps", "greedy"),
    "plateaus": ("first", "all"),
    "subcell": ("auto", "offset", "parabola", "quarter", "inner_quarter", "none"),
    "tag_norm": ("l2", "rms"),
    "fill_order": ("sum", "tag"),
    "fill_score": ("heatmap", "one"),
    "fill_place": ("subcell", "corner"),
    "fill_below": ("map", "types"),
}

# The test settings of published decoders.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "higherhrnet": {
        "method": "greedy",
        "plateaus": "all",
        "join_equal": True,
        "subcell": "quarter",
        "match_limit": 30,
        "max_instances": 1_000_000,
        "duplicate_similarity": None,
        "instance_threshold": 0.0,
        "min_keypoints": 1,
        "fill_threshold": None,
        "fill_reach": None,
    },
    "mmpose1": {
        "method": "greedy",
        "plateaus": "all",
        "subcell": "inner_quarter",
        "join_equal": True,
        "group_limit": 30,
        "max_instances": 1_000_000,
        "duplicate_similarity": None,
        "instance_threshold": 0.0,
        "min_keypoints": 1,
        "fill_order": "tag",
        "fill_threshold": None,
        "fill_reach": None,
        "fill_floor": 1e-4,  # the least that results write
        "fill_place": "corner",
    },
    "poseae": {
        "method": "greedy",
        "plateaus": "all",
        "join_equal": True,
        "subcell": "quarter",
        "nms_window": 3,
        "tag_norm": "rms",
        "match_limit": 30,
        "stop_when_full": True,
        "max_instances": 1_000_000,
        "duplicate_similarity": None,
        "instance_threshold": 0.0,
        "min_keypoints": 1,
        "fill_threshold": None,
        "fill_reach": None,
        "fill_score": "one",
        "fill_below": "types",
    },
}
