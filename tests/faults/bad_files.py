"""Read bad image files: decompression bombs, and files with random damage.

    python tests/faults/bad_files.py --count 2000

Each file is read in a separate process. A file that is not read must be refused with a UserError,
within a second and 600 MiB, with no output; no process may die.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from image_bombs import bombs, encoded
from measured import Measured, measured, print_outcomes
from PIL import Image

from tagwise.data.images import read_image

SECONDS, MIB = 1.0, 600


def sound_files() -> dict[str, bytes]:
    """A small image in every format, most with detail that damage can hit."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (12, 16, 3), np.uint8)
    photo = Image.fromarray(rough).resize((120, 90), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(photo)[..., 0].astype(np.uint16) * 257)
    files = {
        "JPEG": encoded(photo, "JPEG"),
        "progressive JPEG": encoded(photo, "JPEG", progressive=True),
        "PNG": encoded(photo, "PNG"),
        "palette PNG": encoded(photo.quantize(), "PNG"),
        "16-bit PNG": encoded(deep, "PNG"),
        "animated PNG": encoded(photo, "PNG", save_all=True, append_images=[photo.rotate(9)]),
        "GIF": encoded(photo.quantize(), "GIF", save_all=True, append_images=[photo.rotate(9)]),
        "BMP": encoded(photo, "BMP"),
        "WebP": encoded(photo, "WEBP"),
        "lossless WebP": encoded(photo, "WEBP", lossless=True),
        "JPEG 2000": encoded(photo, "JPEG2000"),
        "PPM": encoded(photo, "PPM"),
        "16-bit TIFF": encoded(deep, "TIFF"),
        "bilevel TIFF": encoded(photo.convert("1"), "TIFF", compression="group4"),
    }
    if ".avif" in Image.registered_extensions():
        files["AVIF"] = encoded(photo, "AVIF")
    for way in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"):
        files[f"TIFF, {way}"] = encoded(photo, "TIFF", compression=way)
    return files


def damaged(data: bytes, rng: np.random.Generator) -> tuple[bytes, int]:
    """A file with random damage, and the length to which it is filled with zeros (0: none)."""
    changed = bytearray(data)
    front = min(len(data), 200)
    way = rng.integers(5)
    if way < 3:  # change bytes, anywhere or in the header
        end = front if way else len(data)
        for index in rng.integers(2, end, rng.integers(1, 5)):
            changed[index] = rng.integers(256)
        return bytes(changed), 0
    cut = int(rng.integers(1, len(data)))
    if way == 3:  # cut off, and sometimes filled with zeros, as after a full disk
        return bytes(changed[:cut]), int(rng.choice([0, len(data), 4 << 30]))
    length = int(rng.integers(1, 40))  # a part is missing or repeated
    part = changed[cut : cut + length]
    return bytes(changed[:cut] + part * int(rng.choice([0, 2])) + changed[cut + length :]), 0


def read_measured(data: bytes, path: Path, length: int = 0) -> Measured:
    """Write a file with this content, read it, and measure that."""
    with path.open("wb") as file:
        file.write(data)
        file.truncate(max(length, len(data)))
    return measured(lambda: read_image(path))


def fault_of(found: Measured) -> str | None:
    """Why an outcome is not acceptable; None if it is."""
    if found.outcome not in ("read", "refused"):
        return f"{found.outcome}: {found.text}"
    if found.output:
        return f"printed {found.output[:100]!r}"
    if found.outcome == "refused" and (found.seconds > SECONDS or found.mib > MIB):
        return f"took {found.seconds:.1f} s and {found.mib:.0f} MiB"
    return None


def bomb_outcomes(path: Path) -> Iterator[tuple[str, Measured]]:
    """The outcome of every bomb."""
    for name, data in bombs():
        found = read_measured(data, path)
        if found.outcome == "read":
            found = found._replace(outcome="raised", text="a bomb was read")
        yield f"bomb: {name}", found


def damage_outcomes(count: int, seed: int, path: Path) -> Iterator[tuple[str, Measured]]:
    """The outcomes of `count` damaged files."""
    rng = np.random.default_rng(seed)
    files = list(sound_files().items())
    for number in range(count):
        name, data = files[number % len(files)]
        content, length = damaged(data, rng)
        yield f"damaged: {name}", read_measured(content, path, length)


def main() -> int:
    """Print the number of files per outcome, and the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="number of damaged files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="tagwise")  # warnings about intact files
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        damage = damage_outcomes(options.count, options.seed, path)
        return print_outcomes(
            (kind, found, fault_of(found)) for kind, found in chain(bomb_outcomes(path), damage)
        )


if __name__ == "__main__":
    sys.exit(main())
