"""Every knob of the way from corner maps to boxes, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from tagwise.errors import UserError, unknown_name


@dataclass(frozen=True)
class CornerSettings:
    """How corners are found and paired. All fields are plain values, so that JSON can hold them.

    Corners
        corner_threshold: a corner's heatmap value must be above it, [0, 1].
        nms_window: side in cells of the square in which a corner is the largest value; odd.
        top_k: at most so many corners of either kind, over all classes.
    Pairs
        pairing: "one_to_one", or "all": every pair that passes, as CornerNet has it.
        tag_threshold: corners with a larger tag distance (l2) are no pair.
        tag_growth: the tag distance is taken relative to 1 + tag_growth * the square root of the
            box's area in cells; for tags that start from the place of the pixel.
        min_side: boxes with a smaller width or height, in cells, are no pair.
    Pairing one-to-one, as `tagwise.grouping.corners.pair_corners` explains
        tag_spread: how far one component of the two tags of an object usually differs.
        size_weight: weight of a box's size, compared with the image's other boxes of its class.
        share_power: the score is multiplied with the pair's share to this power.
    Centres, where the network finds them
        centre_part: side of the middle of a box where its centre is looked for, of the box's side.
        centre_weight: of the centre in a box's score, [0, 1]; the corners have the rest.
    Results
        suppression: what becomes of a box that overlaps a better one of its class: "hard" drops it,
            "linear" and "exp" soften its score (`tagwise.grouping.suppression.soft_nms`), "none".
        overlap: intersection over union above which that is so, for "hard" and "linear".
        overlap_sigma: for "exp", the scale of the squared intersection over union.
        max_boxes: at most so many boxes, the best ones.
        box_threshold: boxes with a lower score are dropped.
    """

    corner_threshold: float = 0.1
    nms_window: int = 3
    top_k: int = 500
    pairing: Literal["one_to_one", "all"] = "one_to_one"
    tag_threshold: float = 1.5
    tag_growth: float = 0.0
    min_side: float = 0.5
    tag_spread: float = 0.5
    size_weight: float = 0.5
    share_power: float = 0.05
    centre_part: float = 0.33
    centre_weight: float = 0.5
    suppression: Literal["none", "hard", "linear", "exp"] = "hard"
    overlap: float = 0.7
    overlap_sigma: float = 0.5
    max_boxes: int = 500
    box_threshold: float = 0.05

    def __post_init__(self) -> None:
        if self.nms_window % 2 != 1 or self.nms_window < 3:
            raise UserError(f"nms_window is {self.nms_window}; use an odd number from 3")
        for name in ("top_k", "max_boxes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; use 1 or more")
        for name in ("tag_threshold", "tag_spread", "overlap_sigma"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; use a number above 0")
        for name in ("centre_part", "centre_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; use a number from 0 to 1")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, str(getattr(self, name)), known)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> CornerSettings:
        """Settings by name ("default", "cornernet"), with some fields changed.

        >>> CornerSettings.preset("cornernet", top_k=70).pairing
        'all'
        """
        if name not in CORNER_PRESETS:
            raise unknown_name("corner preset", name, CORNER_PRESETS)
        return cls.from_dict({**CORNER_PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CornerSettings:
        """Settings from plain values; a key "preset" names what the others change."""
        values = dict(values)
        base = values.pop("preset", None)
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise unknown_name("corner setting", name, known)
        return replace(cls.preset(base), **values) if base else cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)


_CHOICES = {
    "pairing": ("one_to_one", "all"),
    "suppression": ("none", "hard", "linear", "exp"),
}

CORNER_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published test settings. Soft suppression follows there once boxes are in image pixels:
    # soft_nms(..., inclusive=True).
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
