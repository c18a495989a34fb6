"""The limit on the size of images."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from image_files import HEIGHT, WIDTH, saved
from tagwise.data import pixels
from tagwise.data.images import read_image
from tagwise.errors import UserError


def header_of_png(width, height):
    whole = io.BytesIO()
    Image.new("L", (8, 8)).save(whole, "PNG")
    data = bytearray(whole.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = (zlib.crc32(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_size_limit_is_enforced(tmp_path, photo, monkeypatch):
    with pytest.raises(UserError, match=r"has 20000 × 10000 pixels, 200 megapixels, more than 100"):
        read_image(header_of_png(20_000, 10_000))
    with pytest.raises(UserError, match="claims 9000 × 9000 pixels in 69 bytes"):
        read_image(header_of_png(9000, 9000))
    with pytest.raises(UserError, match="a side of 2000000 pixels"):
        read_image(header_of_png(2_000_000, 2))
    monkeypatch.setenv("TAGWISE_MAX_MEGAPIXELS", "0.0005")
    path = saved(tmp_path, Image.fromarray(photo), "jpg")
    for source in (path, path.read_bytes(), Image.fromarray(photo)):
        with pytest.raises(UserError, match=r"more than 0\.0005; .*TAGWISE_MAX_MEGAPIXELS=NUMBER"):
            read_image(source)
    assert read_image(path, 2).shape == (
        HEIGHT // 2,
        WIDTH // 2,
        3,
    )  # a JPEG is never decoded whole
    with pytest.raises(UserError, match="more than"):
        read_image(saved(tmp_path, Image.fromarray(photo), "png"), 2)
    monkeypatch.setenv("TAGWISE_MAX_MEGAPIXELS", "1000")
    assert read_image(path).shape == photo.shape


@pytest.mark.parametrize("text", ["many", "0", "-3", "nan", "inf"])
def test_invalid_size_limit_is_refused(monkeypatch, photo, text):
    monkeypatch.setenv("TAGWISE_MAX_MEGAPIXELS", text)
    with pytest.raises(UserError, match=f"TAGWISE_MAX_MEGAPIXELS is {text!r}; use a number"):
        read_image(Image.fromarray(photo))


def test_image_converted_in_strips_is_complete(tmp_path, monkeypatch):
    """Pixels are converted a few rows at a time."""
    monkeypatch.setattr(pixels, "_STRIP", 64)
    noise = np.random.default_rng(0).integers(0, 256, (37, 29, 4), np.uint8)
    grey = noise[..., 0].astype(np.uint16) * 257
    alpha = noise[..., 3:] / 255
    expected = noise[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_image(noise) - expected).max() <= 1
    for source in (grey, Image.fromarray(grey)):
        np.testing.assert_array_equal(read_image(source)[..., 1], noise[..., 0])
    path = saved(tmp_path, Image.fromarray(noise[..., :3]), "png")
    np.testing.assert_array_equal(read_image(path), noise[..., :3])
