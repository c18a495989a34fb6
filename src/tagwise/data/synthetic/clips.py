"""Made-up clips of figures that meet and hide each other, with the identity of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tagwise.data.regions import Size


@dataclass(frozen=True, eq=False)
class Clip:
    """N figures through T frames.

    images: (T, H, W, 3) uint8 RGB.
    boxes: (T, N, 4) float32 x, y, width, height, the whole figure whether seen or not.
    shown: (T, N) float32, the share of each figure that is seen.
    owner: (T, H, W) int16, the figure that each pixel shows, -1 for none.
    """

    images: np.ndarray
    boxes: np.ndarray
    shown: np.ndarray
    owner: np.ndarray


def synthetic_clip(
    seed: int, frames: int = 40, size: Size = (128, 64), pairs: int = 2, pillars: float = 0.5
) -> Clip:
    """A clip of pairs of figures that walk up to each other, meet, and pass or turn back.

    seed: the clip depends on it alone. size: (width, height) in pixels. pairs: of figures.
    pillars: how often a pair meets behind a pillar, where both are hidden for a while.

    Where they meet, one hides the other. Half the pairs then go on and half turn back, and nothing
    but their looks, two colours each, says which.

    >>> clip = synthetic_clip(0)
    >>> clip.images.shape, clip.boxes.shape
    ((40, 64, 128, 3), (40, 4, 4))
    """
    rng = np.random.default_rng(seed)
    width, height = size
    sides = np.stack([rng.uniform(9, 12, 2 * pairs), rng.uniform(20, 26, 2 * pairs)], 1)
    ways, places = zip(*(_meeting(rng, frames, size, (n + 0.5) / pairs) for n in range(pairs)))
    centres = np.concatenate(ways, 1)  # (T, N, 2)
    ground = np.full((height, width, 3), rng.uniform(60, 190, 3))
    ground += rng.normal(0, 12, (height, width, 1))
    colours = rng.uniform(20, 235, (2 * pairs, 2, 3))
    order = rng.permutation(2 * pairs)
    posts = [x for x in places if rng.random() < pillars]
    images, shown, owners = [], [], []
    for t in range(frames):
        image, owner = _frame(ground, centres[t], sides, colours, order)
        for x in posts:
            post = slice(max(0, int(x - 9)), int(x + 9))
            image[:, post], owner[:, post] = 90, -1
        light = rng.uniform(0.85, 1.15) * image + rng.normal(0, 6, image.shape)
        images.append(np.clip(light, 0, 255).astype(np.uint8))
        owners.append(owner)
        seen = np.bincount(owner.ravel() + 1, minlength=2 * pairs + 1)[1:]
        shown.append(seen / np.maximum(_area(centres[t], sides, size), 1))
    boxes = np.concatenate([centres - sides / 2, np.broadcast_to(sides, centres.shape)], 2)
    return Clip(
        np.stack(images),
        boxes.astype(np.float32),
        np.minimum(np.stack(shown), 1).astype(np.float32),
        np.stack(owners),
    )


def _meeting(
    rng: np.random.Generator, frames: int, size: Size, about: float
) -> tuple[np.ndarray, float]:
    """Centres (T, 2, 2) of two figures that meet halfway through, and the x where they do."""
    width, height = size
    x = (about + rng.uniform(-0.1, 0.1)) * width
    y = rng.uniform(0.3, 0.7) * height + rng.uniform(-2, 2, 2)
    time = np.arange(frames) - rng.uniform(0.4, 0.6) * frames
    speed = rng.uniform(0.4, 0.7) * width / frames
    time = np.abs(time) if rng.random() < 0.5 else -time  # turn back, or go on
    way = np.stack([x - speed * time, x + speed * time], 1)
    way = np.clip(way, 6, width - 6)
    sway = rng.normal(0, 0.4, (frames, 2))
    return np.stack([way, np.broadcast_to(y, way.shape) + sway], 2), float(x)


def _frame(ground, centres, sides, colours, order):
    """Picture and owner of each pixel, with figures drawn in that order."""
    image, owner = ground.copy(), np.full(ground.shape[:2], -1, np.int16)
    for n in order:
        rows, columns = _pixels(centres[n], sides[n], ground.shape)
        owner[rows, columns] = n
        image[rows, columns] = colours[n, 1]
        image[rows.start : (rows.start + rows.stop) // 2, columns] = colours[n, 0]
    return image, owner


def _pixels(centre, side, shape) -> tuple[slice, slice]:
    low = np.clip(np.rint(centre - side / 2), 0, shape[1::-1]).astype(int)
    high = np.clip(np.rint(centre + side / 2), 0, shape[1::-1]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _area(centres, sides, size) -> np.ndarray:
    parts = (_pixels(c, s, size[::-1]) for c, s in zip(centres, sides))
    return np.array([(r.stop - r.start) * (c.stop - c.start) for r, c in parts])
