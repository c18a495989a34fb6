"""Plots of instances on photos, detections, tags, a network's maps, curves and the push term.

Drawing only: functions take an image and a result or arrays, and return an array or a figure.

Imports `data`, `errors`, `geometry` and `skeletons`.
"""

from tagwise.plot.boxes import draw_boxes
from tagwise.plot.curves import plot_curves
from tagwise.plot.detections import draw_detections, plot_grouping
from tagwise.plot.figures import MOST_NUMBERS, plot_push, plot_tags
from tagwise.plot.labels import draw_label
from tagwise.plot.maps import draw_heatmaps, plot_corner_maps, plot_pixel_maps, plot_tag_maps
from tagwise.plot.masks import draw_masks
from tagwise.plot.poses import draw_poses
from tagwise.plot.style import PALETTE, instance_colour, theme
from tagwise.plot.tracks import TrackPainter

__all__ = [
    "MOST_NUMBERS",
    "PALETTE",
    "TrackPainter",
    "draw_boxes",
    "draw_detections",
    "draw_heatmaps",
    "draw_label",
    "draw_masks",
    "draw_poses",
    "instance_colour",
    "plot_corner_maps",
    "plot_curves",
    "plot_grouping",
    "plot_pixel_maps",
    "plot_push",
    "plot_tag_maps",
    "plot_tags",
    "theme",
]
