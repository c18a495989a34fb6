"""Files, bytes, streams, Pillow images and arrays as sources of an image."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import HEIGHT, WIDTH, ramp, saved
from tagwise.data.images import is_image, read_image
from tagwise.errors import UserError


def of_mode(photo, mode):
    """The photo as a Pillow image of a mode, with transparent parts if the mode allows it."""
    if mode == "I;16":
        return Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(photo[..., 0].astype(np.int32) * 200)
    if mode == "F":
        return Image.fromarray(photo[..., 0].astype(np.float32) / 255)
    if mode == "P with transparency":
        picture = Image.fromarray(photo).quantize(16)
        picture.info["transparency"] = int(np.asarray(picture)[0, 0])
        return picture
    picture = Image.fromarray(photo).convert(mode)
    if "A" in picture.getbands():
        picture.putalpha(Image.fromarray(photo[..., 1]))
    return picture


FILES = [
    ("RGB", "jpg"),
    ("RGB", "png"),
    ("RGB", "webp"),
    ("RGB", "bmp"),
    ("RGB", "tif"),
    ("RGB", "jp2"),
    ("RGB", "ppm"),
    ("L", "jpg"),
    ("L", "png"),
    ("1", "png"),
    ("P", "gif"),
    ("P", "png"),
    ("P with transparency", "png"),
    ("P with transparency", "gif"),
    ("RGBA", "png"),
    ("RGBA", "webp"),
    ("RGBA", "tif"),
    ("LA", "png"),
    ("CMYK", "jpg"),
    ("CMYK", "tif"),
    ("I;16", "png"),
    ("I;16", "tif"),
    ("I", "tif"),
    ("F", "tif"),
]


@pytest.mark.parametrize(("mode", "suffix"), FILES)
def test_all_sources_of_one_image_give_the_same_pixels(tmp_path, photo, mode, suffix):
    path = saved(tmp_path, of_mode(photo, mode), suffix)
    expected = read_image(path)
    data = path.read_bytes()
    with path.open("rb") as file, Image.open(path) as picture, Image.open(path) as loaded:
        file.read(7)
        loaded.load()
        sources = (data, bytearray(data), memoryview(data), io.BytesIO(data), file, picture, loaded)
        for source in sources:
            assert is_image(source)
            np.testing.assert_array_equal(read_image(source), expected)
        assert not file.closed
        if picture.mode in ("RGB", "L", "1", "RGBA", "I;16", "I", "F"):
            np.testing.assert_array_equal(read_image(np.asarray(picture)), expected)


def test_stream_that_cannot_seek_is_read(tmp_path, photo):
    class Once(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    data = saved(tmp_path, Image.fromarray(photo), "png").read_bytes()
    np.testing.assert_array_equal(read_image(Once(data)), photo)


def test_pillow_image_keeps_its_frame_and_size(tmp_path, photo):
    frames = [Image.fromarray(photo // n) for n in (1, 2)]
    path = saved(tmp_path, frames[0], "tif", save_all=True, append_images=frames[1:])
    with Image.open(path) as picture, warnings.catch_warnings(action="error"):
        picture.seek(1)
        np.testing.assert_array_equal(read_image(picture), photo // 2)
    with Image.open(saved(tmp_path, frames[0], "jpg")) as picture:
        read_image(picture, 2)
        assert picture.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (ramp(np.uint8, 0, 255), ramp(np.uint8, 0, 255)),
        (ramp(np.uint8, 0, 255)[..., None], ramp(np.uint8, 0, 255)),
        (ramp(np.uint16, 0, 65535), ramp(float, 0, 255)),
        (ramp(">u2", 0, 65535), ramp(float, 0, 255)),
        (ramp(np.int64, 0, 65535), ramp(float, 0, 255)),
        (ramp(np.uint32, 0, 2**32 - 1), ramp(float, 0, 255)),
        (ramp(np.int16, -500, 500), ramp(float, 0, 255)),
        (ramp(np.float32, 0, 1), ramp(float, 0, 255)),
        (ramp(np.float64, -3, 7), ramp(float, 0, 255)),
        (ramp(float, 0, 2) >= 1, 255 * (ramp(float, 0, 2) >= 1)),
    ],
    ids=lambda array: f"{array.dtype}-{array.ndim}",
)
@pytest.mark.filterwarnings("ignore:.*not a known range")
def test_grey_arrays_become_rgb(array, expected):
    image = read_image(array)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image - expected[..., None].astype(float)).max() <= 1.01


def test_colour_arrays_become_rgb(photo):
    for array in (photo, photo.astype(np.uint16) * 257, photo / 255, (photo / 255).astype("f4")):
        np.testing.assert_array_equal(read_image(array), photo)
    assert np.shares_memory(read_image(photo), photo)
    turned = read_image(photo[::-1, :, ::-1])
    np.testing.assert_array_equal(turned, photo[::-1, :, ::-1])
    assert turned.flags.c_contiguous
    alpha = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    white = np.full_like(photo, 255)
    np.testing.assert_array_equal(read_image(np.concatenate([photo, alpha], 2)), white)
    np.testing.assert_array_equal(read_image(np.concatenate([photo, alpha + 255], 2)), photo)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), "several images as a list"),
        (np.zeros((3, 24, 40), np.uint8), r"array\.transpose\(1, 2, 0\)"),
        (np.zeros((24, 40, 2), np.uint8), "give grey, RGB or RGBA"),
        (np.zeros((0, 4, 3), np.uint8), "rows of pixels"),
        (np.zeros(4, np.uint8), "rows of pixels"),
        (np.zeros((4, 4, 3)) + 200, "floats from 0 to 1"),
        (np.zeros((4, 4, 3), np.int64), "colours as uint8"),
        (np.zeros((4, 4), complex), "give numbers"),
        (np.full((4, 4), None), "give numbers"),
        (torch.zeros(3, 4, 4), r"not a torch tensor; give tensor\.permute\(1, 2, 0\)"),
        (42, "not a int"),
        (None, "not a NoneType"),
        (io.StringIO("a"), "open it with 'rb'"),
        (b"", r"image of 0 bytes in memory is empty"),
        (b"not an image", r"image of 12 bytes in memory is a text file; known formats: JPEG"),
        (io.BytesIO(b"<html>"), "image in memory is an HTML page"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_sources_that_are_not_images_are_refused(source, words):
    with pytest.raises(UserError, match=words):
        read_image(source)


def test_pillow_image_that_cannot_be_decoded_is_named(tmp_path, photo):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "jpg")
    path.write_bytes(path.read_bytes()[:9000])
    with Image.open(path) as picture, pytest.raises(UserError, match=r"a\.jpg .*truncated"):
        read_image(picture)
    with Image.open(saved(tmp_path, Image.fromarray(photo), "png")) as picture:
        pass
    with pytest.raises(UserError, match=r"a\.png .*is it closed, cut off"):
        read_image(picture)
