import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tagwise.data.regions import check_region, paint_region
from tagwise.label_maps import rle_counts, rle_mask

MASKS = arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_compressed_masks_agree_with_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask")
    rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    np.testing.assert_array_equal(rle_mask(rle), mask)
    as_text = {"size": rle["size"], "counts": rle["counts"].decode()}
    np.testing.assert_array_equal(rle_mask(as_text), mask)


def test_long_runs_agree_with_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.zeros((700, 900), bool)
    mask[3:690, 5:800] = mask[100, 850:] = True
    rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    np.testing.assert_array_equal(rle_mask(rle), mask)


def test_lists_of_runs_are_column_major():
    mask = rle_mask({"size": [2, 3], "counts": [1, 2, 3]})
    np.testing.assert_array_equal(mask, [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [2, 3], "counts": [1, 2]},
        {"size": [2, 3], "counts": [8, -2]},
        {"size": [2, 3], "counts": "~~"},
        {"size": [2, 3], "counts": "1Q"},  # Q announces another character
    ],
)
def test_runs_that_do_not_fill_the_mask_are_refused(rle):
    with pytest.raises(ValueError, match="run"):
        rle_mask(rle)
    with pytest.raises(ValueError, match="run"):
        check_region(rle, (3, 2))


def test_empty_text_has_no_runs():
    assert rle_counts("").size == 0


def test_boxes_are_painted_and_clipped_to_the_mask():
    mask = np.zeros((6, 8), bool)
    paint_region(mask, (2.0, 1.0, 3.0, 2.0))
    assert mask[1:3, 2:5].all()
    assert mask.sum() == 6
    mask[:] = False
    paint_region(mask, (-5.0, 4.0, 7.0, 50.0))
    assert mask[4:, :2].all()
    assert mask.sum() == 4
    paint_region(mask, (-9.0, -9.0, 3.0, 3.0))
    assert mask.sum() == 4


def test_polygons_agree_with_pycocotools_to_one_pixel():
    coco = pytest.importorskip("pycocotools.mask")
    star = [[10, 5, 60, 8, 50, 44, 30, 30, 12, 40], [40, 10, 78, 10, 78, 30, 40, 30]]
    truth = coco.decode(coco.merge(coco.frPyObjects(star, 50, 80))).astype(bool)
    mask = np.zeros((50, 80), bool)
    paint_region(mask, star)
    pixel = np.ones((3, 3), np.uint8)
    assert not (truth & ~mask).any()
    assert not (mask & ~cv2.dilate(truth.view(np.uint8), pixel).view(bool)).any()


@pytest.mark.parametrize(
    "region",
    [None, {"counts": "11"}, {"size": [9, 9], "counts": [81]}, [[1, 2, 3]], [[1, "x"]], 7],
)
def test_invalid_regions_are_refused(region):
    with pytest.raises(ValueError, match=r"."):
        check_region(region, (4, 4))


@pytest.mark.parametrize("region", [{"size": [4, 4], "counts": [3, 13]}, [[0, 0, 3, 0, 3, 3]]])
def test_valid_regions_can_be_painted(region):
    check_region(region, (4, 4))
    check_region(region, (None, None))
    mask = np.zeros((4, 4), bool)
    paint_region(mask, region)
    assert mask.any()


@pytest.mark.parametrize(
    "region",
    [
        {"size": [10**6, 10**6], "counts": [10**12 + 1]},
        {"size": [2**40, 2**40], "counts": [2**62, 2**62, 2**62, 2**62]},  # 0 in 64 bits
        {"size": [0, 0], "counts": [2**62, 2**62, 2**62, 2**62]},
        {"size": [float("inf"), 4], "counts": [4]},
        {"size": [-2, -2], "counts": [4]},
        {"size": [2, 2], "counts": [2**70]},
        {"size": [2, 2], "counts": [[4]]},
        {"size": [2, 2], "counts": {"a": 4}},
        {"size": [2, 2], "counts": "o" * 5000},
        {"size": 4, "counts": [4]},
        {"counts": [4]},
        [[]],
        [[1e300, 2, 3, 4, 5, 6]],
        [[1, 2, 3]],
    ],
)
def test_odd_regions_are_refused_without_decoding(region):
    with pytest.raises(ValueError, match=r"run|mask|polygon|reshape"):
        check_region(region, (None, None))


def test_huge_run_lengths_are_checked_and_painted_without_memory():
    region = {"size": [10**6, 10**6], "counts": [10**12]}
    check_region(region, (None, None))
    with pytest.raises(ValueError, match="mask of"):
        paint_region(np.zeros((4, 5), bool), region)
