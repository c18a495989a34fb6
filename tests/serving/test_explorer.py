"""The addresses of the page: regrouping cached maps, explanations, layers, labels."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

import tagwise
from small_runs import write_scenes
from tagwise.serving.truth import LabelledSet
from tagwise.serving.views.base import projected


def opened(client, photo, weights="people"):
    answer = client.post(f"/api/images?weights={weights}&name=a.jpg", content=photo)
    assert answer.status_code == 200, answer.text
    return answer.json()


def regrouped(client, image, **settings):
    return client.post(f"/api/images/{image['id']}/group", json={"settings": settings})


@pytest.mark.parametrize("weights", ["people", "blood", "nuclei"])
def test_the_page_shows_what_the_library_finds(client, photo, weights):
    image = opened(client, photo, weights)
    want = tagwise.Predictor(weights, device="cpu")(photo).to_dict()
    want["image"]["file"] = "a.jpg"
    assert image["group"]["result"] == json.loads(json.dumps(want))
    found = image["group"]["detections"]
    assert set(found["instance"]) <= set(range(-1, len(want["instances"])))
    assert len(found["plot"]) == len(found["types"]) == len(found["xy"]) > 10


def test_peaks_belong_to_the_instance_that_has_their_place(client, photo):
    image = opened(client, photo)
    found, instances = image["group"]["detections"], image["group"]["result"]["instances"]
    grouped = [p for p, n in enumerate(found["instance"]) if n >= 0]
    assert grouped
    for p in grouped:
        x, y, _ = instances[found["instance"][p]]["keypoints"][found["types"][p]]
        assert np.hypot(x - found["xy"][p][0], y - found["xy"][p][1]) < 0.1


def test_sliders_regroup_without_the_network(client, photo, monkeypatch):
    image = opened(client, photo)
    parts = client.app.state.parts
    monkeypatch.setattr(parts.store, "load", None)  # no network from here on
    found = regrouped(client, image, threshold=0).json()["result"]["instances"]
    limit = (found[0]["score"] + found[-1]["score"]) / 2
    sure = regrouped(client, image, threshold=limit).json()["result"]["instances"]
    assert 0 < len(sure) < len(found)
    assert (
        len(regrouped(client, image, threshold=0, max_instances=1).json()["result"]["instances"])
        == 1
    )
    assert not regrouped(client, image, peak_threshold=1).json()["result"]["instances"]
    few = regrouped(client, image, peak_threshold=0.5).json()["detections"]["scores"]
    assert min(few) > 0.5


def test_changed_settings_give_the_results_of_the_library(client, photo):
    predictor = tagwise.Predictor("people", device="cpu", threshold=0.1)
    rules = {"tag_threshold": 0.5, "peak_threshold": 0.2}
    predictor.task = predictor.task.from_dict(
        {**predictor.task.to_dict(), "grouping": {**predictor.task.grouping.to_dict(), **rules}}
    )
    found = regrouped(client, opened(client, photo), **rules, threshold=0.1).json()["result"]
    assert found["instances"] == json.loads(json.dumps(predictor(photo).to_dict()))["instances"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tag_treshold": 1}, "did you mean 'tag_threshold'"),
        ({"peak_threshold": 3}, "from 0 to 1"),
        ({"max_instances": "all"}, "use a number"),
        ({"threshold": True}, "use a number"),
    ],
)
def test_bad_settings_are_named(client, photo, settings, words):
    answer = regrouped(client, opened(client, photo), **settings)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_why_two_peaks_are_together_or_not(client, photo):
    image = opened(client, photo)
    found = image["group"]["detections"]
    owner = np.array(found["instance"])

    def why(a, b):
        return client.post(f"/api/images/{image['id']}/why", json={"a": int(a), "b": int(b)}).json()

    first = np.flatnonzero(owner == 0)
    tags = np.array(found["tags"])
    answer = why(first[0], first[1])
    assert answer["together"]
    assert answer["distance"] == pytest.approx(
        np.linalg.norm(tags[first[0]] - tags[first[1]]), abs=1e-3
    )
    assert answer["threshold"] == 2.0
    assert answer["margin"] > 0
    types = np.array(found["types"])
    same = next(p for p in np.flatnonzero(types == types[first[0]]) if p != first[0])
    assert "at most one" in why(first[0], same)["headline"]
    other = next(p for p in np.flatnonzero(owner != 0) if types[p] != types[first[0]])
    answer = why(first[0], other)
    assert not answer["together"]
    place = next((p for p in first if types[p] == types[other]), None)
    assert place is None or place in answer["takers"]
    assert why(0, 0)["error"]
    assert "no detection 9999" in why(0, 9999)["error"]


@pytest.mark.parametrize("weights", ["blood", "nuclei"])
def test_why_of_boxes_and_masks(client, photo, weights):
    image = opened(client, photo, weights)
    owner = np.array(image["group"]["detections"]["instance"])
    a, b = np.flatnonzero(owner == 0)[:2]
    ask = {"a": int(a), "b": int(b)}
    assert client.post(f"/api/images/{image['id']}/why", json=ask).json()["together"]
    other = np.flatnonzero((owner != 0) & (owner >= 0))[-1]
    ask["b"] = int(other)
    assert not client.post(f"/api/images/{image['id']}/why", json=ask).json()["together"]


def test_layers_are_pictures_of_the_maps(client, photo):
    image = opened(client, photo)
    address = f"/api/images/{image['id']}/layers"
    png = cv2.imdecode(np.frombuffer(client.get(f"{address}/heatmaps").content, np.uint8), -1)
    assert png.shape[2] == 4
    best = image["group"]["detections"]
    strongest = int(np.argmax(best["scores"]))
    to_cell = np.linalg.inv(np.array([*image["to_image"], [0, 0, 1]]))
    x, y, _ = np.rint(to_cell @ [*best["xy"][strongest], 1]).astype(int)
    assert png[y, x, 3] > 150  # opaque at the best peak
    assert np.median(png[..., 3]) < 30
    assert client.get(f"{address}/tags?channel=33").status_code == 200
    assert client.get(f"{address}/tags?channel=34").status_code == 400
    assert client.get(f"{address}/offsets").status_code == 400


def test_old_images_make_room(make_client, photo):
    client = make_client(images=2)
    images = [opened(client, photo) for _ in range(3)]
    answer = regrouped(client, images[0])
    assert answer.status_code == 410
    assert "upload it again" in answer.json()["error"]
    assert regrouped(client, images[2]).status_code == 200
    tight = make_client(maps_mb=0.01)
    assert tight.post("/api/images", content=photo).status_code == 413


def test_an_empty_picture_is_no_error(client):
    blank = io.BytesIO()
    Image.fromarray(np.full((90, 120, 3), 128, np.uint8)).save(blank, "PNG")
    image = opened(client, blank.getvalue())
    assert image["group"]["result"]["instances"] == []
    assert regrouped(client, image, peak_threshold=0).status_code == 200


def test_settings_that_are_not_json_are_refused(client, photo):
    address = f"/api/images/{opened(client, photo)['id']}/group"
    assert client.post(address, content=b"{").status_code == 400
    assert client.post(address, content=b"[]").status_code == 400
    assert client.post(address, content=b'{"settings": 3}').status_code == 400
    assert client.post(address, content=b" " * 100_000).status_code == 413


def test_labels_are_compared(make_client, store, tmp_path):
    """The labels of a set are its own poses: every instance is found."""
    write_scenes(tmp_path, "val", 2, seed=3)
    labels = json.loads((tmp_path / "val.json").read_text())
    names = list(store.load("robots").predictor.task.skeleton.keypoints)
    labels["categories"][0] |= {"keypoints": names[:4], "skeleton": []}
    (tmp_path / "val.json").write_text(json.dumps(labels))
    task = store.load("robots").predictor.task
    labelled = LabelledSet(tmp_path / "val.json", tmp_path / "val", "robots", task)
    client = make_client(labelled)
    assert client.get("/api/info").json()["labelled"] == ["0000.png", "0001.png"]
    image = client.post("/api/labelled/1?weights=robots").json()
    counts = image["group"]["compared"]
    assert counts["measure"] == "OKS"
    assert counts["found"] + counts["missed"] == len(image["truth"]["keypoints"]) > 0
    assert client.get("/api/labelled/1/picture").headers["content-type"] == "image/jpeg"
    assert client.post("/api/labelled/7").status_code == 400
    # The same photo, uploaded, is recognised by its name; one of another name is not.
    content = (tmp_path / "val" / "0001.png").read_bytes()
    uploaded = client.post("/api/images?weights=robots&name=0001.png", content=content).json()
    assert uploaded["truth"] == image["truth"]
    other = client.post("/api/images?weights=robots&name=x.png", content=content).json()
    assert other["truth"] is None


def test_many_components_are_projected_on_their_principal_axes():
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(40, 2)) * (5, 2)
    turned = plane @ np.linalg.qr(generator.normal(size=(6, 6)))[0][:2]
    points, names = projected(turned)
    assert names[0].startswith("principal axis 1")
    between = np.linalg.norm(turned[:, None] - turned[None], axis=2)
    assert np.allclose(np.linalg.norm(points[:, None] - points[None], axis=2), between)
    assert projected(turned[:, :1])[1] == ["tag"]
    assert projected(turned[:0])[0].shape == (0, 2)
