"""Settings: presets, plain values, errors that help."""

import json

import pytest

from tagwise.errors import UserError
from tagwise.grouping.settings import PRESETS, GroupingSettings


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name):
    settings = GroupingSettings.preset(name)
    assert GroupingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_preset_with_changes():
    settings = GroupingSettings.from_dict({"preset": "higherhrnet", "nms_window": 3})
    assert settings == GroupingSettings.preset("higherhrnet", nms_window=3)
    assert settings.method == "greedy"


def test_an_order_survives_json():
    settings = GroupingSettings(order=(2, 0, 1))
    again = GroupingSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert hash(again) == hash(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tag_treshold": 1.0}, "did you mean 'tag_threshold'"),
        ({"preset": "higherhrnte"}, "did you mean 'higherhrnet'"),
        ({"subcell": "quater"}, "did you mean 'quarter'"),
        ({"nms_window": 4}, "odd"),
        ({"top_k": 0}, "top_k is 0"),
        ({"max_instances": -1}, "max_instances is -1"),
        ({"group_limit": 0}, "group_limit is 0"),
        ({"fill_order": "tags"}, "did you mean 'tag'"),
        ({"order": [0, 2, 2]}, "each keypoint type once"),
    ],
)
def test_errors_name_the_mend(values, message):
    with pytest.raises(UserError, match=message):
        GroupingSettings.from_dict(values)
