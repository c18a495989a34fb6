"""What a prediction is: the instances of one image, as poses, boxes or masks.

Each class converts itself to JSON, COCO results and supervision, and draws itself.

Imports `data`, `errors`, `geometry`, `label_maps`, `plot` and `skeletons`.
"""

from __future__ import annotations

from tagwise.results.base import Result
from tagwise.results.boxes import Boxes
from tagwise.results.masks import Masks
from tagwise.results.poses import Poses

__all__ = ["Boxes", "Masks", "Poses", "Result"]
