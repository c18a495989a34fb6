"""Image formats: the same pixels from each, and refusal of what is not an image."""

import cv2
import numpy as np
import pytest
from PIL import Image

from image_files import HEIGHT, WIDTH, close, ramp
from tagwise.data.images import read_image, shrink
from tagwise.errors import UserError


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
