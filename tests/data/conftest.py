"""Fixtures: small data sets and images, and no warnings of earlier tests."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from foxes_labels import CATEGORY

from image_files import HEIGHT, WIDTH
from tagwise.data import pixels


@pytest.fixture
def foxes(tmp_path):
    """A function that writes a COCO dataset of 64 × 48 images and returns its JSON and folder."""

    def write(annotations, images=2, category=CATEGORY, **content):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        entries = []
        for number in range(1, images + 1):
            rng = np.random.default_rng(number)
            smooth = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
            cv2.imwrite(str(folder / f"{number}.png"), smooth)
            entries.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        plain = {"images": entries, "annotations": annotations, "categories": [category]}
        path = Path(tmp_path / "foxes.json")
        path.write_text(json.dumps(plain | content))
        return path, folder

    return write


@pytest.fixture
def photo():
    """A smooth colour image whose four corners differ, so that every rotation changes it."""
    corners = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [240, 240, 40]]], np.uint8)
    return cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch):
    """Forget which warnings were issued, so that each test gets them."""
    monkeypatch.setattr(pixels, "_warned", set())
