"""COCO files and their variants."""

import json

import pytest

from lab_files import write_image
from tagwise.errors import UserError
from tagwise.labels import read_labels, write_coco

KEYPOINTS = [10.0, 12.0, 2, 30.0, 24.0, 1]


def coco(folder, keypoints=KEYPOINTS, file="a b/ü.jpg", **annotation):
    content = {
        "images": [{"id": 7, "file_name": file, "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "keypoints": keypoints, **annotation}
        ],
        "categories": [{"id": 3, "name": "bee", "keypoints": ["head", "tail"], "sigmas": [1, 2]}],
    }
    folder.mkdir(exist_ok=True)
    path = folder / "labels.json"
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize(
    ("keypoints", "expected"),
    [
        (KEYPOINTS, KEYPOINTS),
        ([KEYPOINTS[:3], KEYPOINTS[3:]], KEYPOINTS),
        ([10, 12, 30, 24], [10, 12, 2, 30, 24, 2]),
        ([10 / 64, 12 / 48, 2, 30 / 64, 24 / 48, 1], KEYPOINTS),
    ],
)
def test_variants_of_keypoints(keypoints, expected, tmp_path):
    write_image(tmp_path / "a b" / "ü.jpg")
    files = write_coco(read_labels(coco(tmp_path, keypoints)), tmp_path / "out")
    content = json.loads(files.annotations.read_text("utf-8"))
    assert content["annotations"][0]["keypoints"] == pytest.approx(expected)
    assert content["categories"][0]["sigmas"] == [1, 2]
    assert (files.images / content["images"][0]["file_name"]).is_file()


def test_images_can_stay_where_they_are(tmp_path):
    photo = write_image(tmp_path / "photos" / "a b" / "ü.jpg")
    found = read_labels(coco(tmp_path / "labels"), tmp_path / "photos")
    files = write_coco(found, tmp_path / "out", copy=False)
    content = json.loads(files.annotations.read_text("utf-8"))
    assert files.images / content["images"][0]["file_name"] == photo
    assert not (tmp_path / "out" / "images").exists()


def test_masks_and_boxes_stay(tmp_path):
    write_image(tmp_path / "a b" / "ü.jpg")
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    path = coco(tmp_path, None, segmentation=square, track_id=4)
    annotation = json.loads(write_coco(read_labels(path), tmp_path / "o").annotations.read_text())[
        "annotations"
    ][0]
    assert annotation["segmentation"] == square
    assert (annotation["bbox"], annotation["area"]) == ([10, 10, 10, 10], 100)
    assert annotation["track_id"] == 4
    assert "keypoints" not in annotation


def test_images_that_cannot_be_used_are_listed(tmp_path):
    path = coco(tmp_path, file="small.png")
    write_image(tmp_path / "small.png", size=(8, 8))
    with pytest.raises(UserError, match=r"another size than its labels say.*8×8 instead of 64×48"):
        write_coco(read_labels(path), tmp_path / "out")
    (tmp_path / "small.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="cannot be read"):
        write_coco(read_labels(path), tmp_path / "out")


def test_names_in_several_folders(tmp_path):
    """The file that shares the most folders with the name; none if that is not clear."""
    write_image(tmp_path / "x" / "day1" / "a.png")
    write_image(tmp_path / "x" / "day2" / "a.png")
    path = coco(tmp_path, file="C:\\data\\day2\\a.png")
    assert read_labels(path).images[0].path == tmp_path / "x" / "day2" / "a.png"
    unclear = read_labels(coco(tmp_path, file="C:\\data\\a.png"))
    assert unclear.images[0].path is None
    assert "image file not found" in unclear.describe()[-1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [', "is not JSON"),
        ('{"images": [], "annotations": [], "categories": []}', "no labelled instance"),
        ('{"images": 1, "annotations": []}', "not a COCO annotation file"),
        ("[]", "not a file of labels"),
        ("", "empty"),
    ],
)
def test_faulty_files(content, words, tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        read_labels(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="no such labels"):
        read_labels(tmp_path / "none.slp")
    with pytest.raises(UserError, match="contains no labels"):
        read_labels(tmp_path)
    with pytest.raises(UserError, match="no such folder of images"):
        read_labels(coco(tmp_path), tmp_path / "none")
