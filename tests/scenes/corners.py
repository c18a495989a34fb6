"""Corner maps of overlapping boxes, and the share of boxes that are decoded correctly."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class CornerScene:
    """maps: as decode_corners takes them, (1, C, S, S) and so on; heatmaps in [0, 1].

    boxes: (N, 4) x1, y1, x2, y2 in cells. classes: (N,).
    """

    maps: dict[str, torch.Tensor]
    boxes: np.ndarray
    classes: np.ndarray


def draw_boxes(rng, count, classes, size):
    """Boxes (N, 4) and classes (N,), no two of a class with a corner in one square of 2 cells.

    What is judged is who belongs together, not which of two peaks in one place survives.
    """
    boxes, labels, taken = [], [], set()
    while len(boxes) < count:
        sides = rng.uniform(4, 0.4 * size, 2)
        low = rng.uniform(1, size - 2 - sides)
        box, label = np.concatenate([low, low + sides]), int(rng.integers(classes))
        places = {("tl", label, *(low // 2)), ("br", label, *((low + sides) // 2))}
        if not places & taken:
            taken |= places
            boxes.append(box)
            labels.append(label)
    return np.reshape(boxes, (-1, 4)), np.array(labels, int)


def corner_scene(seed, count, classes=1, dim=1, size=96, crowded=False, scatter=0.1, clutter=20):
    """Boxes, and their corner maps as a network would predict them.

    crowded: tags are anything from 0 to 10, so that many are alike; else they are 1 apart.
    scatter: standard deviation of a corner's tag. clutter: faint corners of nothing in each map.
    """
    rng = np.random.default_rng(seed)
    boxes, labels = draw_boxes(rng, count, classes, size)
    own = rng.uniform(0, 10, (count, dim)) if crowded else rng.permutation(count)[:, None]
    line, maps = np.arange(size), {}
    for corner, places in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        heat = rng.uniform(0, 0.004, (classes, size, size))
        tag = rng.uniform(-2, max(count, 10) + 2, (dim, size, size))
        offset = np.zeros((2, size, size))
        for label, place, value in zip(labels, places, own):
            x, y = place.astype(int)
            across, down = np.exp(-((line - x) ** 2) / 2), np.exp(-((line - y) ** 2) / 2)
            spot = rng.uniform(0.55, 0.95) * np.outer(down, across)
            heat[label] = np.maximum(heat[label], spot)
            tag[:, y, x] = value + scatter * rng.normal(size=dim)
            offset[:, y, x] = place - (x, y)
        for _ in range(clutter):
            label, y, x = rng.integers(0, heat.shape)
            heat[label, y, x] = max(heat[label, y, x], rng.uniform(0.05, 0.35))
        maps |= {f"{corner}_heat": heat, f"{corner}_tag": tag, f"{corner}_off": offset}
    maps = {name: torch.from_numpy(m.astype(np.float32))[None] for name, m in maps.items()}
    return CornerScene(maps, boxes, labels)


def f1(scene, boxes, scores, classes):
    """F1 of the boxes with a score above .5; right is an intersection over union above .75."""
    order = np.argsort(-scores)
    order = order[scores[order] > 0.5]
    free, right = np.ones(len(scene.boxes), bool), 0
    for box, label in zip(boxes[order], classes[order]):
        low, high = np.maximum(box[:2], scene.boxes[:, :2]), np.minimum(box[2:], scene.boxes[:, 2:])
        shared = np.clip(high - low, 0, None).prod(1)
        area = (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
        overlap = shared / (area - shared) * (free & (scene.classes == label))
        if overlap.max(initial=0) > 0.75:
            free[overlap.argmax()] = False
            right += 1
    return 2 * right / max(len(order) + len(scene.boxes), 1)
