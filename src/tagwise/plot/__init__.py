"""Plots of instances on photos, their tags, a network's maps, and the shape of the push term.

Drawing only: functions take an image and a result or arrays, and return an array or a figure.

Imports `data`, `geometry` and `skeletons`.
"""

from tagwise.plot.boxes import draw_boxes
from tagwise.plot.figures import plot_push, plot_tags
from tagwise.plot.maps import draw_heatmaps, plot_corner_maps, plot_pixel_maps
from tagwise.plot.masks import draw_masks
from tagwise.plot.poses import draw_poses
from tagwise.plot.style import PALETTE, instance_colour
from tagwise.plot.tracks import TrackPainter

__all__ = [
    "PALETTE",
    "TrackPainter",
    "draw_boxes",
    "draw_heatmaps",
    "draw_masks",
    "draw_poses",
    "instance_colour",
    "plot_corner_maps",
    "plot_pixel_maps",
    "plot_push",
    "plot_tags",
]
