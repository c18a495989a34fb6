"""Tests of what tells instances apart on photos: colours, sides, line widths and labels."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from tagwise import plot
from tagwise.plot.labels import draw_label
from tagwise.plot.style import line_widths, side_colours
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import COCO17, Skeleton

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB: no red cones, no green cones.
VIEWS = {
    "normal": (np.eye(3), 20),
    "protanopia": (
        [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
        10,
    ),
    "deuteranopia": (
        [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
        10,
    ),
}
STICK = Skeleton(
    "stick", ("left_end", "right_end", "top", "left_foot", "right_foot"), ((0, 3), (1, 4))
)


@pytest.mark.parametrize("view", VIEWS)
def test_colours_beyond_ten_are_distinguishable_also_without_red_or_green_cones(view):
    matrix, least = VIEWS[view]
    shown = np.array(plot.PALETTE) / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(matrix).T, 0, 1)
    gamma = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(gamma[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    distances = [np.linalg.norm(a - b) for a, b in combinations(lab, 2)]
    assert len(plot.PALETTE) >= 20
    assert min(distances) > least


def test_left_limbs_are_lighter_and_right_limbs_darker():
    keypoints = [[[20, 10, 1], [80, 10, 1], [50, 5, 1], [20, 90, 1], [80, 90, 1]]]
    drawn = plot.draw_poses(np.zeros((100, 100, 3), np.uint8), Poses(keypoints, [0.9], None, STICK))
    middle, light, dark = side_colours(plot.instance_colour(0))
    for (x, y), colour in (((20, 50), light), ((80, 50), dark), ((50, 5), middle)):
        np.testing.assert_allclose(drawn[y, x], colour, atol=30)
    assert sum(light) - sum(middle) > 100 < sum(middle) - sum(dark)


def test_sides_follow_from_names_and_else_from_pairs():
    assert STICK.sides == (1, 2, 0, 1, 2)
    assert Skeleton("robot", ("rhand", "trunk", "lhand")).sides == (2, 0, 1)
    pair = Skeleton("mouse", ("nose", "ear A", "ear B")).with_flip_pairs([["ear A", "ear B"]])
    assert pair.sides == (0, 1, 2)


def test_lines_scale_with_the_instance_and_faint_ones_are_thinner():
    widths = line_widths((1000, 1000, 3), np.array([45, 90, 2000]), np.array([0.6, 0.9, 1.0]))
    assert widths[1] == 2 * widths[0] == pytest.approx(2)
    assert widths[2] < 10
    faint = line_widths((1000, 1000), np.array([2000, 2000, 2000]), np.array([0.2, 0.4, 0.6]))
    assert faint[0] < 0.7 * faint[1] < 0.7 * faint[2]


def painted(poses, **style):
    return plot.draw_poses(np.zeros((300, 300, 3), np.uint8), poses, **style).any(-1)


def test_faint_instances_are_drawn_thinner():
    keypoints = [[[20, 10, 1], [80, 10, 1], [50, 5, 1], [20, 290, 1], [80, 290, 1]]]
    sure, faint = (painted(Poses(keypoints, [s], None, STICK), labels=False) for s in (0.9, 0.2))
    assert faint[150].sum() < sure[150].sum()
    ring = (
        Boxes([[50, 50, 200, 200]], [0.9], [0], ("a",)),
        Boxes([[50, 50, 200, 200]], [0.2], [0], ("a",)),
    )
    sure, faint = (
        plot.draw_boxes(np.zeros((300, 300, 3), np.uint8), b, labels=False) for b in ring
    )
    assert faint.any(-1).sum() < sure.any(-1).sum()


def test_small_instances_are_not_hidden_by_their_own_lines():
    """The chest of a person 60 pixels tall stays visible between the lines."""
    x = [10, 11, 9, 12, 8, 14, 6, 16, 4, 17, 3, 13, 7, 13, 7, 13, 7]
    y = [5, 4, 4, 5, 5, 13, 13, 22, 22, 30, 30, 32, 32, 45, 45, 58, 58]
    person = np.column_stack([np.array(x) + 600, np.array(y) + 300, np.ones(17)])[None]
    image = np.full((1080, 1920, 3), 128, np.uint8)
    drawn = plot.draw_poses(image, Poses(person, [0.9], None, COCO17), labels=False)
    changed = (np.abs(drawn.astype(int) - 128) > 60).any(-1)
    assert changed[315:330, 609:612].mean() < 0.1  # the chest
    assert changed.sum() > 100


def test_scores_are_written_above_instances_and_can_be_left_out():
    keypoints = [[[20, 90, 1], [80, 90, 1], [50, 95, 1], [20, 190, 1], [80, 190, 1]]]
    poses = Poses(keypoints, [0.87], None, STICK)
    assert painted(poses)[60:85].any()
    assert not painted(poses, labels=False)[60:85].any()
    other = Poses(keypoints, [0.78], None, STICK)
    assert (painted(poses)[90:] == painted(other)[90:]).all()
    one, two = (plot.draw_poses(np.zeros((300, 300, 3), np.uint8), p) for p in (poses, other))
    assert (one[:88] != two[:88]).any()


def test_masks_show_the_scores_where_they_fit():
    labels = np.zeros((200, 200), np.int32)
    labels[20:120, 20:120], labels[150:155, 150:155] = 1, 2
    image = np.zeros((200, 200, 3), np.uint8)
    plain = plot.draw_masks(image, Masks(labels, [0.9, 0.8]), labels=False)
    drawn = plot.draw_masks(image, Masks(labels, [0.9, 0.8]))
    changed = (plain != drawn).any(-1)
    assert changed[40:100, 40:100].any()
    assert not changed[140:].any()
    faint = plot.draw_masks(image, Masks(labels, [0.2, 0.1]), labels=False)
    assert faint[30, 30].sum() < plain[30, 30].sum()


@pytest.mark.parametrize(
    ("box", "beside"),
    [([50, 60, 30, 80], False), ([50, 2, 30, 80], True), ([150, 0, 50, 90], True)],
)
def test_labels_stay_off_the_box(box, beside):
    canvas = np.zeros((200, 200, 3), np.uint8)
    draw_label(canvas, np.array(box, float), "12", (255, 255, 255))
    x, y, w, h = box
    assert canvas.any()
    assert not canvas[y : y + h, x : x + w].any()
    rows = np.flatnonzero(canvas.any((1, 2)))
    assert beside == (rows.max() >= y)


def test_labels_are_inside_the_image_whatever_the_box():
    for box in ([-1e6, -1e6, 3e6, 3e6], [190, 190, 500, 500], [0, 0, 200, 200], [0, 500, 5, 5]):
        canvas = np.zeros((200, 200, 3), np.uint8)
        draw_label(canvas, np.array(box, float), "0.95", (255, 255, 255))
        assert canvas.any()


def test_ids_of_tracks_stand_above_people():
    x = [50, 52, 48, 55, 45, 60, 40, 65, 35, 65, 35, 57, 43, 57, 43, 57, 43]
    y = [60, 57, 57, 59, 59, 75, 75, 95, 95, 110, 110, 115, 115, 140, 140, 165, 165]
    person = np.column_stack([x, y, np.ones(17)])[None]
    poses = Poses(person, [0.9], None, COCO17)
    painter, image = plot.TrackPainter(), np.zeros((200, 200, 3), np.uint8)
    named = painter.draw(image, poses, np.array([7]))
    skeleton = poses.draw_tracked(image, [7])
    rows = np.flatnonzero((named != skeleton).any((1, 2)))
    assert rows.size
    assert rows.max() < poses.boxes[0, 1] < 60 - 3
