"""The model `nuclei` compared with Otsu's threshold and a watershed, on the same images.

    pip install scikit-image
    OMP_NUM_THREADS=1 python benchmarks/nuclei.py DATA/nuclei

DATA/nuclei holds train/ and val/, each with images/ and labels/. The classical pipeline is the
usual one: convert to grey, invert where nuclei are dark, smooth, apply Otsu's threshold, fill
holes, smooth the distance to the background, and use its peaks as markers of a watershed.
Smoothing, distance of peaks and smallest area are chosen for each type of image (fluorescence or
stained) by F1 on some of the training images. Figures are pooled over the nuclei of a type. Times
are CPU milliseconds per image, from the image in memory to the label map.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from _bench import arguments, report
from scipy import ndimage

from tagwise.data import LabelMaps, read_image
from tagwise.metrics import label_map_counts, pooled_figures
from tagwise.prediction.predictor import Predictor

CHOICES = {"smooth": (1.0, 2.0), "distance": (3, 5, 8), "least": (16, 40)}
EVERY = 6  # every 6th training image is used to choose settings
Images = list[tuple[np.ndarray, np.ndarray]]  # image, true label map


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="nuclei")
    options = parser.parse_args()
    if find_spec("skimage") is None:
        parser.error("this needs scikit-image: pip install scikit-image")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    train, val = (
        by_type(options.data / part, step) for part, step in (("train", EVERY), ("val", 1))
    )
    predictor = Predictor(options.weights, threshold=0.0)
    predictor(val["fluorescence"][0][0])  # compiles and warms up
    rows, totals = [], {}
    for subset, images in val.items():
        chosen = best_choice(train[subset])
        methods = {
            "Otsu + watershed": lambda image, chosen=chosen: classical(image, **chosen),
            options.weights: lambda image: predictor(image).labels,
        }
        for name, method in methods.items():
            counts, cpu = scored(method, images)
            before = totals.get(name, (0, 0.0, 0))
            totals[name] = (before[0] + counts, before[1] + cpu, before[2] + len(images))
            rows.append(row(subset, name, counts, cpu, len(images)))
            rows[-1]["chosen"] = str(chosen) if name != options.weights else None
    rows += [row("all", name, *total) for name, total in totals.items()]
    report("nuclei", rows)


def by_type(folder: Path, every: int) -> dict[str, Images]:
    """Every Nth image of a part of the set, by type: fluorescence (dark) or stained (bright)."""
    data = LabelMaps(folder / "images", folder / "labels")
    types: dict[str, Images] = {"fluorescence": [], "stained": []}
    for index in range(0, len(data), every):
        image = read_image(data.path(index))
        name = "stained" if is_bright(image) else "fluorescence"
        types[name].append((image, data.label_map(index)))
    return types


def is_bright(image: np.ndarray) -> bool:
    return float(np.median(image)) > 110


def classical(image: np.ndarray, smooth: float, distance: int, least: int) -> np.ndarray:
    """A label map (H, W) by Otsu's threshold and a watershed of the distance to the background."""
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.segmentation import watershed

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = 255 - grey if is_bright(image) else grey
    grey = cv2.GaussianBlur(grey, (0, 0), smooth)
    inside = ndimage.binary_fill_holes(grey > threshold_otsu(grey))
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    depth = cv2.GaussianBlur(depth, (0, 0), smooth)
    places = peak_local_max(depth, min_distance=distance, labels=inside, exclude_border=False)
    markers = np.zeros(inside.shape, np.int32)
    markers[tuple(places.T)] = np.arange(1, len(places) + 1)
    labels = watershed(-depth, markers, mask=inside)
    return np.where(np.bincount(labels.ravel())[labels] >= least, labels, 0)


def best_choice(images: Images) -> dict[str, float]:
    """The settings of `classical` with the highest F1 at IoU .5."""
    choices = [dict(zip(CHOICES, values)) for values in itertools.product(*CHOICES.values())]

    def f1(choice: dict[str, float]) -> float:
        counts, _ = scored(lambda image: classical(image, **choice), images)
        return pooled_figures(counts)["F1@.5"]

    return max(choices, key=f1)


def scored(method: Callable[[np.ndarray], np.ndarray], images: Images) -> tuple[np.ndarray, float]:
    """Counts of found, wrong and missed nuclei at each IoU, and CPU seconds of all images."""
    counts, seconds = 0, 0.0
    for image, truth in images:
        start = time.process_time()
        found = method(image)
        seconds += time.process_time() - start
        counts = counts + label_map_counts(found, truth)
    return counts, seconds


def row(subset: str, name: str, counts: np.ndarray, seconds: float, images: int) -> dict:
    figures = {key: round(100 * value, 1) for key, value in pooled_figures(counts).items()}
    wanted = [key for key in figures if key.startswith("F1")] + ["pooledAP@.5", "pooledAP@.7"]
    return {
        "images": subset,
        "method": name,
        "number": images,
        "nuclei": int(counts[0][0] + counts[0][2]),
        **{key: figures[key] for key in wanted},
        "CPU ms": round(1e3 * seconds / images, 1),
    }


if __name__ == "__main__":
    main()
