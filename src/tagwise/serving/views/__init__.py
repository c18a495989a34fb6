"""What the explorer shows of each task: its sliders, its detections, and why they are together.

A view is one file here and one line in the dict. A task without a line has the view `View`, with
its results and its maps, and without sliders and detections.

Imports `errors`, `geometry`, `grouping`, `prediction`, `results` and `tasks`.
"""

from __future__ import annotations

from tagwise.prediction.outcome import Outcome
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.tta import Maps
from tagwise.serving.views.base import Answer, Detections, Grouped, Slider, View
from tagwise.serving.views.corners import CornerView
from tagwise.serving.views.pixels import PixelView
from tagwise.serving.views.pose import PoseView
from tagwise.tasks.base import Placement

__all__ = ["VIEWS", "Answer", "Detections", "Grouped", "Slider", "View", "view_of"]

VIEWS: dict[str, type[View]] = {"pose": PoseView, "corners": CornerView, "pixels": PixelView}


def view_of(predictor: Predictor, outcome: Outcome, maps: Maps, threshold: float) -> View:
    """The view of a prepared image and its maps; threshold: least score of an instance."""
    height, width = outcome.image.shape[:2]
    placement = Placement(outcome.affines[0], (width, height))
    kind = VIEWS.get(predictor.task.name, View)
    return kind(predictor.task, maps, predictor.stride, placement, threshold, predictor.calibrated)
