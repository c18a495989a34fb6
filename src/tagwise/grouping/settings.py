"""Settings for decoding maps to instances: keypoints, corners and pixels."""

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

QuarterShift = Literal["quarter", "inner_quarter", "inside_quarter"]


@dataclass(frozen=True)
class PublishedRules(Settings):
    """The differences of published decoders. `GroupingSettings.preset` combines them.

    Peaks
        plateaus: of equal cells that are the largest of their window, the "first" in reading order
            is a peak, or "all" are. Enlarged maps repeat their border cells.
        subcell: replaces `GroupingSettings.subcell`. "quarter" moves a quarter cell towards the
            larger neighbour. "inner_quarter" does so except where both are equal, in the first two
            cells and the last cell of an axis, and in the first cell of the other axis.
            "inside_quarter" does so except where both are equal, and in the first two and the last
            row and column.
    Matching, with method "greedy"
        round_tags: the cost uses the distance rounded to an integer, so that among similar tags
            the scores of the peaks decide. Equal costs are ordered by the square roots of the
            unrounded distances, up to tag_threshold.
        use_score: the cost subtracts the peak's score (with round_tags, a hundredth of a tag unit).
        near_first: the distance of a tag within tag_threshold counts times how much farther the
            peak is from the group's mean position than the nearest peak of its type is.
        match_limit: only the first match_limit groups can receive peaks. None: all groups.
        stop_when_full: stop matching once match_limit groups exist.
        join_equal: a peak that would start a group joins one that was started with the same first
            tag component. It replaces a peak of its type there, and its tag becomes the group's
            mean tag. Programs that store groups under that number do so.
        group_limit: only the first group_limit groups are kept. None: all groups.
    Missing keypoints
        fill_order: "sum" maximises heatmap - round(distance). "tag" minimises the rounded distance,
            and maximises the heatmap among equal ones.
        fill_score: the score of a filled keypoint, the value of the "heatmap" or "one".
        fill_floor: the least score of a filled keypoint. None: it stays missing if its heatmap
            value is 0 or less.
        fill_place: a filled keypoint is placed by the "subcell" rule, or at the top-left "corner"
            of its cell.
        fill_below: the last row that has a neighbour below it: that of the "map", or row K - 1 for
            K keypoint "types", as in the refinement of pose-ae.
    """

    plateaus: Literal["first", "all"] = "first"
    subcell: QuarterShift | None = None
    round_tags: bool = True
    use_score: bool = True
    near_first: bool = False
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

