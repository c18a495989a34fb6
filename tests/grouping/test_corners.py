"""Corner pairs: quality on crowds, the evidence for pairs, and invariants."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.corners import corner_scene, f1
from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.corners import decode_corners, pair_by_truth, pair_corners
from tagwise.grouping.settings import CornerSettings


def _rows(found):
    """x1, y1, x2, y2, score, class of each box."""
    columns = [found.boxes, found.scores[:, None], found.classes[:, None]]
    return np.concatenate(columns, axis=1)


# ---------------------------------------------------------------------- quality


def _f1(made, chosen=None):
    """Mean over the scenes, at score .5 and intersection over union .75."""
    found = [decode_corners(**scene.maps, settings=chosen)[0] for scene in made]
    return np.mean([f1(s, b.boxes, b.scores, b.classes) for s, b in zip(made, found)])


@pytest.mark.parametrize(("count", "floor"), [(50, 0.85), (100, 0.7)])
def test_default_pairs_crowds_of_one_class_well(count, floor):
    made = [corner_scene(n, count, crowded=True) for n in range(8)]
    assert _f1(made) >= floor
    assert _f1(made, CornerSettings.preset("cornernet")) < 0.5


@pytest.mark.parametrize("count", [1, 10, 100])
def test_default_finds_nearly_all_boxes_if_tags_are_distinct(count):
    assert _f1([corner_scene(n, count, classes=20) for n in range(3)]) >= 0.98


@pytest.mark.parametrize(("dim", "scatter", "floor"), [(4, 0.1, 0.96), (2, 0.25, 0.94)])
def test_tags_may_have_any_dimension_and_scatter(dim, scatter, floor):
    made = [corner_scene(n, 50, dim=dim, crowded=True, scatter=scatter) for n in range(4)]
    assert _f1(made) >= floor


# ---------------------------------------------------------------------- evidence


def _peaks(boxes, tags, scores=None, classes=None):
    """The corners of boxes (N, 4) whose tags are (N, D), or (N, 2, D) for each corner."""
    boxes, tags = np.asarray(boxes, np.float32), np.asarray(tags, np.float32)
    count = len(boxes)
    if tags.ndim == 2:
        tags = np.stack([tags, tags], axis=1)
    xy = np.concatenate([boxes[:, :2], boxes[:, 2:]])
    score = np.full(2 * count, 0.8) if scores is None else np.tile(scores, 2)
    classes = np.zeros(count) if classes is None else np.asarray(classes)
    return CornerPeaks(
        xy,
        xy.astype(np.int64),
        score.astype(np.float32),
        np.tile(classes, 2).astype(np.int64),
        np.concatenate([tags[:, 0], tags[:, 1]]),
        np.array([[0, count, 2 * count]]),
    )


def _pairs(found, count):
    """The pairs of corners, as (top-left, bottom-right) indices."""
    return {(int(tl), int(br) - count) for tl, br in found.corners}


# Two boxes whose corners can be exchanged.
_CROSSED = [[10, 10, 40, 30], [14, 14, 36, 50]]


def test_corners_are_paired_by_tags():
    (found,) = pair_corners(_peaks(_CROSSED, [[0.0], [3.0]]))
    assert _pairs(found, 2) == {(0, 0), (1, 1)}
    (found,) = pair_corners(_peaks(_CROSSED, [[[0.0], [3.0]], [[3.0], [0.0]]]))
    assert _pairs(found, 2) == {(0, 1), (1, 0)}


def _centres(*places):
    heat = torch.full((1, 1, 64, 64), 0.01)
    for x, y in places:
        heat[0, 0, y, x] = 0.9
    return heat


def test_centres_decide_between_equal_tags():
    peaks = _peaks(_CROSSED, [[0.0], [0.0]])
    chosen = CornerSettings(centre_part=0.1)
    (found,) = pair_corners(peaks, chosen, _centres((25, 20), (25, 32)))
    assert _pairs(found, 2) == {(0, 0), (1, 1)}
    (found,) = pair_corners(peaks, chosen, _centres((23, 30), (27, 22)))
    assert _pairs(found, 2) == {(0, 1), (1, 0)}


def test_box_without_a_centre_has_a_lower_score():
    boxes = [[4, 4, 16, 16], [34, 34, 46, 46]]
    for name in ("default", "cornernet"):
        chosen = CornerSettings.preset(name)
        (found,) = pair_corners(_peaks(boxes, [[0.0], [9.0]]), chosen, _centres((10, 10)))
        assert found.boxes[0].tolist() == boxes[0]
        assert found.scores[0] > found.scores[1] + 0.2
    (plain,) = pair_corners(_peaks(boxes, [[0.0], [9.0]]))
    sure = CornerSettings(centre_weight=0.0)
    (same,) = pair_corners(_peaks(boxes, [[0.0], [9.0]]), sure, _centres((10, 10), (40, 40)))
    assert same.scores == pytest.approx(plain.scores, abs=0.01)


def test_classes_do_not_mix():
    (found,) = pair_corners(_peaks(_CROSSED, [[0.0], [0.0]], classes=[1, 7]))
    assert _pairs(found, 2) == {(0, 0), (1, 1)}
    assert sorted(found.classes) == [1, 7]


def test_sizes_of_other_boxes_decide_between_similar_tags():
    """Boxes of one size; for two that overlap in the last row, tags suggest to swap corners."""
    place = np.stack(np.meshgrid(np.arange(10), np.arange(3)), axis=-1).reshape(-1, 2)
    low = np.stack([40 * (place[:, 0] // 2) + 8 * (place[:, 0] % 2), 20 * place[:, 1]], axis=1)
    boxes = np.concatenate([low, low + 15], axis=1)
    tags = np.stack([4.0 * np.arange(30)] * 2, axis=1)
    tags[20:] = 4.0 * (np.arange(20, 30) // 2)[:, None] + [0.0, 0.1]
    tags[21::2] = tags[21::2, ::-1]
    peaks = _peaks(boxes, tags[:, :, None])
    (found,) = pair_corners(peaks)
    assert _pairs(found, 30) == {(n, n) for n in range(30)}
    (blind,) = pair_corners(peaks, CornerSettings(size_weight=0.0))
    assert _pairs(blind, 30) == {(n, n ^ (n >= 20)) for n in range(30)}


def test_tag_growth_allows_larger_distances_in_large_boxes():
    peaks = _peaks([[5, 5, 105, 105], [60, 6, 64, 10]], [[[0.0], [3.0]], [[0.0], [3.0]]])
    assert len(pair_corners(peaks)[0]) == 0
    (found,) = pair_corners(peaks, CornerSettings(tag_growth=0.05))
    assert _pairs(found, 2) == {(0, 0)}


def test_similar_tags_and_confident_corners_score_higher():
    boxes = [[0, 0, 20, 20], [30, 0, 50, 20], [60, 0, 80, 20]]
    tags = np.array([[[0.0], [0.0]], [[5.0], [5.75]], [[9.0], [9.0]]])
    (found,) = pair_corners(_peaks(boxes, tags, scores=[0.8, 0.8, 0.6]))
    assert found.boxes[:, 0].tolist() == [0, 30, 60]
    assert found.scores[0] == pytest.approx(0.8, abs=0.01)
    assert found.scores[1] < found.scores[0] - 0.005
    assert found.scores[2] < 0.6


def test_duplicate_corners_give_one_box():
    boxes = np.array([[10.3, 10.2, 30.1, 40.8], [50, 20, 90, 50]])
    twice = np.concatenate([boxes, boxes + np.array([1, 0, 0, 1])])
    tags = [[0.0], [5.0], [0.05], [5.05]]
    peaks = _peaks(twice, tags, scores=[0.9, 0.8, 0.5, 0.6])
    (found,) = pair_corners(peaks)
    assert len(found) == 2
    assert found.boxes == pytest.approx(boxes, abs=1.01)
    assert len(pair_corners(peaks, CornerSettings(suppression="none"))[0]) == 4
    (soft,) = pair_corners(peaks, CornerSettings(suppression="exp", box_threshold=0.0))
    assert len(soft) == 4
    assert (soft.scores[2:] < 0.3).all()


def test_best_boxes_are_kept():
    boxes = [[20 * n, 5, 20 * n + 9, 15] for n in range(6)]
    scores = np.array([0.3, 0.9, 0.5, 0.7, 0.2, 0.6])
    peaks = _peaks(boxes, 4.0 * np.arange(6)[:, None], scores)
    (found,) = pair_corners(peaks, CornerSettings(max_boxes=3))
    assert found.boxes[:, 0].tolist() == [20, 60, 100]
    (found,) = pair_corners(peaks, CornerSettings(box_threshold=0.4))
    assert len(found) == 4


# ---------------------------------------------------------------------- properties


@st.composite
def _some_peaks(draw):
    count = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = rng.uniform(0, 80, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 40, (count, 2))], axis=1)
    tags = rng.uniform(0, 4, (count, draw(st.integers(1, 3))))
    tags = tags[:, None] + rng.normal(0, 0.1, (count, 2, tags.shape[1]))
    classes = rng.integers(draw(st.integers(1, 3)), size=count)
    return _peaks(boxes, tags, rng.uniform(0.1, 1, count), classes)


def _alike(found, other):
    """Whether boxes and scores are the same, up to the order of equal scores."""
    assert {tuple(pair) for pair in found.corners} == {tuple(pair) for pair in other.corners}
    assert found.scores == pytest.approx(other.scores, abs=1e-3)


@given(_some_peaks())
@settings(deadline=None, max_examples=40)
def test_every_box_is_valid_and_no_corner_is_used_twice(peaks):
    (found,) = pair_corners(peaks)
    middle = peaks.starts[0, 1]
    assert len(set(found.corners.ravel().tolist())) == 2 * len(found)
    assert (found.corners[:, 0] < middle).all()
    assert (found.corners[:, 1] >= middle).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (peaks.classes[found.corners] == found.classes[:, None]).all()
    assert found.boxes == pytest.approx(peaks.xy[found.corners].reshape(-1, 4))
    assert (np.linalg.norm(found.tags[:, 0] - found.tags[:, 1], axis=1) <= 1.5).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (np.diff(found.scores) <= 0).all()


@given(_some_peaks(), st.floats(-20, 20))
@settings(deadline=None, max_examples=30)
def test_boxes_are_invariant_to_shifts_of_image_and_tags(peaks, shift):
    (found,) = pair_corners(peaks)
    # Multiples of the rounding unit of the numbers, so that no distance changes.
    by = np.float32(round(shift) * 64)
    (moved,) = pair_corners(replace(peaks, xy=peaks.xy.round(2) + by, tags=peaks.tags))
    (back,) = pair_corners(replace(peaks, xy=peaks.xy.round(2)))
    _alike(moved, back)
    (other,) = pair_corners(replace(peaks, tags=-peaks.tags))
    _alike(found, other)


@given(_some_peaks())
@settings(deadline=None, max_examples=30)
def test_x_and_y_are_treated_equally(peaks):
    (found,) = pair_corners(peaks)
    (other,) = pair_corners(replace(peaks, xy=peaks.xy[:, ::-1].copy()))
    _alike(found, other)


def test_images_of_a_batch_are_independent():
    made = [corner_scene(n, 30, classes=3, crowded=True).maps for n in range(3)]
    batch = {name: torch.cat([maps[name] for maps in made]) for name in made[0]}
    for together, maps in zip(decode_corners(**batch), made, strict=True):
        (alone,) = decode_corners(**maps)
        assert len(alone) > 20
        assert (_rows(together) == _rows(alone)).all()


def test_box_as_large_as_the_map_and_empty_maps():
    tl, br, tag = torch.zeros(3, 2, 1, 64, 64)
    tl[0, 0, 0, 0] = br[0, 0, 63, 63] = 0.9
    large, none = decode_corners(tl, br, tag, tag)
    assert large.boxes.tolist() == [[0, 0, 63, 63]]
    assert large.corner_scores == pytest.approx(0.9)
    assert none.boxes.shape == (0, 4)
    assert none.tags.shape == (0, 2, 1)
    for preset in ("default", "cornernet"):
        assert len(decode_corners(br, tl, tag, tag, settings=CornerSettings.preset(preset))[0]) == 0


# ---------------------------------------------------------------------- pairing by truth


def test_truth_pairs_corners_that_tags_cannot_separate():
    boxes = np.array([*_CROSSED, [70, 70, 90, 95]])
    peaks = _peaks(boxes + 0.4, np.zeros((3, 1)), scores=[0.5, 0.9, 0.7], classes=[0, 0, 2])
    truth = np.array([*_CROSSED, [70, 70, 90, 95], [5, 60, 20, 90]])
    (found,) = pair_by_truth(peaks, [truth], [np.array([0, 0, 2, 0])])
    assert found.corners.tolist() == [[1, 4], [2, 5], [0, 3]]
    (found,) = pair_by_truth(peaks, [truth], [np.array([0, 0, 1, 0])])
    assert found.corners.tolist() == [[1, 4], [0, 3]]


def test_truth_without_boxes_or_corners_gives_no_boxes():
    peaks = find_corners(*torch.zeros(4, 2, 1, 8, 8))
    decoded = pair_by_truth(peaks, [np.zeros((0, 4)), np.ones((2, 4))], [np.zeros(0), np.zeros(2)])
    assert [len(found) for found in decoded] == [0, 0]
