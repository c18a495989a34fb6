"""Settings for decoding maps into instances: keypoints, corners and pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from tagwise.errors import UserError
from tagwise.settings import (
    Count,
    NonNegative,
    NonNegativeInt,
    OddWindow,
    Positive,
    Settings,
    Share,
)

QuarterShift = Literal["quarter", "inner_quarter"]


@dataclass(frozen=True)
class PublishedRules(Settings):
    """The differences of published decoders. `GroupingSettings.preset` combines them.

    Peaks
        plateaus: which of several equal cells that are the largest of their window are peaks: the
            "first" in reading order, or "all". Enlarged maps repeat their border cells.
        subcell: replaces `GroupingSettings.subcell`. "quarter" moves a keypoint by a quarter cell
            towards the larger neighbour. "inner_quarter" does the same, except where both
            neighbours are equal, in the first two cells and the last cell of an axis, and in the
            first cell of the other axis.
    Matching, with method "greedy"
        round_tags: the cost uses the tag distance rounded to a whole number, so that the scores of
            the peaks decide between similar tags. Equal costs are ordered by the square roots of
            the unrounded distances, up to tag_threshold.
        use_score: the cost subtracts the peak's score (with round_tags, a hundredth of a tag unit).
        match_limit: only the first match_limit groups can receive peaks. None: all groups.
        stop_when_full: match nothing more once match_limit groups exist.
        join_equal: a peak that would start a group instead joins a group that was started with the
            same first tag component. It replaces a peak of its type in that group, and its tag
            becomes the group's mean tag. This is the behaviour of programs that use the first tag
            component as the key of a group.
        group_limit: only the first group_limit groups are kept. None: all groups.
    Missing keypoints
        fill_order: "sum" maximises heatmap - round(distance). "tag" minimises the rounded distance,
            and maximises the heatmap among cells of equal distance.
        fill_score: the score of a filled keypoint: its "heatmap" value, or "one".
        fill_floor: the least score of a filled keypoint. None: a keypoint with a heatmap value of 0
            or less stays missing.
        fill_place: the position of a filled keypoint: as "subcell" determines it, or the top-left
            "corner" of its cell.
        fill_below: the row from which there is no neighbour below: the last row of the "map", or
            row K - 1 for K keypoint "types", as in the refinement step of pose-ae.
    """

    plateaus: Literal["first", "all"] = "first"
    subcell: QuarterShift | None = None
    round_tags: bool = True
    use_score: bool = True
    match_limit: Count | None = None
    stop_when_full: bool = False
    join_equal: bool = False
    group_limit: Count | None = None
    fill_order: Literal["sum", "tag"] = "sum"
    fill_score: Literal["heatmap", "one"] = "heatmap"
    fill_floor: Share | None = None
    fill_place: Literal["subcell", "corner"] = "subcell"
    fill_below: Literal["map", "types"] = "map"


_NO_CHANGE = PublishedRules()

# What the published decoders have in common: every group is kept, every keypoint is filled.
_KEEP_ALL = {
    "method": "greedy",
    "max_instances": 1_000_000,
    "instance_threshold": 0.0,
    "min_keypoints": 1,
    "duplicate_similarity": None,
    "fill_threshold": None,
    "fill_reach": None,
}

# The published test settings of each decoder.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "higherhrnet": {
        **_KEEP_ALL,
        "published": {
            "plateaus": "all",
            "subcell": "quarter",
            "match_limit": 30,
            "join_equal": True,
        },
    },
    "mmpose1": {
        **_KEEP_ALL,
        "published": {
            "plateaus": "all",
            "subcell": "inner_quarter",
            "join_equal": True,
            "group_limit": 30,
            "fill_order": "tag",
            "fill_floor": 1e-4,  # the smallest score that a results file can represent
            "fill_place": "corner",
        },
    },
    "poseae": {
        **_KEEP_ALL,
        "nms_window": 3,
        "tag_norm": "rms",
        "published": {
            "plateaus": "all",
            "subcell": "quarter",
            "match_limit": 30,
            "stop_when_full": True,
            "join_equal": True,
            "fill_score": "one",
            "fill_below": "types",
        },
    },
}


@dataclass(frozen=True)
class GroupingSettings(Settings):
    """Settings for finding peaks in heatmaps and grouping them into instances.

    Peaks
        peak_threshold: the least heatmap value of a peak, exclusive.
        nms_window: side in cells of the square in which a peak is the largest value.
        top_k: the largest number of peaks per keypoint type.
        subcell: how the position of a keypoint in its cell is found. "offset": from predicted
            offset maps. "parabola": the vertex of the parabola through the logarithms of the
            neighbours, which is exact for a Gaussian. "none": the centre of the cell. "auto": from
            offset maps if there are any, else from the parabola.
    Matching
        method: "sweeps" or "greedy"; `tagwise.grouping.group_keypoints` explains them.
        tag_threshold: the tag distance that separates instances.
        tag_norm: "l2", or "rms", the root mean square over the tag's components.
        order: the order in which keypoint types are grouped. None: the caller's order.
    Matching by sweeps
        sweeps: how often all peaks are reassigned.
        tag_tolerance: how much the scatter of a group's tags extends its reach.
        compactness: weight of the distance in the image; with 0, only tags count.
        inertia: share of the keypoint types at which a group attracts with half its full strength.
        score_power: the gain of a peak from joining a group is multiplied by its score to this
            power. With 0, peaks of low score count as much as confident ones.
        founder_threshold: peaks with a lower score join groups but do not start them.
    Results
        max_instances: the largest number of instances per image; the best are kept.
        instance_threshold: instances with a lower score are dropped.
        min_keypoints: instances with fewer keypoints are dropped.
        duplicate_similarity: an instance is dropped if its similarity to a better one is above this
            value. The similarity is the object keypoint similarity with the sigma duplicate_sigma
            for all keypoint types. None keeps all instances.
        fill: missing keypoints are set where heatmap - round(l2 tag distance) is largest.
        fill_threshold: the least such value, exclusive. None: any value is accepted.
        fill_reach: how far around a group to search, in sides of its box. None: the whole image.
        score_filled: whether filled keypoints count in the instance's score.
    Published decoders
        published: the rules in which a published decoder differs. None: no such rules.

    Raises UserError for invalid values. Model files and recipes of earlier versions, which have
    the fields of `PublishedRules` at the top level, still load.
    """

    peak_threshold: Share = 0.1
    nms_window: OddWindow = 5
    top_k: Count = 30
    subcell: Literal["auto", "offset", "parabola", "none"] = "auto"
    method: Literal["sweeps", "greedy"] = "sweeps"
    tag_threshold: Positive = 1.0
    tag_norm: Literal["l2", "rms"] = "l2"
    order: tuple[int, ...] | None = None
    sweeps: NonNegativeInt = 3
    tag_tolerance: NonNegative = 2.0
    compactness: NonNegative = 0.2
    inertia: NonNegative = 0.5
    score_power: NonNegative = 1.0
    founder_threshold: Share = 0.2
    max_instances: Count = 30
    instance_threshold: Share = 0.04
    min_keypoints: NonNegativeInt = 2
    duplicate_similarity: Share | None = 0.7
    duplicate_sigma: Positive = 0.05
    fill: bool = True
    fill_threshold: float | None = 0.03
    fill_reach: NonNegative | None = 0.5
    score_filled: bool = False
    published: PublishedRules | None = None

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None and sorted(self.order) != list(range(len(self.order))):
            raise UserError(f"order is {list(self.order)}; name each keypoint type once")
        if self.published == _NO_CHANGE:
            object.__setattr__(self, "published", None)

    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return super()._complete(_with_nested_rules(values))


def _with_nested_rules(values: dict[str, Any]) -> dict[str, Any]:
    """Move published rules under "published"; earlier versions had them at the top level.

    >>> _with_nested_rules({"preset": "poseae", "match_limit": 2, "top_k": 9})
    {'preset': 'poseae', 'top_k': 9, 'published': {'match_limit': 2}}
    """
    names = {item.name for item in fields(PublishedRules)} - {"subcell"}
    moved = {name: values[name] for name in values if name in names}
    values = {name: value for name, value in values.items() if name not in names}
    given = values.get("published", {})
    if "subcell" in values and isinstance(given, Mapping) and "subcell" not in given:
        if values["subcell"] in get_args(QuarterShift):
            moved["subcell"] = values.pop("subcell")
        elif "preset" in values:  # it replaces the preset's shift as well
            moved["subcell"] = None
    if moved:
        given = given.to_dict() if isinstance(given, PublishedRules) else given or {}
        values["published"] = {**given, **moved}
    return values


CORNER_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published test settings. The published program applies soft suppression after these
    # steps, to boxes in image pixels: soft_nms(..., inclusive=True).
    "cornernet": {
        "corner_threshold": 0.0,
        "top_k": 100,
        "pairing": "all",
        "tag_threshold": 0.5,
        "min_side": 0.0,
        "suppression": "none",
        "max_boxes": 1000,
        "box_threshold": 0.0,
    },
}


@dataclass(frozen=True)
class CornerSettings(Settings):
    """Settings for finding the corners of boxes and pairing them.

    Corners
        corner_threshold: the least heatmap value of a corner, exclusive.
        nms_window: side in cells of the square in which a corner is the largest value.
        top_k: the largest number of top-left corners over all classes, and also of bottom-right
            corners.
    Pairs
        pairing: "one_to_one", or "all": every possible pair, as in CornerNet.
        tag_threshold: corners with a larger tag distance (l2) are not paired.
        tag_growth: the tag distance is divided by 1 + tag_growth * the square root of the box's
            area in cells. For networks that add the position of a pixel to its tag.
        min_side: the least width and height of a box, in cells.
    Pairing one-to-one, as `tagwise.grouping.corners.pair_corners` explains
        tag_spread: the usual difference between the two tags of an object, per component.
        size_weight: weight of a box's size, compared with the image's other boxes of its class.
        share_power: the score is multiplied by the pair's share to this power.
    Centres, if the network predicts them
        centre_part: side of the central part of a box in which its centre is searched, relative to
            the box's side.
        centre_weight: weight of the centre in a box's score; the corners have the rest.
    Results
        suppression: what happens to a box that overlaps a better one of its class: "hard" drops it,
            "linear" and "exp" lower its score (`tagwise.grouping.suppression.soft_nms`), "none"
            keeps it unchanged.
        overlap: intersection over union above which "hard" and "linear" apply.
        overlap_sigma: for "exp", the scale of the squared intersection over union.
        max_boxes: the largest number of boxes per image; the best are kept.
        box_threshold: boxes with a lower score are dropped.

    Raises UserError for invalid values.
    """

    corner_threshold: Share = 0.1
    nms_window: OddWindow = 3
    top_k: Count = 500
    pairing: Literal["one_to_one", "all"] = "one_to_one"
    tag_threshold: Positive = 1.5
    tag_growth: NonNegative = 0.0
    min_side: NonNegative = 0.5
    tag_spread: Positive = 0.5
    size_weight: NonNegative = 0.5
    share_power: NonNegative = 0.05
    centre_part: Share = 0.33
    centre_weight: Share = 0.5
    suppression: Literal["none", "hard", "linear", "exp"] = "hard"
    overlap: Share = 0.7
    overlap_sigma: Positive = 0.5
    max_boxes: Count = 500
    box_threshold: Share = 0.05

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = CORNER_PRESETS


@dataclass(frozen=True)
class PixelSettings(Settings):
    """Settings for grouping pixels into instances.

    foreground: the foreground score above which a pixel belongs to an instance.
    seed: the least seed score of a cell from which an instance grows.
    bandwidth: an instance grows over neighbouring cells whose tags are at most this far from the
        tag of its seed.
    join: adjacent instances whose mean tags are at most this far apart are merged.
    least_area: in pixels; smaller instances are left out.

    Raises UserError for invalid values.
    """

    foreground: Share = 0.5
    seed: Share = 0.5
    bandwidth: NonNegative = 1.5
    join: NonNegative = 1.5
    least_area: NonNegativeInt = 16
