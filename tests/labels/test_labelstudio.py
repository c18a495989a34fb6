"""Tasks of Label Studio."""

import json
import warnings

import pytest
import sleap_io as sio

from lab_files import NAMES, sleap_labels, write_image, write_video, xy_of
from tagwise.errors import UserError
from tagwise.labels import read_labels


def test_label_studio_of_sleap_io(tmp_path):
    video = write_video(tmp_path / "clip.mp4")
    labels = sleap_labels(video)
    labels.videos[0].backend_metadata["shape"] = (12, 48, 64, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sio.save_labelstudio(labels, str(tmp_path / "tasks.json"))
    found = read_labels(tmp_path / "tasks.json")
    assert [(image.path, image.frame) for image in found.images] == [(video, 3), (video, 7)]
    assert found.categories[0].keypoints == tuple(NAMES)
    assert xy_of(found.images[0].instances[0]) == [[4, 2], [30, 20], [40, 40]]
    assert xy_of(found.images[0].instances[1]) == [[5, 6], [8, 9], None]


def studio(*results, image="/data/upload/3/0a1b2c3d-a%20b.png", **task):
    sizes = {"original_width": 200, "original_height": 100}
    results = [{**sizes, "id": str(n), **each} for n, each in enumerate(results)]
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": results}], **task}


def point(name, x, y, **more):
    value = {"x": x, "y": y, "width": 1, "keypointlabels": [name]}
    return {"type": "keypointlabels", "value": value, **more}


def rectangle(name, x, y, width, height, **more):
    value = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": [name]}
    return {"type": "rectanglelabels", "value": value, **more}


def read_tasks(folder, *tasks):
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return read_labels(folder / "tasks.json")


def test_label_studio_groups_keypoints(tmp_path):
    write_image(tmp_path / "a b.png", (200, 100))
    boxes = [rectangle("bee", 0, 0, 20, 40), rectangle("bee", 50, 0, 20, 40)]
    inside = [point("head", 10, 10), point("head", 60, 10), point("tail", 60, 90, parentID="1")]
    found = read_tasks(tmp_path, studio(*boxes, *inside))
    one, other = found.images[0].instances
    assert found.images[0].path == tmp_path / "a b.png"
    assert (one.box, xy_of(one)) == ((0, 0, 40, 40), [[20, 10], None])
    assert (other.box, xy_of(other)) == ((100, 0, 40, 40), [[120, 10], [120, 90]])
    alone = read_tasks(tmp_path, studio(point("head", 1, 1), point("tail", 2, 2)))
    assert len(alone.images[0].instances) == 1
    with pytest.raises(UserError, match="belong to no instance"):
        read_tasks(tmp_path, studio(point("head", 1, 1), point("head", 2, 2)))


def test_label_studio_tasks_without_labels(tmp_path):
    polygon = {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["cell"]}
    cancelled = [{"result": [], "was_cancelled": True}]
    found = read_tasks(
        tmp_path,
        studio({"type": "polygonlabels", "value": polygon}),
        {"data": {"image": "b.png"}, "annotations": cancelled},
        studio({"type": "ellipselabels", "value": {}}),
        {**studio(point("a", 1, 1)), "annotations": [1]},
    )
    assert found.images[0].instances[0].mask == [[0, 0, 100, 0, 100, 100]]
    text = "\n".join(found.describe())
    assert "2 × task without annotations, left out" in text
    assert "1 × ellipselabels cannot be read, left out" in text


def test_label_studio_predictions(tmp_path):
    task = studio()
    predictions = [{"score": 0.4, "result": studio(point("a", 5, 5))["annotations"][0]["result"]}]
    found = read_tasks(tmp_path, {**task, "annotations": [], "predictions": predictions})
    assert found.images[0].instances[0].score == 0.4
