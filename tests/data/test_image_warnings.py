"""Warnings about images that are dim, that have several frames, or whose values are unusual."""

import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from image_files import close, ramp, saved
from tagwise.data import pixels
from tagwise.data.images import read_image


def read_with_warnings(source):
    """The image, and the messages of the warnings that tagwise issues."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(source)
    return image, [str(each.message) for each in caught if "tagwise" in each.filename]


def test_images_that_use_a_small_part_of_their_range_are_stretched_on_request(
    tmp_path, photo, monkeypatch
):
    """10-bit values in a 16-bit file give one warning, and are stretched on request."""
    dim = photo[..., 0].astype(np.uint16) * 4
    dim[0, 0] = 1020
    path = saved(tmp_path, Image.fromarray(dim), "tif")
    for source in (path, dim, Image.fromarray(dim)):
        pixels._warned.clear()
        image, messages = read_with_warnings(source)
        assert image.max() == 4
        assert len(messages) == 1
        assert "is only 1020 of 65535" in messages[0]
        assert "TAGWISE_STRETCH_GREY=1" in messages[0]
        assert read_with_warnings(source)[1] == []
    monkeypatch.setenv("TAGWISE_STRETCH_GREY", "1")
    for source in (path, dim, dim / 65535.0, dim - 700.0):
        image, messages = read_with_warnings(source)
        assert messages == []
        assert image.min() == 0
        assert image.max() == 255
        expected = (photo[..., 0] - photo[..., 0].min()) * (255 / np.ptp(photo[..., 0]))
        assert np.abs(image[..., 0] - expected).mean() < 6
    monkeypatch.setenv("TAGWISE_STRETCH_GREY", "0")
    assert read_with_warnings(path)[0].max() == 4


def test_hot_pixel_does_not_darken_a_stretched_image(monkeypatch):
    grey = np.random.default_rng(0).integers(100, 1000, (100, 100)).astype(np.uint16)
    grey[3, 4] = 65535
    monkeypatch.setenv("TAGWISE_STRETCH_GREY", "1")
    assert 120 < read_image(grey).mean() < 135


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_dim_16_bit_colours_give_a_warning(tmp_path, photo, suffix):
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), photo.astype(np.uint16) * 4)
    image, (message,) = read_with_warnings(tmp_path / f"a.{suffix}")
    assert image.max() <= 4
    assert "of 65535, so it is nearly black" in message
    pixels._warned.clear()
    assert "nearly black" in read_with_warnings(photo.astype(np.uint16) * 4)[1][0]


def test_dark_8_bit_photos_and_black_images_give_no_warning(photo):
    for source in (photo // 60, np.zeros((4, 4), np.uint16), np.zeros((4, 4, 3), np.uint16)):
        assert read_with_warnings(source)[1] == []


def test_values_outside_known_ranges_give_a_warning(tmp_path):
    for source in (ramp(np.float32, 0, 255), ramp(np.int32, -5, 70000)):
        pixels._warned.clear()
        for each in (source, saved(tmp_path, Image.fromarray(source), "tif")):
            pixels._warned.clear()
            image, (message,) = read_with_warnings(each)
            assert (image.min(), image.max()) == (0, 255)
            assert "the lowest is black and the highest is white" in message


def test_values_that_are_not_finite_become_black():
    grey = ramp(np.float32, 0, 1)
    grey[0, :3] = np.nan, np.inf, -np.inf
    image = read_image(grey)
    assert (image[0, :3] == 0).all()
    assert image[-1, -1, 0] == 255


@pytest.mark.parametrize(
    ("suffix", "word"), [("gif", "frames"), ("tif", "pages"), ("webp", "frames"), ("png", "frames")]
)
def test_file_with_several_frames_gives_a_warning(tmp_path, photo, suffix, word):
    frames = [Image.fromarray(photo // n) for n in (1, 2, 3)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, frames[0], suffix, save_all=True, append_images=frames[1:], **options)
    image, (message,) = read_with_warnings(path)
    close(image, photo)
    assert f"a.{suffix} has several {word}: only the first" in message
    assert read_with_warnings(path)[1] == []
    pixels._warned.clear()
    single = saved(tmp_path, frames[0], suffix)
    assert read_with_warnings(single)[1] == []


def test_photo_with_damaged_exif_data_is_read(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(photo), "jpg", exif=exif, quality=98)
    data = path.read_bytes()
    where = data.index(b"Exif\0\0") + 6
    for note in (b"\xff" * 20, b"II*\0" + b"\xff" * 16, b"MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 10):
        path.write_bytes(data[:where] + note + data[where + 20 :])
        image, messages = read_with_warnings(path)
        close(image, photo)
        assert messages == []
