"""Boxes, IoU, OKS and grids: against slow references, pycocotools, and their properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from tagwise import geometry, peaks
from tagwise.data.transforms import Affine
from tagwise.geometry import (
    cell_to_pixel,
    count_common,
    edges_to_cells,
    edges_to_pixels,
    iou,
    keypoint_boxes,
    least_side,
    oks,
    pair_iou,
    pair_oks,
    pixel_to_cell,
    present_keypoints,
    to_xywh,
    to_xyxy,
)

examples = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------- box formats


@examples
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(-99, 99))
)
def test_conversions_of_box_formats_are_inverse(boxes):
    corners = to_xyxy(boxes)
    assert np.array_equal(corners[..., 2:], boxes[..., :2] + boxes[..., 2:])
    assert np.array_equal(to_xywh(corners), boxes)


@pytest.mark.parametrize("convert", [to_xyxy, to_xywh])
def test_conversions_of_box_formats_keep_type_and_shape(convert):
    for dtype in (np.float32, np.float64, np.int32):
        for shape in ((4,), (0, 4), (2, 3, 4)):
            converted = convert(np.ones(shape, dtype))
            assert (converted.dtype, converted.shape) == (dtype, shape)
    boxes = np.array([1.0, 2.0, 3.0, 4.0])
    convert(boxes)[:] = 0
    assert boxes.tolist() == [1, 2, 3, 4]


# ---------------------------------------------------------------------- IoU


def covered(box, inclusive):
    """The unit squares that a box of whole numbers covers."""
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2 + inclusive) for y in range(y1, y2 + inclusive)}


@examples
@given(seeds, st.booleans())
def test_iou_is_the_share_of_common_pixels(seed, inclusive):
    low, sides = np.random.default_rng(seed).integers([[[0]], [[1]]], 9, (2, 7, 2))
    boxes = np.hstack([low, low + sides])
    found = iou(boxes[:3], boxes[3:], inclusive=inclusive)
    assert found.shape == (3, 4)
    for n, m in np.ndindex(3, 4):
        a, b = covered(boxes[n], inclusive), covered(boxes[3 + m], inclusive)
        assert found[n, m] == pytest.approx(len(a & b) / len(a | b), abs=1e-15)
        assert found[n, m] == pair_iou(boxes[n], boxes[3 + m], float(inclusive))


def random_boxes(rng, count):
    """Boxes x, y, width, height that often overlap."""
    return np.hstack([rng.uniform(-20, 20, (count, 2)), rng.uniform(0.1, 30, (count, 2))])


@examples
@given(seeds)
def test_iou_equals_pycocotools(seed):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 6), random_boxes(rng, 5)
    expected = coco_mask.iou(a, b, [0] * len(b))
    np.testing.assert_allclose(iou(to_xyxy(a), to_xyxy(b)), expected, atol=1e-12)


@examples
@given(seeds, st.floats(-50, 50), st.floats(0.1, 10))
def test_iou_does_not_depend_on_position_scale_or_order(seed, shift, scale):
    boxes = to_xyxy(random_boxes(np.random.default_rng(seed), 6))
    table = iou(boxes, boxes)
    assert (table >= 0).all()
    assert (table <= 1).all()
    assert np.array_equal(table, table.T)
    np.testing.assert_allclose(np.diag(table), 1)
    np.testing.assert_allclose(iou(boxes * scale + shift, boxes * scale + shift), table, atol=1e-9)


def test_boxes_without_area_overlap_nothing():
    boxes = np.array(
        [
            [0, 0, 4, 4],
            [2, 2, 2, 2],  # a point
            [4, 4, 0, 0],  # swapped corners
            [4, 0, 8, 4],  # a common edge only
            [0, 0, np.nan, 4],
            [0, 0, np.inf, np.inf],
            [0, 0, 1e-200, 1e-200],  # an area that is 0 in float64
        ]
    )
    table = iou(boxes, boxes)
    assert table[0].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert np.diag(table).tolist() == [1, 0, 0, 1, 0, 0, 0]
    assert iou(np.zeros((0, 4)), boxes).shape == (0, 7)
    assert iou(boxes, []).shape == (7, 0)


# ---------------------------------------------------------------------- boxes around keypoints


def random_poses(rng, count, types=5, around=10.0):
    """Poses (N, K, 3) with some keypoints missing, in each possible way."""
    poses = np.concatenate(
        [rng.normal(0, around, (count, types, 2)), rng.uniform(0.1, 2, (count, types, 1))], axis=2
    )
    ways = np.array([[0, 0, 0], [np.nan, np.nan, 0], [7, -300, 0], [np.nan, 3, 1], [2, np.inf, 1]])
    missing = rng.random((count, types)) < 0.35
    poses[missing] = ways[rng.integers(len(ways), size=missing.sum())]
    return poses


def is_present(keypoint):
    x, y, score = keypoint
    return score > 0 and np.isfinite([x, y]).all()


@examples
@given(seeds)
def test_present_keypoints_equal_a_loop_over_keypoints(seed):
    poses = random_poses(np.random.default_rng(seed), 4)
    expected = [[bool(is_present(keypoint)) for keypoint in pose] for pose in poses]
    assert present_keypoints(poses).tolist() == expected
    assert count_common(poses[0], poses[1]) == np.logical_and(*expected[:2]).sum()


@examples
@given(seeds, st.sampled_from([0.0, 1.0, 25.0]), st.sampled_from([np.float32, np.float64]))
def test_boxes_enclose_exactly_the_present_keypoints(seed, least, dtype):
    rng = np.random.default_rng(seed)
    poses = random_poses(rng, 6, types=int(rng.integers(1, 5))).astype(dtype)
    boxes = keypoint_boxes(poses, least)
    assert boxes.dtype == np.float64
    for box, pose in zip(boxes, poses):
        xy = [keypoint[:2].astype(float) for keypoint in pose if is_present(keypoint)]
        if not xy:
            assert box.tolist() == [0, 0, 0, 0]
            continue
        low, high = np.min(xy, axis=0), np.max(xy, axis=0)
        np.testing.assert_allclose(box[2:], np.maximum(high - low, least))
        np.testing.assert_allclose(box[:2] + box[2:] / 2, (low + high) / 2, atol=1e-12)


def test_one_keypoint_has_a_box_of_the_least_size():
    lone = np.array([[[8, 5, 1], [0, 0, 0]]])
    assert keypoint_boxes(lone).tolist() == [[8, 5, 0, 0]]
    assert keypoint_boxes(lone, least=3).tolist() == [[6.5, 3.5, 3, 3]]
    line = np.array([[[2, 5, 1], [12, 5, 1]]])
    assert keypoint_boxes(line, least=4).tolist() == [[2, 3, 10, 4]]


def test_least_side_depends_on_the_image_size():
    assert least_side(1200, 1600) == pytest.approx(60)
    assert least_side(None, 1600) == least_side(1200, None) == 20


def test_no_instances_and_no_types_have_no_boxes():
    assert keypoint_boxes(np.zeros((0, 17, 3))).shape == (0, 4)
    assert keypoint_boxes(np.zeros((2, 0, 3)), least=1).tolist() == [[0, 0, 0, 0]] * 2
    with pytest.raises(ValueError, match=r"must be \(N, K, 3\), not \(17, 3\)"):
        keypoint_boxes(np.zeros((17, 3)))


# ---------------------------------------------------------------------- OKS


def slow_oks(found, reference, area, sigmas, common):
    kept = [is_present(r) and (is_present(f) or not common) for f, r in zip(found, reference)]
    total = 0.0
    for f, r, sigma, counts in zip(found, reference, sigmas, kept):
        if counts and is_present(f):
            total += np.exp(-np.square(f[:2] - r[:2]).sum() / (2 * area * (2 * sigma) ** 2))
    return total / max(sum(kept), 1)


def a_crowd(seed):
    """Found poses, of which some are near a reference pose; references, areas, sigmas."""
    rng = np.random.default_rng(seed)
    reference = random_poses(rng, 4)
    found = np.concatenate([reference, random_poses(rng, 3)])
    found[..., :2] += rng.normal(0, 1, (7, 1, 1)) * rng.normal(0, 2, found[..., :2].shape)
    return found, reference, rng.uniform(10, 400, 4), rng.uniform(0.03, 0.3, 5)


@examples
@given(seeds, st.booleans())
def test_oks_equals_the_formula(seed, common):
    found, reference, areas, sigmas = a_crowd(seed)
    table = oks(found, reference, areas, sigmas, common=common)
    assert table.shape == (7, 4)
    for n, m in np.ndindex(7, 4):
        expected = slow_oks(found[n], reference[m], areas[m], sigmas, common)
        assert table[n, m] == pytest.approx(expected, abs=1e-12)


@examples
@given(seeds)
def test_oks_equals_pycocotools(seed):
    found, reference, areas, sigmas = a_crowd(seed)
    found = np.nan_to_num(found, posinf=0)
    found[..., 2] = 1  # pycocotools ignores scores
    reference = reference[present_keypoints(reference).any(axis=1)]  # otherwise it uses boxes
    reference = np.where(present_keypoints(reference)[..., None], reference, 0)
    areas = areas[: len(reference)]
    judge = COCOeval(iouType="keypoints")
    judge.params.kpt_oks_sigmas = sigmas
    judge._gts[1, 1] = [
        {"keypoints": pose.ravel(), "area": area, "bbox": [0, 0, 1, 1]}
        for pose, area in zip(reference, areas)
    ]
    judge._dts[1, 1] = [
        {"keypoints": pose.ravel(), "score": -number} for number, pose in enumerate(found)
    ]
    expected = np.reshape(judge.computeOks(1, 1), (len(found), len(reference)))
    np.testing.assert_allclose(oks(found, reference, areas, sigmas), expected, atol=1e-12)


@examples
@given(seeds, st.floats(0.01, 0.99))
def test_early_stopping_does_not_change_results(seed, least):
    found, reference, areas, sigmas = a_crowd(seed)
    table = oks(found, reference, areas, sigmas)
    for n, m in np.ndindex(*table.shape):
        count = count_common(reference[m], reference[m])
        early = pair_oks(found[n], reference[m], areas[m], sigmas, count, least)
        assert early == (table[n, m] if table[n, m] >= least else 0)


@examples
@given(seeds)
def test_identical_poses_have_oks_1_at_any_size(seed):
    rng = np.random.default_rng(seed)
    poses, areas = random_poses(rng, 5), 10 ** rng.uniform(-3, 6, 5)
    table = oks(poses, poses, areas, 0.1)
    some = present_keypoints(poses).any(axis=1)
    np.testing.assert_allclose(np.diag(table), some)
    assert ((table >= 0) & (table <= 1 + 1e-12)).all()


def test_areas_of_pairs_and_areas_of_zero():
    pose = np.array([[[10, 10, 1], [20, 10, 1]]])
    moved = pose + np.array([3, 0, 0])
    both = np.concatenate([pose, moved])
    assert oks(both, pose, [0], 0.1).tolist() == [[1], [0]]
    table = oks(both, both, [[100, 400], [100, 100]], 0.1)
    away = np.exp(-9 / (8 * 0.1**2 * np.array([400, 100])))
    np.testing.assert_allclose(table, [[1, away[0]], [away[1], 1]])


def test_missing_keypoint_counts_as_zero_except_with_common():
    reference = np.array([[[0, 0, 2], [9, 0, 2]]])
    found = np.array([[[0, 0, 0.9], [np.nan, np.nan, 0]]])
    assert oks(found, reference, [50], 0.1).item() == 0.5
    assert oks(found, reference, [50], 0.1, common=True).item() == 1
    assert oks(found * [1, 1, 0], reference, [50], 0.1, common=True).item() == 0


def test_oks_refuses_invalid_arguments():
    poses = np.ones((2, 3, 3))
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(2, 4, 3\)"):
        oks(poses, np.ones((2, 4, 3)), [1, 1], 0.1)
    with pytest.raises(ValueError, match="sigmas above 0"):
        oks(poses, poses, [1, 1], [0.1, 0, 0.1])
    with pytest.raises(ValueError, match="areas must be at least 0"):
        oks(poses, poses, [1, -1], 0.1)
    assert oks(poses[:0], poses, [1, 1], 0.1).shape == (0, 2)
    assert oks(poses, poses[:0], [], 0.1).shape == (2, 0)


# ---------------------------------------------------------------------- cells and pixels


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 32])
def test_centre_of_a_cell_is_the_mean_of_its_pixels(stride):
    pixels = np.arange(6 * stride).reshape(6, stride)  # the centres of those of each cell
    cells = np.arange(6)
    assert np.array_equal(cell_to_pixel(cells, stride), pixels.mean(axis=1))
    # A pixel reaches from its number to the next one if numbers are those of edges.
    assert np.array_equal(edges_to_pixels(cells, stride), pixels[:, 0])
    assert np.array_equal(edges_to_pixels(cells + 1, stride), pixels[:, -1] + 1)


@examples
@given(st.floats(-1e4, 1e4), st.sampled_from([0.5, 1.0, 4.0, 7.0, 32.0]))
def test_pixel_and_edge_coordinates_give_the_same_cells(place, stride):
    pixel = cell_to_pixel(place, stride)
    assert pixel_to_cell(pixel, stride) == pytest.approx(place, abs=1e-9)
    assert edges_to_cells(edges_to_pixels(place, stride), stride) == pytest.approx(place, abs=1e-9)
    assert edges_to_pixels(place + 0.5, stride) == pytest.approx(pixel + 0.5, abs=1e-9)
    point = np.array([[place, -place]])
    scaled = Affine.scaling(stride).points(point)
    np.testing.assert_allclose(scaled, cell_to_pixel(point, stride), atol=1e-9)
    back = Affine.scaling(1 / stride).points(scaled)
    np.testing.assert_allclose(back, point, atol=1e-9)


@pytest.mark.parametrize("change", [cell_to_pixel, pixel_to_cell, edges_to_pixels, edges_to_cells])
def test_numbers_arrays_and_tensors_give_equal_results(change):
    values = [0.0, 2.5, 31.25]
    expected = [change(value, 4) for value in values]
    assert change(np.array(values), 4).tolist() == expected
    mapped = change(torch.tensor(values), 4)
    assert (mapped.dtype, mapped.tolist()) == (torch.float32, expected)


def test_peaks_has_the_mapping_under_its_public_name():
    assert peaks.cell_to_pixel is geometry.cell_to_pixel
    assert peaks.pixel_to_cell is geometry.pixel_to_cell
