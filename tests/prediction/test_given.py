"""Images from tensors, addresses and standard input."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from servers import serving
from spots import PINS, SpotNetwork, draw_pins
from tagwise.commands.predict import predict
from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.prediction import given

PHOTO = draw_pins(PINS, (128, 96))


def encoded(image=PHOTO):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def found(sources):
    """The sorted keypoints of each image."""
    return [np.sort(poses.keypoints, axis=0) for poses in predict(sources, SpotNetwork())]


def test_tensors_give_the_results_of_their_arrays():
    whole = torch.from_numpy(PHOTO.copy()).permute(2, 0, 1)
    expected = found(PHOTO)[0]
    assert len(expected) == 2
    for tensor in (
        whole,
        whole / 255,
        (whole / 255).half(),
        whole[None],
        whole.requires_grad_(False),
    ):
        np.testing.assert_allclose(found(tensor)[0], expected, atol=0.02)
    batch = torch.stack([whole, whole.flip(2)])
    assert len(found(batch)) == 2
    np.testing.assert_array_equal(given.images_of_tensor(batch)[1], PHOTO[:, ::-1])
    assert len(found([PHOTO, batch, encoded()])) == 4


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (torch.zeros(8, 8), r"\(3, H, W\) or \(B, 3, H, W\), not \(8, 8\)"),
        (torch.zeros(8, 8, 3), r"permute\(2, 0, 1\)"),
        (torch.full((3, 8, 8), 200.0), "outside of 0 to 1"),
        (torch.full((3, 8, 8), float("nan")), "outside of 0 to 1"),
        (torch.zeros((3, 8, 8), dtype=torch.int64), "uint8 or floats, not torch.int64"),
    ],
)
def test_other_tensors_are_refused_before_the_work(tensor, told):
    with pytest.raises(UserError, match=told):
        predict(tensor, SpotNetwork())


def test_an_address_is_fetched_and_named():
    with serving(encoded()) as server:
        address = f"{server.address}/album/two%20pins.png?big=1"
        results = predict([address], SpotNetwork())
        assert (len(results), results[0].file) == (1, address)
        assert len(results[0]) == 2
        assert results[0].plot().size == (128, 96)
    assert len(server.requests) == 1


def test_files_of_an_address_have_the_name_of_its_file(tmp_path):
    with serving(encoded()) as server:
        address = f"{server.address}/album/two%20pins.png"
        predict(address, SpotNetwork(), out=tmp_path).finish()
    assert (tmp_path / "two_pins-000000.predictions.json").is_file()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": 404}, "the server answered 404"),
        ({"content": b"<html>"}, "is .*HTML"),
        ({"content": b"x" * 5000}, "more than 0 MB"),
        ({"cut": 100}, "cannot fetch .*photo.png"),
    ],
)
def test_faults_of_addresses_are_one_line_and_the_next_image_is_read(
    monkeypatch, capsys, changes, told
):
    monkeypatch.setattr(given, "_MOST_BYTES", 4000)
    with serving(encoded()) as server:
        for name, value in changes.items():
            setattr(server, name, value)
        results = predict([f"{server.address}/photo.png", PHOTO], SpotNetwork())
        assert len(results) == 1
    with pytest.raises(UserError, match=told):
        raise results.failed[0]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_server_that_stops_answering_is_given_up(monkeypatch):
    monkeypatch.setattr(given, "_LONGEST", -1.0)
    with serving(encoded()) as server, pytest.raises(UserError, match="did not arrive"):
        read_image(given.RemoteImage(f"{server.address}/photo.png"))


def test_offline_fetches_nothing(monkeypatch):
    monkeypatch.setenv("TAGWISE_OFFLINE", "1")
    with serving(encoded()) as server, pytest.raises(UserError, match="forbids the network"):
        read_image(given.RemoteImage(f"{server.address}/photo.png"))
    assert server.requests == []


def test_no_server_is_a_clear_error():
    with pytest.raises(UserError, match=r"cannot fetch http://127.0.0.1:9/a.png .*; check it"):
        read_image(given.RemoteImage("http://127.0.0.1:9/a.png"))


def test_addresses_of_other_kinds_are_refused():
    with pytest.raises(UserError, match="address of ftp; give an http or https address"):
        predict("ftp://example.org/a.png", SpotNetwork())


class Piped(io.TextIOWrapper):
    """A standard input with this content."""


def test_standard_input_is_one_image(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(io.BytesIO(encoded())))
    results = predict("-", SpotNetwork())
    assert [len(poses) for poses in results] == [2]


def test_an_empty_standard_input_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(io.BytesIO(b"")))
    results = predict("-", SpotNetwork())
    assert len(results) == 0
    assert "from standard input is empty" in str(results.failed[0])
