import pickle
import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
from foxes_labels import annotation

from tagwise.data.augment import Augment
from tagwise.data.coco import CocoKeypoints
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.data.training_set import TrainingSet
from tagwise.data.transforms import Affine, fit_affine
from tagwise.errors import UserError
from tagwise.label_maps import label_map_instances
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton

BUSY = Augment(mosaic=0.4, paste=0.6, focus=0.5, blur=0.3, noise=0.3)


@pytest.fixture
def data(foxes):
    return CocoKeypoints(*foxes([annotation(1), annotation(2, image=2)], images=4))


def same(first, second):
    for field in fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_samples_have_consistent_shapes_and_types(data):
    training = TrainingSet([data], augment=BUSY, input_size=(96, 64), length=50)
    assert len(training) == 50
    for number in range(50):
        sample = training[number]
        assert sample.image.shape == (64, 96, 3)
        assert sample.image.dtype == np.uint8
        assert sample.ignore.shape == (64, 96)
        assert sample.ignore.dtype == bool
        count = len(sample.keypoints)
        assert sample.boxes.shape == (count, 4)
        assert sample.areas.shape == (count,)
        has = sample.keypoints[..., 2] > 0
        assert has.any(1).all()
        xy = sample.keypoints[has, :2]
        assert (xy >= -0.5).all()
        assert (xy < [95.5, 63.5]).all()


def test_samples_depend_only_on_their_number(data):
    first = TrainingSet([data], augment=BUSY, input_size=(64, 64), seed=3)
    second = TrainingSet([data], augment=BUSY, input_size=(64, 64), seed=3, cache_bytes=0)
    ahead = [first[number] for number in range(12)]
    for number in reversed(range(12)):
        same(second[number], ahead[number])
        same(first[number], ahead[number])
    same(pickle.loads(pickle.dumps(first))[5], ahead[5])


def test_different_seeds_and_numbers_give_different_samples(data):
    training = TrainingSet([data], augment=BUSY, input_size=(64, 64), seed=1)
    other = TrainingSet([data], augment=BUSY, input_size=(64, 64), seed=2)
    assert (training[0].image != training[1].image).any()
    assert (training[0].image != other[0].image).any()


def test_samples_are_only_fitted_without_augmentation(data):
    training = TrainingSet([data], augment=Augment.none(), input_size=(128, 128))
    numbers = [n for n in range(20) if len(training[n].keypoints)]
    affine, _ = fit_affine((64, 48), (128, 128))
    expected = affine.points(np.array([[20.0, 10], [30, 40], [12, 40]]))
    assert numbers
    for number in numbers:
        np.testing.assert_allclose(training[number].keypoints[0, :, :2], expected, atol=1e-4)


@pytest.mark.parametrize("masks", [False, True])
def test_samples_of_boxes_and_masks_are_consistent(masks):
    augment = replace(BUSY, quarter=0.6, rotate=20.0)
    shapes = SyntheticShapes(length=6, size=(128, 96), radius=(6, 30), masks=masks)
    training = TrainingSet([shapes], augment=augment, input_size=(96, 64), seed=3)
    other = TrainingSet([shapes], augment=augment, input_size=(96, 64), seed=3, cache_bytes=0)
    for number in range(30):
        sample = training[number]
        same(other[number], sample)
        count = len(sample.boxes)
        assert sample.keypoints.shape == (count, 0, 3)
        assert sample.classes.shape == sample.areas.shape == (count,)
        assert (sample.boxes[:, :2] >= 0).all()
        assert (sample.boxes[:, :2] + sample.boxes[:, 2:] <= np.float32([96, 64]) + 1e-4).all()
        assert (sample.boxes[:, 2:] > 0).all()
        if masks:
            boxes, areas = label_map_instances(sample.labels)
            np.testing.assert_array_equal(boxes, sample.boxes)
            np.testing.assert_array_equal(areas, sample.areas)
            assert not sample.ignore.any()
        else:
            assert sample.labels is None


