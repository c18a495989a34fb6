"""Labels of real laboratories, with videos and images elsewhere or missing."""

import json

import numpy as np
import pytest

from tagwise.errors import UserError
from tagwise.labels import read_labels, write_coco


@pytest.fixture
def lab_files(shared):
    return shared / "data" / "lab_files"


def test_deeplabcut_project(lab_files):
    folder = lab_files / "deeplabcut" / "openfield"
    found = read_labels(folder)
    assert found.categories[0].keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert (len(found.images), sum(image.found for image in found.images)) == (116, 38)
    assert np.allclose(found.images[0].instances[0].keypoints[0], (21.521, 265.428, 2))
    file = next(folder.rglob("*.h5"))  # pandas' "table" format
    for a, b in zip(found.images, read_labels(file).images, strict=True):
        assert np.allclose(a.instances[0].keypoints, b.instances[0].keypoints)


@pytest.mark.parametrize(
    ("name", "frames"), [("dance.mp4.labels.slp", 3), ("small_robot_minimal.slp", 2)]
)
def test_sleap_files(name, frames, lab_files, tmp_path):
    """Their videos lie in a subfolder; the paths inside are those of other machines."""
    files = write_coco(read_labels(lab_files / "sleap" / name).labelled(), tmp_path)
    content = json.loads(files.annotations.read_text())
    assert len(content["images"]) == len(list(files.images.iterdir())) == frames


def test_sleap_file_whose_video_has_another_name(lab_files, tmp_path):
    path = lab_files / "sleap" / "minimal_instance.slp"
    with pytest.raises(UserError, match=r"centered_pair_low_quality.mp4.*--images"):
        write_coco(read_labels(path), tmp_path)
    video = lab_files / "sleap" / "videos" / "centered_pair_small.mp4"
    assert write_coco(read_labels(path, video), tmp_path).annotations.is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken.json", "is not JSON"),
        ("cvat.xml", r"none of the images .*a\.jpg"),
        ("dlc.csv", r"none of the images .*img0\.png"),
        ("dlc.h5", "cannot read"),
        ("labelme.json", r"none of the images .*a\.jpg"),
        ("labelstudio.json", "the size of the image is not stated"),
        ("x.slp", "damaged or from another version"),
        ("yolo", r"image file not found.*a\.jpg"),
    ],
)
def test_small_files(name, words, shared, tmp_path):
    with pytest.raises(UserError, match=words):
        write_coco(read_labels(shared / "cases" / "labels" / "label_formats" / name), tmp_path)
