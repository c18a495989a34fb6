import io
import warnings
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tagwise.data import pixels
from tagwise.data.images import is_image, read_image, shrink
from tagwise.errors import UserError

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def photo():
    """A smooth colour image whose four corners differ, so that every rotation changes it."""
    corners = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [240, 240, 40]]], np.uint8)
    return cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch):
    """Forget which warnings were issued, so that each test gets them."""
    monkeypatch.setattr(pixels, "_warned", set())


def ramp(dtype, low, high):
    """(HEIGHT, WIDTH) from the lowest to the highest value."""
    return np.linspace(low, high, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(dtype)


def close(image, expected, within=12):
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < within


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_common_formats_are_read(tmp_path, photo, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(photo).save(path)
    close(read_image(path), photo)
    close(read_image(str(path)), photo)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, photo, suffix, orientation):
    """Transpose the stored pixels with Pillow so that the upright image is `photo`."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose for each orientation
    stored = Image.fromarray(photo)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif)
    close(read_image(path), photo)
    if suffix != "tif":  # Pillow always applies the orientation of a TIFF
        close(read_image(path, upright=False), np.asarray(stored))
    close(read_image(path, reduce=2), shrink(photo, 2))


def test_grey_images_become_rgb(tmp_path, photo):
    grey = Image.fromarray(photo).convert("L")
    for suffix in ("png", "jpg"):
        grey.save(tmp_path / f"a.{suffix}")
        close(read_image(tmp_path / f"a.{suffix}"), np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_images_are_scaled_to_8_bits(tmp_path, suffix):
    grey = ramp(np.uint16, 0, 65535)
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), grey)
    image = read_image(path)
    assert (image[..., 0] == image[..., 2]).all()
    assert np.abs(image[..., 0].astype(float) - grey / 257.0).max() <= 1


def test_16_bit_images_keep_their_brightness(tmp_path):
    """A dim image stays dim, because the range is that of the dtype and not of the values."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((HEIGHT, WIDTH), 257 * 40, np.uint16))
    with pytest.warns(UserWarning, match="is only 10280 of 65535"):
        assert (read_image(tmp_path / "a.png") == 40).all()


def test_16_bit_colours_keep_their_high_bits(tmp_path, photo):
    cv2.imwrite(str(tmp_path / "a.png"), photo[..., ::-1].astype(np.uint16) * 257)
    close(read_image(tmp_path / "a.png"), photo, within=1)


def test_floating_point_images_are_scaled_from_0_to_1(tmp_path):
    grey = ramp(np.float32, 0, 1)
    Image.fromarray(grey).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif")[..., 1] - grey * 255).max() <= 1


def test_bilevel_images_become_black_and_white(tmp_path, photo):
    bits = Image.fromarray(photo).convert("1")
    bits.save(tmp_path / "a.png")
    assert set(np.unique(read_image(tmp_path / "a.png"))) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_areas_become_white(tmp_path, photo, mode):
    picture = Image.fromarray(photo).convert(mode)
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:, : WIDTH // 2] == 255).all()
    expected = np.asarray(Image.fromarray(photo).convert(mode).convert("RGB"))
    np.testing.assert_array_equal(image[:, WIDTH // 2 :], expected[:, WIDTH // 2 :])


def test_palette_images_are_read_with_and_without_transparency(tmp_path, photo):
    picture = Image.fromarray(photo).quantize(16)
    picture.save(tmp_path / "a.png")
    close(read_image(tmp_path / "a.png"), np.asarray(picture.convert("RGB")), within=1)
    hole = int(np.asarray(picture)[0, 0])
    picture.save(tmp_path / "b.png", transparency=hole)
    assert (read_image(tmp_path / "b.png")[np.asarray(picture) == hole] == 255).all()
    picture.save(tmp_path / "a.gif")
    close(read_image(tmp_path / "a.gif"), np.asarray(picture.convert("RGB")), within=2)


def test_cmyk_images_become_rgb(tmp_path, photo):
    picture = Image.fromarray(photo).convert("CMYK")
    for suffix in ("jpg", "tif"):
        picture.save(tmp_path / f"a.{suffix}")
        close(read_image(tmp_path / f"a.{suffix}"), photo)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduced_decoding_keeps_positions(tmp_path, photo, suffix, factor):
    """The sides of the image are not multiples of the factor."""
    odd = np.ascontiguousarray(photo[:-1, :-3])
    Image.fromarray(odd).save(tmp_path / f"a.{suffix}", quality=98)
    image = read_image(tmp_path / f"a.{suffix}", reduce=factor)
    assert image.shape[:2] == (-(-odd.shape[0] // factor), -(-odd.shape[1] // factor))
    close(image, shrink(odd, factor), within=6)


def test_shrink_averages_blocks():
    image = np.arange(12, dtype=np.uint8).reshape(2, 6) * 10
    np.testing.assert_array_equal(shrink(image, 2), [[35, 55, 75]])


def test_image_of_one_pixel_is_read(tmp_path):
    Image.new("RGB", (1, 1), (7, 8, 9)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[7, 8, 9]]])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"half.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=f"half.{suffix}"):
        read_image(path)


def test_trailing_bytes_after_a_jpeg_are_ignored(tmp_path, photo):
    path = tmp_path / "a.jpg"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes() + b"data of the camera maker")
    close(read_image(path), photo)


def test_files_that_are_not_images_are_refused(tmp_path):
    (tmp_path / "note.jpg").write_text("this is not an image")
    for path in (tmp_path / "note.jpg", tmp_path / "absent.jpg", tmp_path):
        with pytest.raises(UserError, match=path.name):
            read_image(path)


def test_invalid_reduction_is_refused(tmp_path):
    with pytest.raises(ValueError, match="1, 2, 4 or 8"):
        read_image(tmp_path / "a.png", reduce=3)


# ---------------------------------------------------------------------- files and memory


def saved(tmp_path, picture, suffix, **options):
    path = tmp_path / f"a.{suffix}"
    picture.save(path, **options)
    return path


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


# ---------------------------------------------------------------------- warnings


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


# ---------------------------------------------------------------------- size limits


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
