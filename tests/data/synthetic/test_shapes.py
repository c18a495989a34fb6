import cv2
import numpy as np
import pytest

from tagwise.data.boxes import CocoBoxes
from tagwise.data.label_maps import LabelMaps
from tagwise.data.synthetic.shapes import SHAPES, SyntheticShapes, outline
from tagwise.errors import UserError
from tagwise.label_maps import label_map_instances

SMALL = {"size": (160, 120), "count": (4, 12), "radius": (8.0, 25.0)}


@pytest.mark.parametrize("masks", [False, True])
def test_scenes_are_consistent(masks):
    shapes = SyntheticShapes(length=10, masks=masks, **SMALL)
    assert shapes.labels_of_task() == ({} if masks else {"classes": list(SHAPES)})
    for sample in shapes:
        count = len(sample.boxes)
        assert 1 <= count <= 12
        assert sample.image.shape == (120, 160, 3)
        assert sample.keypoints.shape == (count, 0, 3)
        assert sample.classes.shape == sample.areas.shape == (count,)
        assert (sample.areas >= 1).all()
        assert (sample.areas <= sample.boxes[:, 2:].prod(1)).all()
        assert (sample.boxes[:, :2] + sample.boxes[:, 2:] <= [160, 120]).all()
        if masks:
            boxes, areas = label_map_instances(sample.labels)
            np.testing.assert_array_equal(boxes, sample.boxes)
            np.testing.assert_array_equal(areas, sample.areas)
        else:
            assert sample.labels is None


def test_scenes_are_reproducible():
    first, second = (SyntheticShapes(length=4, seed=7, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(first[3].image, second[3].image)
    np.testing.assert_array_equal(first[3].boxes, second[3].boxes)
    assert (first[3].image != first[2].image).any()
    assert (first[3].image != SyntheticShapes(length=4, seed=8, **SMALL)[3].image).any()


def test_almost_hidden_shapes_are_ignored_without_masks():
    scene = {"length": 8, "size": (96, 96), "count": (25, 25), "radius": (8.0, 30.0)}
    ignored = 0
    for every, plain in zip(SyntheticShapes(masks=True, **scene), SyntheticShapes(**scene)):
        np.testing.assert_array_equal(every.image, plain.image)
        kept = {tuple(box) for box in plain.boxes}
        for box in every.boxes:
            if tuple(box) not in kept:
                x, y, w, h = box.astype(int)
                assert plain.ignore[y : y + h, x : x + w].all()
                ignored += 1
    assert ignored > 5


def test_outlines_match_their_shape():
    """Compare the fraction of its smallest rotated rectangle that each shape fills."""
    rng = np.random.default_rng(0)
    fills = {
        "disc": (0.76, 0.8),
        "ellipse": (0.76, 0.8),
        "rectangle": (0.99, 1),
        "star": (0.3, 0.5),
    }
    for name, (low, high) in fills.items():
        for _ in range(20):
            corners = outline(rng, name).astype(np.float32)
            assert np.hypot(*corners.T).max() == pytest.approx(1, abs=1e-6)
            _, sides, _ = cv2.minAreaRect(corners)
            assert low < cv2.contourArea(corners) / np.prod(sides) < high + 1e-5
            assert (min(sides) / max(sides) > 0.95) == (
                name in ("disc", "star")
            ) or name == "rectangle"


@pytest.mark.parametrize(("close", "least", "most"), [(1.0, 0.9, 1), (0.0, 0, 0.4)])
def test_close_shapes_touch(close, least, most):
    options = {"size": (512, 512), "count": (5, 5), "radius": (20.0, 20.0), "close": close}
    touching = []
    for sample in SyntheticShapes(("disc",), length=8, masks=True, **options):
        for n in range(1, len(sample.boxes) + 1):
            around = cv2.dilate(np.uint8(sample.labels == n), np.ones((3, 3))) > 0
            touching.append(not set(np.unique(sample.labels[around])) <= {0, n})
    assert least <= np.mean(touching) <= most


def test_scenes_may_be_empty():
    sample = SyntheticShapes(length=1, size=(32, 32), count=(0, 0), masks=True)[0]
    assert sample.boxes.shape == (0, 4)
    assert not sample.labels.any()


def test_saved_scenes_load_as_boxes_and_label_maps(tmp_path):
    shapes = SyntheticShapes(length=3, masks=True, **SMALL)
    path = shapes.save(tmp_path)
    boxes, maps = (
        CocoBoxes(path, tmp_path / "images"),
        LabelMaps(tmp_path / "images", tmp_path / "labels"),
    )
    assert boxes.report == maps.report == []
    assert boxes.classes == SHAPES
    for index, sample in enumerate(shapes):
        np.testing.assert_array_equal(boxes[index].image, sample.image)
        np.testing.assert_array_equal(boxes[index].boxes, sample.boxes)
        np.testing.assert_array_equal(boxes[index].classes, sample.classes)
        np.testing.assert_array_equal(maps[index].labels, sample.labels)


def test_unknown_shapes_are_refused():
    with pytest.raises(UserError, match="did you mean 'disc'"):
        SyntheticShapes(("disk",))
