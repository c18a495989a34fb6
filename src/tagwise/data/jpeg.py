"""Decoding of JPEG files with simplejpeg, which needs less than half of the time that Pillow does.

Both use libjpeg-turbo with the same settings, so the pixels are equal. Pillow decodes first to four
bytes per pixel, then copies three of them.
"""

from __future__ import annotations

import numpy as np
import simplejpeg
from PIL import Image

from tagwise.data.pictures import content_of

_SCAN = b"\xff\xda"  # the marker in front of a scan, then two bytes of length, one of channels
_SCANS = 100  # A progressive file has about ten. Each takes time, even if it is a few bytes long.


def decode_jpeg(picture: Image.Image) -> np.ndarray | None:
    """Decode an opened JPEG image, at the size that `picture.draft` chose.

    picture: of `pictures.opened`.
    Returns (H, W, 3) uint8, RGB; None for an image that Pillow must decode: one in another format,
    in the colours of print (CMYK), or damaged, which simplejpeg reports for less than Pillow does.
    """
    if picture.format != "JPEG" or picture.mode not in ("RGB", "L"):
        return None
    header = picture.fp.tell()  # Pillow has read up to the pixels of the first scan
    data = content_of(picture)
    if data is None or (not _has_one_scan(picture, data, header) and _count_scans(data) > _SCANS):
        return None
    width, height = picture.size
    try:
        image = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return image if image.shape == (height, width, 3) else None


def _has_one_scan(picture: Image.Image, data: bytes, header: int) -> bool:
    """Whether the first scan has all channels whole: a decoder accepts no other after it.

    header: the number of bytes up to the end of the header of the first scan.
    """
    start = data.rfind(_SCAN, 0, header)
    return (
        start >= 0
        and "progressive" not in picture.info
        and data[start + 4 : start + 5] == bytes([len(picture.getbands())])
    )


def _count_scans(data: bytes) -> int:
    """The number of markers that start a scan; numpy counts them faster than `bytes.count`."""
    values = np.frombuffer(data, np.uint8)
    return np.count_nonzero((values[:-1] == _SCAN[0]) & (values[1:] == _SCAN[1]))
