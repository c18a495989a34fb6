"""Names of keypoints and classes that `convert` takes from annotation files."""

import json

import pytest

from tagwise.commands import convert as module
from tagwise.commands.convert import convert
from tagwise.errors import UserError


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What `convert` reads of an annotation file with these categories."""
    (tmp_path / "model.pth").write_bytes(b"x")

    def read(what, categories):
        seen = {}

        def stop(file, **names):
            seen.update(names)
            raise UserError("stop")

        monkeypatch.setattr(module, "read_published", stop)
        (tmp_path / "labels.json").write_text(json.dumps({"categories": categories}))
        with pytest.raises(UserError) as caught:
            convert(tmp_path / "model.pth", **{what: tmp_path / "labels.json"})
        return seen.get(what, str(caught.value))

    return read


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        ((2, 1), ["b", "a"]),
        (("2", 1), ["b", "a"]),
        (("x", 1), ["a", "b"]),
        (([3], None), ["a", "b"]),
    ],
)
def test_classes_are_in_the_order_of_their_ids(given, ids, order):
    categories = [{"id": number, "name": name} for number, name in zip(ids, "ab")]
    assert list(given("classes", categories)) == order


@pytest.mark.parametrize("category", [{"sigmas": 3}, {"sigmas": ["x"]}, {"skeleton": 5}])
def test_a_skeleton_that_cannot_be_read_names_the_file(given, category):
    said = given("skeleton", [{"name": "fox", "keypoints": ["a"], **category}])
    assert "labels.json: " in said
