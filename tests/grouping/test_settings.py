"""Settings of grouping: presets, plain values, files of earlier versions, helpful errors."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import tagwise
from tagwise.errors import UserError
from tagwise.grouping.settings import (
    CORNER_PRESETS,
    PRESETS,
    CornerSettings,
    GroupingSettings,
    PixelSettings,
    PublishedRules,
)

WEIGHTS = Path(tagwise.__file__).parent / "weights"
EVERY_PRESET = [
    *(GroupingSettings.preset(name) for name in PRESETS),
    *(CornerSettings.preset(name) for name in CORNER_PRESETS),
    PixelSettings(),
]


@pytest.mark.parametrize("settings", EVERY_PRESET)
def test_settings_survive_json(settings):
    values = json.loads(json.dumps(settings.to_dict()))
    assert type(settings).from_dict(values) == settings


@pytest.mark.parametrize(
    ("cls", "preset", "changes"),
    [
        (GroupingSettings, "higherhrnet", {"nms_window": 3}),
        (CornerSettings, "cornernet", {"top_k": 70}),
    ],
)
def test_preset_values_can_be_changed(cls, preset, changes):
    settings = cls.from_dict({"preset": preset, **changes})
    assert settings == cls.preset(preset, **changes)
    assert settings.to_dict() == {**cls.preset(preset).to_dict(), **changes}


def test_order_survives_json():
    settings = GroupingSettings(order=[2, 0, 1])
    again = GroupingSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert hash(again) == hash(settings)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (GroupingSettings, {"tag_treshold": 1.0}, "did you mean 'tag_threshold'"),
        (GroupingSettings, {"preset": "higherhrnte"}, "did you mean 'higherhrnet'"),
        (GroupingSettings, {"subcell": "parabla"}, "did you mean 'parabola'"),
        (GroupingSettings, {"published": {"subcell": "quater"}}, "did you mean 'quarter'"),
        (GroupingSettings, {"nms_window": 4}, "odd"),
        (GroupingSettings, {"top_k": 0}, "top_k is 0"),
        (GroupingSettings, {"max_instances": -1}, "max_instances is -1"),
        (GroupingSettings, {"group_limit": 0}, "published: group_limit is 0"),
        (GroupingSettings, {"fill_order": "tags"}, "published: .* did you mean 'tag'"),
        (GroupingSettings, {"order": [0, 2, 2]}, "each keypoint type once"),
        (GroupingSettings, {"tag_threshold": float("nan")}, "tag_threshold is nan"),
        (GroupingSettings, {"peak_threshold": 2}, "peak_threshold is 2; use a number from 0 to 1"),
        (CornerSettings, {"tag_treshold": 1.0}, "did you mean 'tag_threshold'"),
        (CornerSettings, {"preset": "cornrnet"}, "did you mean 'cornernet'"),
        (CornerSettings, {"pairing": "one-to-one"}, "did you mean 'one_to_one'"),
        (CornerSettings, {"suppression": "soft"}, "unknown suppression 'soft'"),
        (CornerSettings, {"nms_window": 4}, "odd"),
        (CornerSettings, {"top_k": 0}, "top_k is 0"),
        (CornerSettings, {"tag_spread": 0.0}, "tag_spread is 0"),
        (CornerSettings, {"centre_weight": 1.5}, "centre_weight is 1.5"),
        (PixelSettings, {"seeds": 1}, "did you mean 'seed'"),
        (PixelSettings, {"bandwidth": -1}, "bandwidth is -1"),
        (PixelSettings, {"foreground": 2}, "foreground is 2; use a number from 0 to 1"),
    ],
)
def test_errors_name_the_fix(cls, values, message):
    with pytest.raises(UserError, match=message):
        cls.from_dict(values)


# ---------------------------------------------------------------------- earlier versions

# The files of the last version without `PublishedRules`, for each preset.
OLD_DEFAULT = {
    "peak_threshold": 0.1,
    "nms_window": 5,
    "plateaus": "first",
    "top_k": 30,
    "subcell": "auto",
    "method": "sweeps",
    "tag_threshold": 1.0,
    "tag_norm": "l2",
    "order": None,
    "sweeps": 3,
    "tag_tolerance": 2.0,
    "compactness": 0.2,
    "inertia": 0.5,
    "score_power": 1.0,
    "founder_threshold": 0.2,
    "round_tags": True,
    "use_score": True,
    "match_limit": None,
    "stop_when_full": False,
    "join_equal": False,
    "group_limit": None,
    "max_instances": 30,
    "instance_threshold": 0.04,
    "min_keypoints": 2,
    "duplicate_similarity": 0.7,
    "duplicate_sigma": 0.05,
    "fill": True,
    "fill_order": "sum",
    "fill_threshold": 0.03,
    "fill_reach": 0.5,
    "fill_score": "heatmap",
    "fill_floor": None,
    "fill_place": "subcell",
    "fill_below": "map",
    "score_filled": False,
}
OLD_HIGHERHRNET = {
    **OLD_DEFAULT,
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
}
OLD = {
    "default": OLD_DEFAULT,
    "higherhrnet": OLD_HIGHERHRNET,
    "mmpose1": {
        **OLD_HIGHERHRNET,
        "subcell": "inner_quarter",
        "match_limit": None,
        "group_limit": 30,
        "fill_order": "tag",
        "fill_floor": 1e-4,
        "fill_place": "corner",
    },
    "poseae": {
        **OLD_HIGHERHRNET,
        "nms_window": 3,
        "tag_norm": "rms",
        "stop_when_full": True,
        "fill_score": "one",
        "fill_below": "types",
    },
}


@pytest.mark.parametrize("preset", OLD)
def test_settings_of_earlier_versions_load(preset):
    settings = GroupingSettings.from_dict(OLD[preset])
    assert settings == GroupingSettings.preset(preset)
    assert (settings.published is None) == (preset == "default")
    later = {"small_side", "small_power"}
    assert not set(settings.to_dict()) - {"published", *later, *OLD_DEFAULT}


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_settings_of_shipped_models_are_unchanged(path):
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["tagwise"])
    cls, field = {
        "pose": (GroupingSettings, "grouping"),
        "corners": (CornerSettings, "pairing"),
        "pixels": (PixelSettings, "grouping"),
    }[header["task"]]
    written = dict(header["task_options"][field])
    assert written.pop("published", None) is None
    loaded = cls.from_dict(written).to_dict()
    assert loaded.pop("published", None) is None
    assert len(written) > 4
    assert {**PublishedRules().to_dict(), **loaded}.items() >= written.items()


@pytest.mark.parametrize(
    ("flat", "nested"),
    [
        ({"fill_score": "one"}, GroupingSettings(published=PublishedRules(fill_score="one"))),
        ({"subcell": "quarter"}, GroupingSettings(published=PublishedRules(subcell="quarter"))),
        ({"method": "greedy", "round_tags": True}, GroupingSettings(method="greedy")),
        (
            {"round_tags": False, "published": {"match_limit": 3}},
            GroupingSettings(published=PublishedRules(round_tags=False, match_limit=3)),
        ),
        (
            {"round_tags": False, "published": PublishedRules(match_limit=3)},
            GroupingSettings(published=PublishedRules(round_tags=False, match_limit=3)),
        ),
        (
            {"preset": "higherhrnet", "match_limit": 2},
            GroupingSettings.preset("higherhrnet", published={"match_limit": 2}),
        ),
        (
            {"preset": "higherhrnet", "subcell": "inner_quarter"},
            GroupingSettings.preset("higherhrnet", published={"subcell": "inner_quarter"}),
        ),
        (
            {"preset": "higherhrnet", "subcell": "none"},
            GroupingSettings.preset("higherhrnet", subcell="none", published={"subcell": None}),
        ),
    ],
)
def test_names_of_earlier_versions_are_translated(flat, nested):
    assert GroupingSettings.from_dict(flat) == nested


def test_published_rules_of_a_preset_can_be_removed():
    settings = GroupingSettings.preset("higherhrnet", published=None, subcell="none")
    assert settings.published is None
    assert settings.subcell == "none"


def test_default_rules_equal_no_rules():
    assert GroupingSettings(published=PublishedRules()) == GroupingSettings()
    assert GroupingSettings(published={}) == GroupingSettings()
