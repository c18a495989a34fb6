"""`POST /predict` and its neighbours: the same JSON as the library, and status codes."""

import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

import tagwise


def expected(weights, photo, name=None, threshold=None):
    """The JSON of the library, as `.predictions.json` has it."""
    plain = tagwise.Predictor(weights, device="cpu", threshold=threshold)(photo).to_dict()
    plain["image"]["file"] = name
    return json.loads(json.dumps(plain))


@pytest.mark.parametrize("weights", ["people", "blood", "nuclei"])
def test_predict_answers_like_the_library(client, photo, weights):
    answer = client.post(f"/predict?weights={weights}&name=a.jpg", content=photo)
    assert answer.status_code == 200
    assert answer.json()["instances"]
    assert answer.json() == expected(weights, photo, "a.jpg")


def test_predict_takes_forms_and_a_threshold(client, photo):
    scores = [found["score"] for found in expected("people", photo, threshold=0)["instances"]]
    limit = (scores[0] + scores[-1]) / 2
    image = {"image": ("b.jpg", photo, "image/jpeg")}
    answer = client.post(f"/predict?threshold={limit}", files=image)
    assert answer.json() == expected("people", photo, "b.jpg", threshold=limit)
    assert 0 < len(answer.json()["instances"]) < len(scores)


@pytest.mark.parametrize(
    ("address", "content", "status", "words"),
    [
        ("/predict", b"not an image", 415, "known formats"),
        ("/predict", b"", 400, "no image"),
        ("/predict?weights=peeple", b"x", 400, "did you mean 'people'"),
        ("/predict?weights=../../etc/passwd", b"x", 400, "unknown weights"),
        ("/predict?threshold=2", b"x", 400, "from 0 to 1"),
        ("/predict?threshold=nan", b"x", 400, "from 0 to 1"),
        ("/nothing", b"", 404, "Not Found"),
    ],
)
def test_bad_requests_get_one_clear_line(client, address, content, status, words):
    answer = client.post(address, content=content)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_broken_image_is_refused(client, photo):
    answer = client.post("/predict", content=photo[: len(photo) // 2])
    assert answer.status_code == 415


def test_oversize_files_and_images_are_refused(make_client, photo):
    client = make_client(upload_mb=0.01, megapixels=0.05)
    assert client.post("/predict", content=bytes(3 << 20)).status_code == 413
    assert client.post("/predict", content=photo).status_code == 413
    chunks = (bytes(1 << 20) for _ in range(4))  # without a stated length
    assert client.post("/predict", content=chunks).status_code == 413
    wide = io.BytesIO()
    Image.fromarray(np.zeros((300, 300), np.uint8)).save(wide, "PNG")
    answer = client.post("/predict", content=wide.getvalue())
    assert (answer.status_code, "megapixels" in answer.json()["error"]) == (413, True)


def test_a_full_queue_is_refused_and_recovers(make_client, photo, monkeypatch):
    client = make_client(queue=2, batch_size=1)
    engine, gate = client.app.state.parts.engine, threading.Event()
    work = engine._predict_here
    monkeypatch.setattr(engine, "_predict_here", lambda jobs: (gate.wait(30), work(jobs))[1])
    answers = []

    def ask():
        answers.append(client.post("/predict", content=photo))

    threads = [threading.Thread(target=ask) for _ in range(64)]
    for thread in threads:
        thread.start()
    for _ in range(1000):
        if len(answers) >= 61:
            break
        threads[0].join(0.02)
    gate.set()
    for thread in threads:
        thread.join()
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == 3  # one in the network, two in the queue
    assert codes.count(503) == 61
    assert all(a.headers["retry-after"] == "1" for a in answers if a.status_code == 503)
    assert client.post("/predict", content=photo).status_code == 200
    assert client.app.state.parts.uploads.held == 0


def test_what_waits_is_predicted_in_one_batch(make_client, photo, monkeypatch):
    client = make_client(batch_size=4)
    engine, gate = client.app.state.parts.engine, threading.Event()
    work, sizes = engine._predict_here, []

    def slow(jobs):
        sizes.append(len(jobs))
        gate.wait(30)
        return work(jobs)

    monkeypatch.setattr(engine, "_predict_here", slow)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/predict", content=photo)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for _ in range(500):
        if engine.waiting + sum(sizes) == 6:
            break
        threads[0].join(0.02)
    gate.set()
    for thread in threads:
        thread.join()
    assert sum(sizes) == 6
    assert max(sizes) == 4
    want = expected("people", photo)
    assert all(answer.json()["instances"] == want["instances"] for answer in answers)


def test_health_metrics_models_and_openapi(client, photo):
    assert client.get("/health").json()["status"] == "ok"
    client.post("/predict", content=photo)
    text = client.get("/metrics").text
    assert 'tagwise_requests_total{path="/predict",status="200"} 1' in text
    assert "tagwise_images_total 1" in text
    assert 'tagwise_request_seconds_bucket{path="/predict",le="+Inf"} 1' in text
    assert client.get("/models").json()["default"] == "people"
    document = client.get("/openapi.json").json()
    routes = {getattr(route, "path", "") for route in client.app.routes}
    assert set(document["paths"]) <= routes
    assert "multipart/form-data" in document["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_every_answer_has_security_headers(client):
    for address in ("/health", "/nothing"):
        headers = client.get(address).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_other_hosts_and_origins_are_refused(client):
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/health", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/health", headers={"origin": "http://localhost:8000"}).status_code == 200


def test_a_token_is_needed_when_there_is_one(make_client, photo):
    client = make_client(token="secret", host="0.0.0.0")
    assert client.get("/health").status_code == 200
    assert client.get("/models").status_code == 401
    assert client.get("/models?token=wrong").status_code == 401
    assert client.get("/models", headers={"authorization": "Bearer secret"}).status_code == 200
    page = client.get("/?token=secret", follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/")
    assert "HttpOnly" in page.headers["set-cookie"]
    assert client.get("/models").status_code == 200  # by the cookie


def test_a_failure_of_the_server_is_one_line(make_client, photo, monkeypatch):
    client = make_client()

    def fail(jobs):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(client.app.state.parts.engine, "_predict_here", fail)
    answer = client.post("/predict", content=photo)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers
