import json

import numpy as np
import pytest
from foxes_labels import annotation

from tagwise.data.coco import CocoKeypoints
from tagwise.errors import UserError
from tagwise.skeletons import Skeleton

FOX = Skeleton("fox", ("nose", "left_paw", "right_paw", "tail"))
LABELLED = [20, 10, 30, 40, 12, 40]  # the keypoints of foxes_labels.annotation


def result(points, scores=(0.9, 0.9, 0.9, 0.9), image=1):
    values = [v for xy, s in zip(np.reshape(points, (-1, 2)).tolist(), scores) for v in (*xy, s)]
    return {"image_id": image, "category_id": 1, "keypoints": values, "score": 0.5}


@pytest.fixture
def load(foxes, tmp_path):
    def load(results, fill=None):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(results))
        files = foxes([annotation(1), annotation(2, image=2)])
        return CocoKeypoints(*files, skeleton=FOX, ignore_results=path, fill_results=fill)

    return load


def test_result_of_a_labelled_instance_is_not_ignored(load):
    data = load([result([*np.add(LABELLED, 1), 25, 25])])
    assert not data[0].ignore.any()
    assert data[0].labelled.tolist() == [True, True, True, False]


def test_results_without_labelled_instance_are_ignored(load):
    data = load([result([44, 4, 60, 20, 44, 20, 50, 12])])
    ignore = data[0].ignore
    assert ignore[4:21, 44:61].all()  # the keypoints and a margin around them
    assert ignore[3, 43]
    assert not ignore[:, :40].any()
    assert not ignore[30:].any()
    assert not data[1].ignore.any()


def test_uncertain_results_have_no_effect(load):
    assert not load([result([44, 4, 60, 20, 44, 20, 50, 12], (0.9, 0.05, 0.05, 0.05))])[
        0
    ].ignore.any()


def test_area_around_labelled_keypoints_is_not_ignored(load):
    ignore = load([result([26, 30, 62, 47, 40, 30, 62, 30])])[0].ignore
    assert ignore[35, 50]
    assert ignore[28, 30]
    assert not ignore[38:43, 28:33].any()  # the labelled paw at (30, 40)


def test_missing_types_are_filled_from_the_matching_result(load):
    other = result([44, 4, 60, 20, 44, 20, 50, 12])
    data = load([other, result([*LABELLED, 25, 25], (0.9, 0.9, 0.9, 0.6))], fill=0.3)
    np.testing.assert_allclose(data[0].keypoints[0, 3], [25, 25, 2])
    assert data[0].labelled.all()
    np.testing.assert_allclose(data[0].keypoints[0, :3, :2].ravel(), LABELLED)
    assert data[1].labelled.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("score", "known"), [(0.2, False), (0.05, True)])
def test_type_below_the_fill_score_is_labelled_only_if_clearly_absent(load, score, known):
    sample = load([result([*LABELLED, 25, 25], (0.9, 0.9, 0.9, score))], fill=0.3)[0]
    np.testing.assert_allclose(sample.keypoints[0, 3], 0)
    assert sample.labelled[3] == known


def test_results_that_match_no_instance_fill_in_no_types(load):
    sample = load([result([44, 4, 60, 20, 44, 20, 50, 12])], fill=0.3)[0]
    assert not sample.labelled[3]
    np.testing.assert_allclose(sample.keypoints[0, 3], 0)


@pytest.mark.parametrize(
    "content", [{}, [{"image_id": 1}], [{"keypoints": [1, 2, 3]}], [{"keypoints": ["x"] * 12}], [3]]
)
def test_files_that_are_not_results_are_refused(load, content):
    with pytest.raises(UserError, match=r"results\.json"):
        load(content)


@pytest.mark.parametrize("number", [None, {}, [1], True, float("nan")])
def test_a_result_without_an_image_id_is_refused(load, number):
    with pytest.raises(UserError, match=r"results\.json: a result has the image_id"):
        load([{**result([0] * 8), "image_id": number}])


def test_image_ids_match_as_numbers_and_as_strings(load):
    values = [44, 4, 60, 20, 44, 20, 50, 12]
    assert load([result(values, image="1")])[0].ignore.any()
    assert load([result(values, image=1.0)])[0].ignore.any()


def test_results_of_other_images_are_refused(load):
    with pytest.raises(UserError, match="none is an image of this set"):
        load([result([0] * 8, image=77)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 2**70])
def test_keypoints_of_results_that_are_not_in_pixels_count_as_missing(load, value):
    data = load([result([value, 4, 60, 20, 44, 20, 50, 12])])
    assert np.isfinite(data[0].keypoints).all()
    assert not data[0].ignore[:, :30].any()
    assert data[0].ignore[15, 50]


def test_keypoints_of_results_must_be_numbers_that_fit(load):
    for value in ("4", None, [1], 10**400):
        row = result([4, 4, 60, 20, 44, 20, 50, 12])
        row["keypoints"][0] = value
        with pytest.raises(UserError, match="a result without 4 keypoints"):
            load([row])
