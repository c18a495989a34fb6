"""How good predictions are, against a labelled set: keypoints, boxes and masks."""

from tagwise.metrics.detection_ap import box_metrics
from tagwise.metrics.keypoint_ap import keypoint_metrics

__all__ = ["box_metrics", "keypoint_metrics"]
