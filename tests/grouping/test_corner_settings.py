"""Corner settings: presets, plain values, errors that help."""

import json

import pytest

from tagwise.errors import UserError
from tagwise.grouping.corners import CORNER_PRESETS, CornerSettings


@pytest.mark.parametrize("name", CORNER_PRESETS)
def test_settings_survive_json(name):
    settings = CornerSettings.preset(name)
    assert CornerSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_preset_with_changes():
    settings = CornerSettings.from_dict({"preset": "cornernet", "top_k": 70})
    assert settings == CornerSettings.preset("cornernet", top_k=70)
    assert settings.pairing == "all"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tag_treshold": 1.0}, "did you mean 'tag_threshold'"),
        ({"preset": "cornrnet"}, "did you mean 'cornernet'"),
        ({"pairing": "one-to-one"}, "did you mean 'one_to_one'"),
        ({"suppression": "soft"}, "unknown suppression 'soft'"),
        ({"nms_window": 4}, "odd"),
        ({"top_k": 0}, "top_k is 0"),
        ({"tag_spread": 0.0}, "tag_spread is 0"),
        ({"centre_weight": 1.5}, "centre_weight is 1.5"),
    ],
)
def test_errors_name_the_mend(values, message):
    with pytest.raises(UserError, match=message):
        CornerSettings.from_dict(values)