def test_weights_set_the_frequency_of_each_dataset():
    few = SyntheticPoses(length=2, size=(48, 48), seed=1)
    many = SyntheticPoses(length=50, size=(48, 48), seed=2)
    many.labelled[0] = False  # distinguishes the two datasets
    for weights, expected in (([3.0, 1.0], 0.25), (None, 50 / 52), ([1.0, 0.0], 0.0)):
        training = TrainingSet([few, many], weights, Augment.none(), (32, 32), seed=5)
        share = np.mean([not training[number].labelled[0] for number in range(120)])
        assert abs(share - expected) < 0.13
    assert len(training) == 52


def test_images_are_cached_at_the_needed_resolution():
    scenes = SyntheticPoses(length=3, size=(400, 300), people=(2, 2))
    training = TrainingSet([scenes], augment=Augment.none(), input_size=(100, 100))
    plain = training._source(0, 1)
    assert plain.image.shape == (75, 100, 3)
    expected = Affine.scaling(0.25).points(scenes[1].keypoints[..., :2])
    has = scenes[1].keypoints[..., 2] > 0
    np.testing.assert_allclose(plain.keypoints[has, :2], expected[has], atol=1e-3)
    closer = TrainingSet(
        [scenes], augment=replace(Augment.none(), scale=(1, 2)), input_size=(100, 100)
    )
    assert closer._source(0, 1).image.shape == (150, 200, 3)


def test_quarter_turns_may_need_a_higher_resolution():
    scenes = SyntheticShapes(length=1, size=(400, 100))
    upright = TrainingSet([scenes], augment=Augment.none(), input_size=(50, 200))
    turned = TrainingSet(
        [scenes], augment=replace(Augment.none(), quarter=0.5), input_size=(50, 200)
    )
    assert upright._source(0, 0).image.shape == (13, 50, 3)
    assert turned._source(0, 0).image.shape == (50, 200, 3)


def test_cache_size_is_limited():
    scenes = SyntheticPoses(length=20, size=(64, 64))
    each = 64 * 64 * 4  # three colour channels and the ignore mask
    training = TrainingSet([scenes], augment=BUSY, input_size=(64, 64), cache_bytes=5 * each + 7)
    for number in range(40):
        training[number]
    assert len(training._cache) == 5


def test_broken_images_are_replaced_and_reported_once(foxes):
    path, folder = foxes([annotation(1), annotation(2, image=2)], images=4)
    data = CocoKeypoints(path, folder)
    (folder / "2.png").write_bytes(b"\x89PNG broken")
    training = TrainingSet([data], augment=Augment.none(), input_size=(64, 64))
    with pytest.warns(UserWarning, match=r"2\.png") as caught:
        ids = {training[number].image_id for number in range(40)}
    assert ids == {1, 3, 4}
    assert len(caught) == len(training.report) == 1
    assert "2.png" in str(training.report[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = TrainingSet([data], augment=Augment.none(), input_size=(64, 64))
        for number in reversed(range(40)):
            same(again[number], training[number])


def test_dataset_of_broken_images_raises_user_error(foxes):
    path, folder = foxes([annotation(1)])
    data = CocoKeypoints(path, folder)
    for file in folder.iterdir():
        file.write_bytes(b"")
    training = TrainingSet([data], input_size=(64, 64))
    with (
        pytest.warns(UserWarning, match="empty"),
        pytest.raises(UserError, match="20 images in a row"),
    ):
        training[0]


def test_datasets_with_different_names_are_refused():
    with pytest.raises(UserError, match="mapping of names"):
        TrainingSet([SyntheticPoses(COCO17, 2), SyntheticPoses(CROWDPOSE14, 2)])
    shapes = SyntheticShapes(length=2)
    for other in (SyntheticShapes(("star",), 2), SyntheticShapes(length=2, masks=True)):
        with pytest.raises(UserError, match=r"classes \(disc, ellipse, rectangle, star\).*classes"):
            TrainingSet([shapes, other])
    with pytest.raises(UserError, match="at least one"):
        TrainingSet([])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_invalid_weights_are_refused(weights):
    scenes = SyntheticPoses(Skeleton("x", ("a", "b"), ((0, 1),)), 2)
    with pytest.raises(UserError, match="weights"):
        TrainingSet([scenes, scenes], weights)
