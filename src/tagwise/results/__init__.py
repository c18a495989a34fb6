"""The results of prediction: the instances of one image, as poses, boxes or masks.

Each class converts to JSON, tables, COCO results, YOLO labels and supervision, and can be drawn.

Imports `data`, `errors`, `files`, `geometry`, `label_maps`, `plot`, `runtime` and `skeletons`.
"""

from __future__ import annotations

from tagwise.results.base import Result
from tagwise.results.boxes import Boxes
from tagwise.results.masks import Masks
from tagwise.results.poses import Poses

__all__ = ["Boxes", "Masks", "Poses", "Result"]
