"""Synthetic pages of text for `text_lines.py`, and the characters of any page.

A page has parallel lines, straight or bent like the page of an open book, or curved lines that
cross each other as on a map or a stamp.
"""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy.sparse.csgraph import connected_components

from tagwise.plot.style import instance_colour, show_image

SIZE, PATCH, MOST = 320, 16, 256
LETTERS = "eeeeeeetttttaaaaaooooiiiinnnnsssshhhrrrddlluuccmmwffgyppbvkETASIOWHB.,"


class Pages(NamedTuple):
    """Characters of pages, padded to MOST; padding has word and line -1."""

    place: torch.Tensor  # (S, P, 2) float32, x and y of the centre in text heights
    box: torch.Tensor  # (S, P, 2) float32, width and height in text heights
    patch: torch.Tensor  # (S, P, PATCH ** 2) float32, ink in [0, 1] around the centre
    word: torch.Tensor  # (S, P) int64
    line: torch.Tensor  # (S, P) int64


def fonts() -> list[str]:
    """The files of DejaVu and STIX that matplotlib brings along, so that every machine has them."""
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [*own.glob("DejaVuS*.ttf"), *own.glob("STIXGeneral*.ttf")]
    return sorted(str(file) for file in files if "Display" not in file.name)


def draw_page(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A page (SIZE, SIZE) uint8, black on white, and the glyph of each pixel, -1 for none.

    The third value is the word and the line of each glyph (G, 2).
    """
    ink, glyph = np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), -1)
    names, crossing = [], rng.random() < 0.5
    angle, bend, phase = rng.normal(0, 0.1), rng.uniform(0, 0.15), rng.uniform(0, 6.3)
    em, face = int(rng.integers(11, 23)), str(rng.choice(fonts()))
    gap = rng.uniform(1.15, 1.8) * em
    lines = int(rng.integers(4, 8)) if crossing else int(SIZE / gap)
    for line in range(lines):
        start = np.array([rng.uniform(-0.2, 0.5) * em, (line + 1) * gap])
        if crossing:
            em, face = int(rng.integers(11, 23)), str(rng.choice(fonts()))
            angle, bend, phase = rng.uniform(-1.2, 1.2), rng.uniform(0, 0.5), rng.uniform(0, 6.3)
            middle = rng.uniform(0.15, 0.85, 2) * SIZE
            start = middle - 0.4 * SIZE * np.array([np.cos(angle), np.sin(angle)])
        font, along, word = ImageFont.truetype(face, em), 0.0, len(names)
        limit, space = rng.uniform(0.5, 1.0) * SIZE, rng.uniform(0.25, 0.45) * em
        left = rng.integers(1, 9)
        while along < limit:
            letter = LETTERS[rng.integers(len(LETTERS))]
            heading = angle + bend * np.sin(6.3 * along / SIZE + phase)
            step = np.array([np.cos(heading), np.sin(heading)])
            width = font.getlength(letter)
            stamp(ink, glyph, letter, font, em, start + step * width / 2, heading, len(names))
            names.append((word, line))
            left -= 1
            advance = width + (space if left == 0 else 0)
            if left == 0:
                word, left = len(names), rng.integers(1, 9)
            start, along = start + step * advance, along + advance
    return 255 - ink, glyph, np.array(names)


def stamp(ink, glyph, letter, font, em, place, heading, number) -> None:
    """Draw a letter whose baseline has its middle at `place`, turned by `heading`."""
    tile = Image.new("L", (3 * em, 3 * em))
    ImageDraw.Draw(tile).text((1.5 * em, 1.5 * em), letter, 255, font, anchor="ms")
    tile = np.asarray(tile.rotate(-np.rad2deg(heading), Image.Resampling.BICUBIC))
    x, y = np.round(place - 1.5 * em).astype(int)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + 3 * em, SIZE), min(y + 3 * em, SIZE)
    if x0 < x1 and y0 < y1:
        part = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        ink[y0:y1, x0:x1] = np.maximum(ink[y0:y1, x0:x1], part)
        glyph[y0:y1, x0:x1][part > 100] = number


class Characters(NamedTuple):
    """What `Pages` holds of one page (P, ...), and the character of each pixel, 0 for none."""

    place: np.ndarray
    box: np.ndarray
    patch: np.ndarray
    labels: np.ndarray  # (H, W) int64, p + 1 for character p


def characters(page: np.ndarray) -> Characters:
    """The connected dark parts of a page (H, W) uint8, which may be lit unevenly."""
    block = 2 * (max(page.shape) // 16) + 1
    dark = cv2.adaptiveThreshold(
        page, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, 25
    )
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
    keep = (stats[:, 4] >= 4) & (stats[:, 2:4].max(axis=1) < max(page.shape) / 4)
    stats, labels = stats[keep], np.where(keep, np.cumsum(keep), 0)[labels]
    middle, box = stats[:, :2] + (stats[:, 2:4] - 1) / 2, stats[:, 2:4]
    height = float(np.median(box.max(axis=1)))
    ink, side = cv2.GaussianBlur(dark, (3, 3), 0) / np.float32(255), (int(3 * height),) * 2
    patches = [
        cv2.resize(cv2.getRectSubPix(ink, side, xy), (PATCH, PATCH), interpolation=cv2.INTER_AREA)
        for xy in middle.tolist()
    ]
    return Characters(
        middle / height, box / height, np.array(patches).reshape(-1, PATCH**2), labels
    )


def make_pages(count: int, seed: int) -> Pages:
    """Random pages, each with its first MOST characters from the top."""
    rows = []
    for n in range(count):
        page, glyph, names = draw_page(np.random.default_rng([seed, n]))
        found = characters(page)
        owner = np.zeros((len(found.place) + 1, len(names) + 1), int)
        np.add.at(owner, (found.labels, glyph), 1)
        owner = owner[1:, :-1].argmax(axis=1)
        rows.append((*found[:3], *names[owner].T))
    return stacked(rows)


def stacked(rows: list[tuple]) -> Pages:
    """Pages from the fields of each, padded with zeros, and with -1 for words and lines."""
    most = min(max(len(row[0]) for row in rows), MOST)
    fields = [np.zeros((len(rows), most, *value.shape[1:]), np.float32) for value in rows[0][:3]]
    fields += [np.full((len(rows), most), -1) for _ in range(2)]
    for n, row in enumerate(rows):
        for field, value in zip(fields, row):
            field[n, : len(value)] = value[:most]
    return Pages(*map(torch.from_numpy, fields))


def by_gap(pages: Pages, limit: float, flat: float) -> np.ndarray:
    """Groups (S, P) connected by gaps below a limit; vertical ones count `flat` times."""
    groups = np.full(pages.word.shape, -1)
    for own, place, box, word in zip(groups, *(pages[n].numpy() for n in (0, 1, 3))):
        n = (word >= 0).sum()
        gap = abs(place[:n, None] - place[:n]) - (box[:n, None] + box[:n]) / 2
        gap = np.linalg.norm(gap.clip(0) * [1, flat], axis=2)
        own[:n] = connected_components(gap < limit)[1]
    return groups


def scan(file: Path | None) -> np.ndarray | None:
    """A scanned page as grey values (H, W): the file, or the page of scikit-image if installed."""
    if file is None:
        return importlib.import_module("skimage.data").page() if find_spec("skimage") else None
    page = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if page is None:
        raise SystemExit(f"{file}: not a readable image; give --page a PNG, JPEG or TIFF file")
    return page


def save_picture(methods: dict[str, Callable], file: Path | None, out: Path, seed=(1, 3)) -> None:
    """Draw the lines of a synthetic page, and the words and lines of a scan, by methods."""
    page, glyph, names = draw_page(np.random.default_rng(seed))
    truth = in_colours(glyph + 1, names[:, 1])
    rows, real = [(page, truth, 1, "lines")], scan(file)
    if real is not None:
        grey = np.repeat(real[..., None], 3, axis=2)
        rows += [(real, grey, 0, "words"), (real, grey, 1, "lines")]
    heights = [image.shape[0] / image.shape[1] for image, *_ in rows]
    figure = Figure(figsize=(11, 0.5 + 3.7 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(rows), len(methods) + 1, squeeze=False, height_ratios=heights)
    for line, (image, first, which, what) in zip(axes, rows):
        show_image(line[0], first, f"{what}, truth" if image is page else "scanned page")
        found = characters(image)
        none = np.zeros(len(found.place), int)
        for axis, (name, method) in zip(line[1:], methods.items()):
            group = method(stacked([(*found[:3], none, none)]))[which][0]
            show_image(axis, in_colours(found.labels, group), f"{what} by {name}")
    figure.savefig(out, dpi=90)


def in_colours(labels: np.ndarray, group: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) of numbered characters (H, W), 0 for none; groups (P,) have colours.

    Characters after the first P stay white, and some of the P may have no pixel.
    """
    colours = np.full((max(labels.max(), len(group)) + 1, 3), 255, np.uint8)
    colours[1 : len(group) + 1] = [np.array(instance_colour(g)) * 0.85 for g in group]
    return colours[labels]
