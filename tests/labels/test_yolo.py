"""YOLO folders and Pascal VOC, as Ultralytics, sleap-io and supervision write them."""

import warnings

import numpy as np
import pytest
import sleap_io as sio
import supervision
from PIL import Image

from lab_files import NAMES, sleap_labels, write_image, write_video, xy_of
from tagwise.errors import UserError
from tagwise.labels import read_labels


def test_yolo_of_sleap_io(tmp_path):
    labels = sleap_labels(write_video(tmp_path / "clip.mp4"))
    labels.videos[0].open()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sio.save_ultralytics(labels, str(tmp_path / "yolo"), split_ratios={"train": 1.0})
    found = read_labels(tmp_path / "yolo")
    category = found.categories[0]
    assert category.keypoints == tuple(NAMES)
    assert category.edges == ((0, 1),)
    assert [image.group for image in found.images] == ["train", "train"]
    first, second = found.images[0].instances
    assert np.allclose(first.keypoints[:, :2], [[4, 2], [30, 20], [40, 40]], atol=0.1)
    assert xy_of(second)[2] is None


def yolo(folder, lines, description="names: [bee]\nkpt_shape: [2, 3]\n"):
    write_image(folder / "images" / "val" / "ü 1.png", (200, 100))
    (folder / "labels" / "val").mkdir(parents=True, exist_ok=True)
    (folder / "labels" / "val" / "ü 1.txt").write_text(lines)
    if description:
        (folder / "data.yaml").write_text("train: images\n" + description, "utf-8")
    return folder


POSE = "0 .5 .5 .2 .2 .5 .5 2 0 0 0"


@pytest.mark.parametrize(
    ("line", "description", "keypoints", "score"),
    [
        (POSE, "names: {0: bee}\nkpt_shape: [2, 3]\n", [[100, 50], None], None),
        (f"{POSE} .7", "names: [bee]\nkpt_shape: [2, 3]\n", [[100, 50], None], 0.7),
        ("0 .5 .5 .2 .2 .5 .5 0 0", "names: [bee]\nkpt_shape: [2, 2]\n", [[100, 50], None], None),
        ("0 .5 .5 .2 .2 .9", "names: [bee]\n", None, 0.9),
        ("0 .5 .5 .2 .2", "", None, None),
    ],
)
def test_lines_of_yolo(line, description, keypoints, score, tmp_path):
    found = read_labels(yolo(tmp_path, line, description))
    instance = found.images[0].instances[0]
    assert found.categories[0].name == ("bee" if description else "class 0")
    assert instance.box == pytest.approx((80, 40, 40, 20))
    assert (instance.keypoints if keypoints is None else xy_of(instance)) == keypoints
    assert instance.score == score
    assert found.images[0].group == "val"


def test_outlines_and_background_of_yolo(tmp_path):
    folder = yolo(tmp_path, "1 0 0 .5 0 .5 1\n", "names: [a, b]\n")
    write_image(folder / "images" / "val" / "empty.png")
    found = read_labels(folder)
    assert found.images[0].instances[0].mask == [[0, 0, 100, 0, 100, 100]]
    assert [len(image.instances) for image in found.images] == [1, 0]
    assert [category.name for category in found.categories] == ["b"]


def test_faulty_yolo(tmp_path):
    found = read_labels(yolo(tmp_path, f"{POSE}\n0 1 2\n0 .5 .5 .2 .2 nan nan 2 0 0 0\n"))
    assert len(found.images[0].instances) == 1
    assert "2 × line of labels cannot be read, left out: ü 1.txt: line 2" in found.describe()[-1]
    for text, words in (("kpt_shape: 3\n", "kpt_shape is 3"), ("names: [\n", "is not YAML")):
        with pytest.raises(UserError, match=words):
            read_labels(yolo(tmp_path, POSE, text))
    with pytest.raises(UserError, match=r"flip_idx is \[1\]"):
        read_labels(yolo(tmp_path, POSE, "kpt_shape: [2, 3]\nflip_idx: [1]\n"))
    with pytest.raises(UserError, match="give the folder that holds"):
        read_labels(tmp_path / "labels" / "val" / "ü 1.txt")


def detections(folder, with_masks):
    """A data set of supervision: two boxes, or masks, on an image of 40 × 30."""
    path = write_image(folder / "photos" / "a.png", (40, 30))
    masks = np.zeros((2, 30, 40), bool)
    masks[0, 5:15, 4:24] = masks[1, 20:28, 30:38] = True
    boxes = np.array([[4, 5, 24, 15], [30, 20, 38, 28]], float)
    each = supervision.Detections(
        boxes, mask=masks if with_masks else None, class_id=np.array([0, 1])
    )
    images = {str(path): np.asarray(Image.open(path))}
    return supervision.DetectionDataset(["cell", "large one"], list(images), {str(path): each})


def test_yolo_of_supervision(tmp_path):
    yaml = tmp_path / "data.yaml"
    data = detections(tmp_path, with_masks=True)
    data.as_yolo(str(tmp_path / "images"), str(tmp_path / "labels"), str(yaml))
    found = read_labels(tmp_path)
    low, high = np.reshape(found.images[0].instances[0].mask[0], (-1, 2)).min(0), (23, 14)
    assert np.allclose(low, (4, 5), atol=0.01)
    assert np.allclose(np.reshape(found.images[0].instances[0].mask[0], (-1, 2)).max(0), high)
    assert [category.name for category in found.categories] == ["cell", "large one"]


def test_voc_of_supervision(tmp_path):
    data = detections(tmp_path, with_masks=False)
    data.as_pascal_voc(str(tmp_path / "images"), str(tmp_path / "voc"))
    found = read_labels(tmp_path / "voc", tmp_path / "images")
    assert [each.box for each in found.images[0].instances] == [(4, 5, 20, 10), (30, 20, 8, 8)]
    assert [each.category for each in found.images[0].instances] == ["cell", "large one"]
    assert found.images[0].path == tmp_path / "images" / "a.png"
    (tmp_path / "voc" / "b.xml").write_text("<annotation><obj")
    (tmp_path / "voc" / "c.xml").write_text(
        "<annotation><object><name>x</name></object></annotation>"
    )
    text = "\n".join(read_labels(tmp_path / "voc", tmp_path / "images").describe())
    assert "1 × file cannot be read, left out" in text
    assert "1 × object without a box, left out: c.xml" in text
