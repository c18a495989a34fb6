"""Decoding with simplejpeg; the oracle is Pillow, which decodes what simplejpeg cannot."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tagwise.data import jpeg
from tagwise.data.images import read_image
from tagwise.data.pictures import opened
from tagwise.errors import UserError


def encoded(picture, **options):
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def noise(width, height, mode="RGB"):
    """Colours that change from pixel to pixel, on a smooth ramp."""
    rng = np.random.default_rng(width * height)
    ramp = np.add.outer(np.arange(height), np.arange(width))[:, :, None] % 200
    values = ramp + rng.integers(0, 56, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8)).convert(mode)


def decoded(data):
    """What `decode_jpeg` returns for the bytes of a file."""
    with opened(data) as picture:
        return jpeg.decode_jpeg(picture)


def with_pillow(monkeypatch, data, **options):
    """The image, or the error message, of `read_image` without simplejpeg."""
    with monkeypatch.context() as patch:
        patch.setattr("tagwise.data.images.decode_jpeg", lambda picture: None)
        return read(data, **options)


def read(data, **options):
    try:
        return read_image(data, **options)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(96, 64), (101, 35), (1, 1), (7, 90)])
def test_pixels_are_those_of_pillow(monkeypatch, mode, progressive, subsampling, size):
    options = {"progressive": progressive, "subsampling": subsampling, "quality": 80}
    data = encoded(noise(*size, mode), **options)
    assert decoded(data) is not None
    for reduce in (1, 2, 4, 8):
        expected = with_pillow(monkeypatch, data, reduce=reduce)
        np.testing.assert_array_equal(read_image(data, reduce=reduce), expected)


def test_files_that_store_rgb_are_read(monkeypatch):
    """Adobe's marker says that the colours are not converted to YCbCr."""
    data = encoded(noise(40, 30), keep_rgb=True)
    assert decoded(data) is not None
    np.testing.assert_array_equal(read_image(data), with_pillow(monkeypatch, data))


def test_pillow_decodes_colours_of_print_and_other_formats():
    assert decoded(encoded(noise(40, 30, "CMYK"))) is None
    file = io.BytesIO()
    noise(40, 30).save(file, "PNG")
    assert decoded(file.getvalue()) is None


def test_damaged_files_give_what_pillow_makes_of_them(monkeypatch, capfd):
    rng, refused, repaired = np.random.default_rng(0), 0, 0
    whole = encoded(noise(120, 90), quality=85)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(2, len(data), 3):
            data[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            del data[rng.integers(2, len(data)) :]
        image, expected = read(bytes(data)), with_pillow(monkeypatch, bytes(data))
        refused += isinstance(expected, str)
        repaired += not isinstance(expected, str)
        np.testing.assert_array_equal(image, expected)
    assert refused > 30
    assert repaired > 30
    assert capfd.readouterr() == ("", "")


def test_a_file_of_very_many_scans_is_left_to_pillow():
    """Each scan of a progressive file takes as long as an image, and may be a few bytes long."""
    data = encoded(noise(64, 64), progressive=True)
    assert decoded(data) is not None
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decoded(data[:-2] + scan * 200 + data[-2:]) is None


def test_many_scans_of_single_channels_are_left_to_pillow():
    """A file that is not progressive may have a scan for each channel, and repeat them."""
    data = encoded(noise(64, 64))
    start = data.rindex(b"\xff\xda")
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[start + 14 : -2]
    assert decoded(data[:start] + scan * 200 + data[-2:]) is None


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_no_scan_is_accepted_after_one_of_all_channels(monkeypatch, mode):
    data = encoded(noise(64, 64, mode))
    scan, counted = data[data.rindex(b"\xff\xda") : -2], []
    longer = data[:-2] + scan * 200 + data[-2:]
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "_count_scans", lambda data: counted.append(1) or 1)
        error = read(longer)
    assert not counted
    assert "broken data stream" in error
    assert error == with_pillow(monkeypatch, longer)


def test_a_file_much_longer_than_an_image_is_left_to_pillow(tmp_path, monkeypatch):
    data = encoded(noise(64, 64))
    path = tmp_path / "long.jpg"
    with path.open("wb") as file:
        file.write(data)
        file.truncate(1 << 30)
    with opened(path) as picture:
        assert jpeg.decode_jpeg(picture) is None
    np.testing.assert_array_equal(read_image(path), read_image(data))


def test_the_frame_of_the_header_is_the_one_that_is_decoded(monkeypatch):
    """A second frame header with another size must not decide how much memory is used."""
    data = encoded(noise(64, 64))
    at = data.index(b"\xff\xc0")
    length = struct.unpack(">H", data[at + 2 : at + 4])[0]
    frame = bytearray(data[at : at + 2 + length])
    frame[5:9] = struct.pack(">HH", 9000, 9000)
    twice = data[:at] + bytes(frame) + data[at:]
    assert decoded(twice) is None
    np.testing.assert_array_equal(read(twice), with_pillow(monkeypatch, twice))
