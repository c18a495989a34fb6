"""Decompression bombs: small image files whose headers or streams claim a huge size."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

GIANT, LARGE, NEAR = 65_500, 12_000, 9_990
"""Sides in pixels: beyond any limit, 144 megapixels, and a little below 100 megapixels."""


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    """Encode an image as a file of the format `form`."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


SMALL = Image.linear_gradient("L").resize((64, 64)).convert("RGB")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file, with its check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deflated(zeros: int) -> bytes:
    """Deflate `zeros` zero bytes, to about a thousandth of the size."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.compress(bytes(zeros & 0xFFFFF)), packer.flush()])


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG of 8-bit RGB; data: its deflated rows. extra: chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", data or zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + header + extra + rows + chunk(b"IEND", b"")


def jpeg(width: int, height: int, **options: object) -> bytes:
    """A JPEG whose frame header is changed."""
    data = bytearray(encoded(SMALL, "JPEG", **options))
    index = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[index + 5 : index + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif(width: int, height: int, frame: tuple[int, int] | None = None) -> bytes:
    """A GIF whose screen size, and frame size, are changed."""
    data = bytearray(encoded(SMALL.convert("P"), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    if frame:
        index = data.find(b",")
        data[index + 5 : index + 9] = struct.pack("<HH", *frame)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    """A BMP whose header is changed."""
    data = bytearray(encoded(SMALL, "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp(side: int) -> bytes:
    """A lossy WebP whose frame header is changed."""
    data = bytearray(encoded(SMALL, "WEBP"))
    index = data.find(b"\x9d\x01\x2a") + 3
    data[index : index + 4] = struct.pack("<HH", side, side)
    return bytes(data)


def webp_lossless(side: int) -> bytes:
    """A lossless WebP whose header is changed."""
    data = bytearray(encoded(SMALL, "WEBP", lossless=True))
    index = data.find(b"VP8L") + 9
    bits = int.from_bytes(data[index : index + 4], "little") >> 28 << 28
    data[index : index + 4] = (bits | side - 1 | side - 1 << 14).to_bytes(4, "little")
    return bytes(data)


def webp_extended(side: int) -> bytes:
    """A WebP with a large canvas around a small image."""
    body = encoded(SMALL, "WEBP")[12:]
    sides = (side - 1).to_bytes(3, "little") * 2
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(body)) + b"WEBP" + canvas + body


def avif(side: int) -> bytes:
    """An AVIF whose spatial extents are changed."""
    data = bytearray(encoded(SMALL, "AVIF"))
    index = data.find(b"ispe") + 8
    data[index : index + 8] = struct.pack(">II", side, side)
    return bytes(data)


def jpeg_2000(side: int) -> bytes:
    """A JPEG 2000 whose headers are changed."""
    data = bytearray(encoded(SMALL, "JPEG2000"))
    index = data.find(b"ihdr") + 4
    data[index : index + 8] = struct.pack(">II", side, side)
    index = data.find(b"\xff\x51") + 6
    for start in (index, index + 16):
        data[start : start + 8] = struct.pack(">II", side, side)
    return bytes(data)


def tiff(
    width: int,
    height: int,
    data: bytes = zlib.compress(bytes(1000)),
    tile: tuple[int, int] | None = None,
    extra: tuple[tuple[int, int, int], ...] = (),
    samples: int = 3,
) -> bytes:
    """A deflated TIFF of 8-bit RGB in one strip, or in tiles of a size."""
    offset, counted = -1, -2
    tags = [(256, 4, width), (257, 4, height), (258, 3, offset), (259, 3, 8), (262, 3, 2)]
    tags += [(277, 3, samples), *extra]
    if tile:
        tags += [(322, 4, tile[0]), (323, 4, tile[1]), (324, 4, counted), (325, 4, len(data))]
    else:
        tags += [(273, 4, counted), (278, 4, height), (279, 4, len(data))]
    behind = 8 + 2 + 12 * len(tags) + 4
    file = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, kind, value in sorted(tags):
        count = 3 if tag == 258 else 1
        value = {offset: behind, counted: behind + 6}.get(value, value)
        file += struct.pack("<HHII", tag, kind, count, value)
    return file + struct.pack("<IHHH", 0, 8, 8, 8) + data


def bombs() -> Iterator[tuple[str, bytes]]:
    """Files by name. None of them contains a usable image, and all must be refused."""
    for side in (GIANT, LARGE, NEAR):
        yield f"PNG of {side}", png(side, side)
        yield f"JPEG of {side}", jpeg(side, side)
        yield f"progressive JPEG of {side}", jpeg(side, side, progressive=True)
        yield f"GIF of {side}", gif(side, side)
        yield f"GIF with a frame of {side}", gif(64, 64, (side, side))
        yield f"BMP of {side}", bmp(side, side)
        yield f"WebP of {min(side, 16383)}", webp(min(side, 16383))
        yield f"lossless WebP of {min(side, 16383)}", webp_lossless(min(side, 16383))
        yield f"WebP with a canvas of {side}", webp_extended(side)
        yield f"JPEG 2000 of {side}", jpeg_2000(side)
        yield f"TIFF of {side}", tiff(side, side)
        tile = side - side % 16
        yield f"TIFF with tiles of {side}", tiff(64, 64, tile=(tile, tile))
        yield f"PPM of {side}", b"P6 %d %d 255\n" % (side, side)
        yield f"PGM of 16 bits of {side}", b"P5 %d %d 65535\n" % (side, side)
        yield f"PPM in text of {side}", b"P3 %d %d 255\n1 2 3" % (side, side)
        if ".avif" in Image.registered_extensions():
            yield f"AVIF of {side}", avif(side)
    yield "PNG of 2^31", png(2**31 - 1, 2**31 - 1)
    yield "BMP of 2^31", bmp(2**31 - 1, 2**31 - 1)
    yield "BMP upside down", bmp(40_000, -40_000)
    yield "TIFF of one column", tiff(1, 99_000_000)
    yield "TIFF of one row", tiff(99_000_000, 1)
    giga = deflated(1 << 30)
    yield "PNG with a text of 1 GiB", png(64, 64, extra=chunk(b"zTXt", b"a\0\0" + giga))
    yield "PNG with a profile of 1 GiB", png(64, 64, extra=chunk(b"iCCP", b"a\0\0" + giga))
    yield "TIFF with a tile of 300 MB", tiff(64, 64, deflated(9984**2 * 3), (9984, 9984))
    yield "TIFF with 65,535 samples", tiff(64, 64, extra=((338, 3, 65535),))
    yield "TIFF with 2,048 samples a pixel", tiff(64, 64, samples=2048)
