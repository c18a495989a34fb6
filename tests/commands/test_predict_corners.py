"""Prediction with a model of paired corners."""

import json

import numpy as np
import pytest
from PIL import Image

from blocks import BLOCKS, BlockNetwork, draw_blocks
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.prediction.predictor import Predictor
from tagwise.results import Boxes

BOXES = np.array([block[:4] for block in BLOCKS], float)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "wall.png"
    Image.fromarray(draw_blocks(BLOCKS)).save(path)
    return path


def by_place(boxes):
    order = np.lexsort(boxes.boxes.T)
    return boxes.boxes[order], boxes.classes[order]


@pytest.mark.parametrize(
    "options", [{}, {"flip": True}, {"scales": (1.0, 2.0)}, {"flip": True, "scales": (1.0, 2.0)}]
)
def test_boxes_are_in_photo_pixels(photo, options):
    found = Predictor(BlockNetwork(), device="cpu", threshold=0.5, precision="fp32", **options)(
        photo
    )
    boxes, classes = by_place(found)
    order = np.lexsort(BOXES.T)
    np.testing.assert_allclose(boxes, BOXES[order], atol=0.6)
    assert classes.tolist() == [BLOCKS[n][4] for n in order]
    assert (found.width, found.height, found.model) == (128, 128, "blocks")


def test_photo_of_another_size_is_decoded_in_its_pixels(tmp_path):
    image = draw_blocks(BLOCKS).repeat(2, 0).repeat(2, 1)
    found = Predictor(BlockNetwork(), device="cpu", threshold=0.5)(image)
    np.testing.assert_allclose(by_place(found)[0], 2 * BOXES[np.lexsort(BOXES.T)], atol=1.0)


def test_files_are_written(photo, tmp_path):
    out = tmp_path / "out"
    run = predict(photo, BlockNetwork(), out=out, device="cpu", threshold=0.5)
    assert run.finish() == f"1 photo, 4 instances; results are in {out}"
    record = json.loads((out / "wall.predictions.json").read_text())
    assert record["task"] == "corners"
    assert record["classes"] == ["brick", "tile"]
    first = record["instances"][0]
    assert first["class"] == record["classes"][first["class_id"]]
    assert len(first["box"]) == 4
    again = predict(photo, BlockNetwork(), out=out, device="cpu", threshold=0.5, resume=True)
    resumed = list(again)
    assert again.resumed == 1
    assert isinstance(resumed[0], Boxes)
    assert resumed[0].to_dict() == record


def test_coco_results_have_the_categories_of_the_set(photo, tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "wall.png", "width": 128, "height": 128}],
        "annotations": [],
        "categories": [{"id": 5, "name": "Tile"}, {"id": 3, "name": "brick"}],
    }
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(content))
    predict(photo, BlockNetwork(), out=tmp_path / "out", device="cpu", coco=labels).finish()
    rows = json.loads((tmp_path / "out" / "labels.results.json").read_text())
    found = [row for row in rows if row["score"] > 0.5]
    assert sorted(row["category_id"] for row in found) == [3, 3, 3, 5]
    assert {row["image_id"] for row in rows} == {7}


def test_dataset_without_any_class_of_the_model_is_refused(photo, tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "wall.png"}],
        "annotations": [],
        "categories": [{"id": 5, "name": "door"}],
    }
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(content))
    with pytest.raises(UserError, match="no category brick, tile; it has door"):
        predict(photo, BlockNetwork(), out=tmp_path / "out", device="cpu", coco=labels).finish()
