"""Every verb works with every model that ships, and the models find their objects."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagwise import Predictor, predict
from tagwise.cli import main
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.models import shipped_models
from tagwise.tasks import read_result
from tagwise.tasks.pixels import PixelTask
from tagwise.tasks.pose import PoseTask

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO, COINS = EXAMPLES / "photos" / "messi5.jpg", EXAMPLES / "coins" / "coins.png"
every_model = pytest.mark.parametrize("name", shipped_models())


@pytest.fixture(scope="module", params=shipped_models())
def predictor(request):
    return Predictor(request.param, threshold=0.0)


@pytest.fixture
def labelled(tmp_path, predictor):
    """A small labelled set for a model's task: (annotations, images)."""
    task = predictor.task
    if isinstance(task, PixelTask):
        return _label_maps(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(PHOTO, photos / "a.jpg")
    width, height = Image.open(PHOTO).size
    category = {"id": 1, "name": "thing"}
    annotation = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [100, 50, 90, 200]}
    if isinstance(task, PoseTask):
        category = task.skeleton.to_coco()
        keypoints = [value for _ in task.skeleton.keypoints for value in (140, 120, 2)]
        annotation |= {"keypoints": keypoints, "iscrowd": 0, "area": 9000}
    else:
        category["name"] = task.classes[0]
    image = {"id": 5, "file_name": "a.jpg", "width": width, "height": height}
    content = {"images": [image], "annotations": [annotation], "categories": [category]}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return path, photos


def _label_maps(folder):
    for name in ("labels", "images"):
        (folder / name).mkdir()
    labels = np.zeros((96, 96), np.uint8)
    labels[20:50, 20:50], labels[60:80, 10:40] = 1, 2
    Image.fromarray(labels).save(folder / "labels/a.png")
    Image.fromarray(255 * (labels > 0).astype(np.uint8)).save(folder / "images/a.png")
    return folder / "labels", folder / "images"


def test_evaluate_gives_figures(labelled, predictor, tmp_path, capsys):
    annotations, images = map(str, labelled)
    command = ["eval", "--weights", predictor.name, "--annotations", annotations]
    assert main([*command, "--images", images, "--coco", str(tmp_path / "rows.json")]) == 0
    assert "AP" in capsys.readouterr().out
    assert isinstance(json.loads((tmp_path / "rows.json").read_text()), list)


def test_each_oracle_can_be_evaluated(labelled, predictor):
    annotations, images = map(str, labelled)
    command = ["eval", "--weights", predictor.name, "--annotations", annotations]
    for oracle in predictor.task.oracles:
        assert main([*command, "--images", images, "--oracle", oracle]) == 0


def test_predict_writes_coco_results(predictor, tmp_path):
    """Annotations of another task can also be used, because they list the images."""
    shapes = SyntheticShapes(("disc", "star"), 2, size=(96, 96), count=(1, 3), radius=(8, 20))
    shapes.save(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    if isinstance(predictor.task, PoseTask):
        content["categories"] = [predictor.task.skeleton.to_coco()]
        content["annotations"] = []
    elif not isinstance(predictor.task, PixelTask):
        content["categories"][0]["name"] = predictor.task.classes[0]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    command = ["predict", str(tmp_path / "images"), "--weights", predictor.name, "--coco"]
    command += [str(tmp_path / "annotations.json"), "--out", str(tmp_path / "found")]
    assert main(command) == 0
    rows = json.loads((tmp_path / "found/annotations.results.json").read_text())
    ids = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    assert all(row["image_id"] in ids and row["category_id"] in categories for row in rows)


@every_model
@pytest.mark.parametrize("what", ["tags", "instances", "maps"])
def test_plot_draws_a_result(name, what, tmp_path):
    out = tmp_path / "plot.png"
    command = ["plot", str(PHOTO), "--weights", name, "--what", what, "--out", str(out)]
    assert main(command) == 0
    assert min(Image.open(out).size) > 100


@every_model
def test_predicted_files_can_be_read_and_plotted(name, tmp_path):
    assert main(["predict", str(PHOTO), "--weights", name, "--out", str(tmp_path)]) == 0
    path = tmp_path / "messi5.predictions.json"
    result = read_result(json.loads(path.read_text()))
    assert result.model == name
    for what in ("tags", "instances"):
        out = str(tmp_path / f"{what}.png")
        assert main(["plot", str(path), "--what", what, "--out", out]) == 0
    again = next(predict(PHOTO, name))
    assert len(again) == len(result) == len(Predictor(name)(PHOTO))


@every_model
def test_track_follows_instances(name, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(3):
        Image.open(PHOTO).resize((274, 171)).save(frames / f"{n}.png")
    command = ["track", str(frames), "--weights", name, "--out", str(tmp_path), "--no-pictures"]
    assert main(command) == 0
    assert len((tmp_path / "frames.tracks.jsonl").read_text().splitlines()) == 3


def test_people_are_found_in_the_example_photos():
    results = list(predict(PHOTO.parent, "people"))
    assert sum(map(len, results)) >= 6


@pytest.mark.parametrize("weights", ["blood", "nuclei"])
def test_models_of_cells_find_the_coins_of_the_documentation(weights):
    found = Predictor(weights, device="cpu")(COINS)
    assert 23 <= len(found) <= 26  # of 24, on every CPU