# The test settings of published decoders.
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
            "fill_floor": 1e-4,  # the smallest score that a result can write
            "fill_place": "corner",
        },
    },
    # Open Model Zoo's demo of its EfficientHRNets with associative embedding
    "openmodelzoo": {
        **_KEEP_ALL,
        "published": {
            "plateaus": "all",
            "subcell": "inside_quarter",
            "near_first": True,
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
    """Settings for finding peaks of heatmaps and grouping them into instances.

    Peaks
        peak_threshold: the heatmap value of a peak must be above it.
        nms_window: side in cells of the square in which a peak is the largest value.
        top_k: the maximum number of peaks per keypoint type.
        subcell: the position of a keypoint in its cell. "offset": from predicted offset maps.
            "parabola": the vertex of the parabola through the logarithms of the neighbours, exact
            for a Gaussian. "none": the centre. "auto": from offset maps if given, else "parabola".
    Matching
        method: "sweeps" or "greedy"; `tagwise.grouping.group_keypoints` explains them.
        tag_threshold: the tag distance that separates instances.
        tag_norm: "l2", or "rms", the root of the mean over the tag's components.
        order: the order in which keypoint types are grouped. None: the caller's.
    Matching by sweeps
        sweeps: how often all peaks are assigned again.
        tag_tolerance: how much the scatter of a group's tags extends its reach.
        compactness: the weight of distance in the image; 0 groups by tags only.
        inertia: share of the keypoint types that a group needs to attract with half its strength.
        score_power: the claim of a peak to a group is multiplied by its score to this power. With 0
            faint peaks count as much as confident ones.
        founder_threshold: peaks with a lower score join groups but do not start them.
    Results
        max_instances: the maximum number of instances per image; the best ones are kept.
        instance_threshold: instances with a lower score are dropped.
        min_keypoints: instances with fewer keypoints are dropped.
        duplicate_similarity: an instance is dropped if it is this similar to a better one, by
            object keypoint similarity with one sigma for all types. None keeps all.
        duplicate_sigma: that sigma, relative to the size of the instance.
        fill: missing keypoints are set where heatmap - round(l2 tag distance) is largest.
        fill_threshold: that value must be above it. None: any value.
        fill_reach: how far around a group they are searched, in sides of its box. None: everywhere.
        score_filled: filled keypoints count in the instance's score.
        small_side: instances whose longer side is shorter than this many cells have a lower score,
            times (side / small_side)^small_power. Background that looks like a person is mostly
            small. 0: the size does not count.
        small_power: see small_side.
    Published decoders
        published: the rules of a published decoder. None: no such rules.

    Raises UserError for invalid values. Model files and recipes of earlier versions, which
    have the fields of `PublishedRules` among the others, load as before.
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
    small_side: NonNegative = 0.0
    small_power: NonNegative = 0.25
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
    """Move published rules under "published"; earlier versions had them among the other settings.

    >>> _with_nested_rules({"preset": "poseae", "match_limit": 2, "top_k": 9})
    {'preset': 'poseae', 'top_k': 9, 'published': {'match_limit': 2}}
    """
    moved = {name: values[name] for name in rules_among(values)}
    values = {name: value for name, value in values.items() if name not in moved}
    given = values.get("published", {})
    if "subcell" in values and isinstance(given, Mapping) and "subcell" not in given:
        if values["subcell"] in get_args(QuarterShift):
            moved["subcell"] = values.pop("subcell")
        elif "preset" in values:  # it replaces the preset's shift too
            moved["subcell"] = None
    if moved:
        given = given.to_dict() if isinstance(given, PublishedRules) else given or {}
        values["published"] = {**given, **moved}
    return values


def rules_among(values: Mapping[str, Any]) -> list[str]:
    """The names in plain grouping settings that belong to `PublishedRules`, one level lower."""
    names = {item.name for item in fields(PublishedRules)} - {"subcell"}
    return [name for name in values if name in names]


CORNER_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published test settings. The published test then applies soft suppression to the boxes in
    # image pixels: soft_nms(..., inclusive=True).
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
    """Settings for finding corners of boxes and pairing them.

    Corners
        corner_threshold: the heatmap value of a corner must be above it.
        nms_window: side in cells of the square in which a corner is the largest value.
        top_k: the maximum number of top-left and of bottom-right corners, over all classes.
    Pairs
        pairing: "one_to_one", or "all" for every candidate pair, as in CornerNet.
        tag_threshold: corners with a larger tag distance (l2) are not paired.
        tag_growth: the tag distance is divided by 1 + tag_growth * the square root of the box's
            area in cells; for tags that start from the position of the pixel.
        min_side: the least width and height of a box, in cells.
    Pairing one-to-one, see `tagwise.grouping.corners.pair_corners`
        tag_spread: the usual difference of one component of the two tags of an object.
        size_weight: the weight of a box's size, compared with the image's other boxes of its class.
        share_power: the score is multiplied by the pair's share to this power.
    Centres, if the network predicts them
        centre_part: the side of the middle part of a box in which its centre is searched, relative
            to the side of the box.
        centre_weight: the weight of the centre in a box's score; the corners have the rest.
    Results
        suppression: for boxes that overlap a better one of their class: "hard" drops them, "linear"
            and "exp" lower their scores (`tagwise.grouping.suppression.soft_nms`), "none" keeps
            them.
        overlap: the intersection over union above which "hard" and "linear" apply.
        overlap_sigma: for "exp", the scale of the squared intersection over union.
        max_boxes: the maximum number of boxes per image; the best ones are kept.
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
    seed: the least seed score of a cell that an instance grows from.
    bandwidth: an instance grows over neighbouring cells whose tags are at most this far from the
        tag of its seed.
    join: adjacent instances whose mean tags are at most this far apart become one.
    least_area: in pixels; smaller instances are left out.

    Raises UserError for invalid values.
    """

    foreground: Share = 0.5
    seed: Share = 0.5
    bandwidth: NonNegative = 1.5
    join: NonNegative = 1.5
    least_area: NonNegativeInt = 16
