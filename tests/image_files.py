"""A small image, its files, and comparisons with it."""

import numpy as np

HEIGHT, WIDTH = 24, 40


def ramp(dtype, low, high):
    """(HEIGHT, WIDTH) from the lowest to the highest value."""
    return np.linspace(low, high, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(dtype)


def close(image, expected, within=12):
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < within


def saved(tmp_path, picture, suffix, **options):
    path = tmp_path / f"a.{suffix}"
    picture.save(path, **options)
    return path
