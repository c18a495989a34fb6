"""Tests of drawing boxes."""

from dataclasses import replace

import numpy as np

from tagwise import plot
from tagwise.plot.boxes import tag_colours
from tagwise.results import Boxes

BLACK = np.zeros((100, 120, 3), np.uint8)


def one(tags=None, classes=(0,)):
    return Boxes([[20, 30, 60, 40]], [0.9], classes, ("a", "b"), [[0.9, 0.8]], tags)


def colours_at(picture, x, y):
    return picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)


def shows(picture, x, y, colour):
    return (np.abs(colours_at(picture, x, y) - colour).max(1) < 40).any()


def test_outline_is_drawn_at_the_box():
    drawn = plot.draw_boxes(BLACK, one(), width=3, labels=False)
    for x, y in ((20, 50), (80, 50), (50, 30), (50, 70)):
        assert shows(drawn, x, y, plot.instance_colour(0))
    assert not drawn[45:55, 45:55].any()
    assert not BLACK.any()


def test_classes_have_colours_and_labels():
    drawn = plot.draw_boxes(BLACK, one(classes=(1,)), width=3)
    assert shows(drawn, 80, 60, plot.instance_colour(1))
    plain = plot.draw_boxes(BLACK, one(classes=(1,)), width=3, labels=False)
    assert (drawn[:28, 20:60] != plain[:28, 20:60]).any()  # above the box, whose inside stays free
    assert (drawn[32:] == plain[32:]).all()


def test_corners_are_drawn_in_the_colours_of_their_tags():
    tags = np.array([[[0.0], [5.0]]])
    drawn = plot.draw_boxes(BLACK, one(tags), colours="tag", corners=True, labels=False, width=3)
    first, second = tag_colours(tags)[0].astype(int)
    assert np.abs(first - second).max() > 100
    assert shows(drawn, 20, 30, first)
    assert shows(drawn, 79, 69, second)
    assert drawn[45:55, 45:55].any()


def test_similar_tags_have_similar_colours():
    for components in (1, 2, 5):
        tags = np.random.default_rng(components).normal(0, 3, (40, components))
        near = tag_colours(np.concatenate([tags, tags + 1e-4])).astype(int)
        far = np.abs(near[:40] - np.roll(near[:40], 1, 0)).max(1)
        assert np.abs(near[:40] - near[40:]).max() < 12
        assert np.median(far) > 40


def test_empty_boxes_and_tags_without_components_can_be_drawn():
    assert not plot.draw_boxes(BLACK, Boxes([], [], [], ("a",))).any()
    assert plot.draw_boxes(BLACK, one(), colours="tag", corners=True).any()


def test_tag_plot_has_a_row_per_corner():
    figure = plot.plot_tags(one(np.array([[[1.0, 2.0], [1.1, 2.1]]])))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["top-left corner", "bottom-right corner"]
    assert len(figure.axes) == 2


def test_far_outside_and_tiny_boxes_are_drawn_without_error():
    boxes = Boxes([[-1e7, -1e7, 1e8, 1e8], [5, 5, 0, 0]], [0.5, 0.4], [0, 1], ("a", "b"))
    plot.draw_boxes(BLACK, boxes, corners=True)


def test_names_with_any_characters_are_drawn():
    tags = np.array([[[1.0], [1.1]]])
    boxes = Boxes([[20, 30, 60, 40]], [0.9], [0], ("\ud800 头 $x_$",), [[0.9, 0.8]], tags)
    assert plot.draw_boxes(BLACK, boxes).any()
    figure = plot.plot_tags(replace(boxes, file="caf\udce9 $x^$.jpg"))
    figure.canvas.draw()
    assert figure.get_suptitle() == r"caf\udce9 $x^$.jpg: 1 instance"
