"""Measure results against a labelled set: figures of keypoints, boxes and masks.

Imports `data`, `errors`, `geometry`, `grouping`, `runtime` and `skeletons`.
"""

from tagwise.metrics.detection_ap import box_metrics, mask_metrics
from tagwise.metrics.keypoint_ap import keypoint_metrics
from tagwise.metrics.label_f1 import label_map_counts, pooled_figures

__all__ = ["box_metrics", "keypoint_metrics", "label_map_counts", "mask_metrics", "pooled_figures"]
