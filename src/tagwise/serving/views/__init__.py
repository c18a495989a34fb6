"""What the explorer shows of each task: its sliders, its detections, and why they are together.

A view is one file here and one line in the dict. A task without a line has the view `View`, with
its results and its maps, and without sliders and detections.

Imports `errors`, `geometry`, `grouping`, `prediction`, `results` and `tasks`.
"""

from __future__ import annotations

from tagwise.serving.views.base import Answer, Detections, Grouped, Slider, View
from tagwise.serving.views.corners import CornerView
from tagwise.serving.views.pixels import PixelView
from tagwise.serving.views.pose import PoseView

__all__ = ["VIEWS", "Answer", "Detections", "Grouped", "Slider", "View"]

VIEWS: dict[str, type[View]] = {"pose": PoseView, "corners": CornerView, "pixels": PixelView}
