"""Synthetic clips of figures that meet and occlude each other, with the identity of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagwise.data.regions import Size


@dataclass(frozen=True, eq=False)
class Clip:
    """N figures in T frames.

    images: (T, H, W, 3) uint8, RGB.
    boxes: (T, N, 4) float32, x, y, width, height of the whole figure, visible or not.
    visible: (T, N) float32, the visible fraction of each figure.
    owner: (T, H, W) int16, the index of the figure visible at each pixel, -1 for none.
    """

    images: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    owner: np.ndarray


def synthetic_clip(
    seed: int, frames: int = 40, size: Size = (128, 64), pairs: int = 2, pillars: float = 0.5
) -> Clip:
    """Generate a clip of pairs of figures that approach, meet, and pass each other or turn back.

    seed: the same seed and arguments give the same clip. frames: the number of frames, T.
    size: (width, height) in pixels. pairs: the number of pairs of figures; N is twice as large.
    pillars: the probability that a pair meets behind a pillar, which hides both for a while.

    Where two figures meet, one hides the other. Each pair then passes or turns back with equal
    probability. Only the appearance of the figures, two colours each, shows which happened.

    >>> clip = synthetic_clip(0)
    >>> clip.images.shape, clip.boxes.shape
    ((40, 64, 128, 3), (40, 4, 4))
    """
    rng = np.random.default_rng(seed)
    width, height = size
    sides = np.stack([rng.uniform(9, 12, 2 * pairs), rng.uniform(20, 26, 2 * pairs)], 1)
    paths, meetings = zip(*(_meeting(rng, frames, size, (n + 0.5) / pairs) for n in range(pairs)))
    centres = np.concatenate(paths, 1)  # (T, N, 2)
    background = np.full((height, width, 3), rng.uniform(60, 190, 3))
    background += rng.normal(0, 12, (height, width, 1))
    colours = rng.uniform(20, 235, (2 * pairs, 2, 3))
    order = rng.permutation(2 * pairs)
    pillar_xs = [x for x in meetings if rng.random() < pillars]
    images, visible, owners = [], [], []
    for t in range(frames):
        image, owner = _frame(background, centres[t], sides, colours, order)
        for x in pillar_xs:
            columns = slice(max(0, int(x - 9)), int(x + 9))
            image[:, columns], owner[:, columns] = 90, -1
        lit = rng.uniform(0.85, 1.15) * image + rng.normal(0, 6, image.shape)
        images.append(np.clip(lit, 0, 255).astype(np.uint8))
        owners.append(owner)
        pixels = np.bincount(owner.ravel() + 1, minlength=2 * pairs + 1)[1:]
        visible.append(pixels / np.maximum(_areas(centres[t], sides, size), 1))
    boxes = np.concatenate([centres - sides / 2, np.broadcast_to(sides, centres.shape)], 2)
    return Clip(
        np.stack(images),
        boxes.astype(np.float32),
        np.minimum(np.stack(visible), 1).astype(np.float32),
        np.stack(owners),
    )


def _meeting(
    rng: np.random.Generator, frames: int, size: Size, position: float
) -> tuple[np.ndarray, float]:
    """Return the centres (T, 2, 2) of two figures and the x at which they meet.

    They meet around the middle of the clip, near the fraction `position` of the width.
    """
    width, height = size
    x = (position + rng.uniform(-0.1, 0.1)) * width
    y = rng.uniform(0.3, 0.7) * height + rng.uniform(-2, 2, 2)
    time = np.arange(frames) - rng.uniform(0.4, 0.6) * frames
    speed = rng.uniform(0.4, 0.7) * width / frames
    time = np.abs(time) if rng.random() < 0.5 else -time  # turn back, or pass
    path = np.stack([x - speed * time, x + speed * time], 1)
    path = np.clip(path, 6, width - 6)
    sway = rng.normal(0, 0.4, (frames, 2))
    return np.stack([path, np.broadcast_to(y, path.shape) + sway], 2), float(x)


def _frame(background, centres, sides, colours, order):
    """Draw the figures in the given order; return the image and the owner of each pixel."""
    image, owner = background.copy(), np.full(background.shape[:2], -1, np.int16)
    for n in order:
        rows, columns = _pixels(centres[n], sides[n], background.shape)
        owner[rows, columns] = n
        image[rows, columns] = colours[n, 1]
        image[rows.start : (rows.start + rows.stop) // 2, columns] = colours[n, 0]
    return image, owner


def _pixels(centre, side, shape) -> tuple[slice, slice]:
    low = np.clip(np.rint(centre - side / 2), 0, shape[1::-1]).astype(int)
    high = np.clip(np.rint(centre + side / 2), 0, shape[1::-1]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _areas(centres, sides, size) -> np.ndarray:
    parts = (_pixels(c, s, size[::-1]) for c, s in zip(centres, sides))
    return np.array([(r.stop - r.start) * (c.stop - c.start) for r, c in parts])
