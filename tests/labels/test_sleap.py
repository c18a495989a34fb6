"""SLEAP files, made by sleap-io."""

import json
import sys

import numpy as np
import pytest
import sleap_io as sio

from lab_files import NAMES, grey_of, save_sleap, sleap_labels, write_image, write_video
from tagwise.data import CocoKeypoints
from tagwise.errors import UserError
from tagwise.labels import read_labels, write_coco


@pytest.fixture(autouse=True)
def without_ffmpeg(monkeypatch):
    """The wheel imageio-ffmpeg holds a program under the GPL, which tagwise does not need."""
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # an import of it fails


def test_frames_and_keypoints_of_a_video(tmp_path):
    video = write_video(tmp_path / "Maus 1.mp4")
    path = save_sleap(sleap_labels(video), tmp_path / "labels.slp")
    files = write_coco(read_labels(path), tmp_path / "out")
    content = json.loads(files.annotations.read_text("utf-8"))
    assert [image["frame"] for image in content["images"]] == [3, 7]
    assert len({image["video"] for image in content["images"]}) == 1
    for image in content["images"]:
        assert grey_of(files.images / image["file_name"]) == pytest.approx(
            16 * image["frame"], abs=2
        )
        assert (image["width"], image["height"]) == (64, 48)
    category = content["categories"][0]
    assert (category["name"], category["keypoints"]) == ("mouse", NAMES)
    assert (category["skeleton"], category["flip_idx"]) == ([[1, 2]], [0, 2, 1])
    first, second = content["annotations"][:2]
    assert first["keypoints"] == [4, 2, 2, 30, 20, 2, 40, 40, 2]
    assert second["keypoints"] == [5, 6, 2, 8, 9, 2, 0, 0, 0]
    assert first["bbox"] == [4, 2, 36, 38]
    data = CocoKeypoints(files.annotations, files.images)
    assert len(data) == 2
    assert data[0].keypoints.shape == (2, 3, 3)
    assert not data.report


def test_frames_inside_the_file(tmp_path):
    video = write_video(tmp_path / "video.mp4")
    labels = sleap_labels(video)
    labels.videos[0].open_backend = True
    path = save_sleap(labels, tmp_path / "a.pkg.slp", embed="user")
    video.unlink()
    files = write_coco(read_labels(path), tmp_path / "out")
    names = sorted(path.name for path in files.images.iterdir())
    assert names == ["video-000003.png", "video-000007.png"]
    assert grey_of(files.images / names[1]) == pytest.approx(112, abs=2)


@pytest.mark.parametrize("folder", ["/labs/mouse/videos/", "C:\\Users\\lab\\videos\\", "../x/"])
def test_video_of_another_machine_is_found_by_name(folder, tmp_path):
    write_video(_made(tmp_path / "raw" / "day 1") / "clip.mp4")
    path = save_sleap(sleap_labels(f"{folder}clip.mp4"), tmp_path / "labels.slp")
    found = read_labels(path)
    assert {image.path for image in found.images} == {tmp_path / "raw" / "day 1" / "clip.mp4"}
    assert not found.problems


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def test_missing_video_is_listed_and_can_be_given(tmp_path):
    path = save_sleap(sleap_labels("/lab/clip.mp4"), _made(tmp_path / "labels") / "a.slp")
    found = read_labels(path)
    assert "video not found (give its folder with --images)" in found.describe()[-1]
    assert "clip.mp4: 2 frames" in found.describe()[-1]
    with pytest.raises(UserError, match=r"none of the images and videos .*clip.mp4.*--images"):
        write_coco(found, tmp_path / "out")
    other = write_video(_made(tmp_path / "elsewhere") / "renamed.mp4")
    for given in (other, other.rename(other.with_name("clip.mp4")).parent):
        given = given if given.exists() else other.with_name("clip.mp4")
        assert all(image.found for image in read_labels(path, given).images)


def test_video_that_is_too_short(tmp_path):
    video = write_video(tmp_path / "clip.mp4", frames=5)
    found = read_labels(save_sleap(sleap_labels(video), tmp_path / "a.slp"))
    files = write_coco(found, tmp_path / "out")
    assert len(json.loads(files.annotations.read_text())["images"]) == 1
    assert "does not contain the labelled frame" in found.describe()[-1]
    assert "frame 7" in found.describe()[-1]


def test_images_of_a_folder(tmp_path):
    names = [str(write_image(tmp_path / f"{n}.png", value=9 * n)) for n in range(9)]
    labels = sleap_labels(names)
    found = read_labels(save_sleap(labels, tmp_path / "a.slp"))
    assert [image.path.name for image in found.images] == ["3.png", "7.png"]
    assert [image.frame for image in found.images] == [None, None]


def test_labels_of_people_are_preferred_to_predictions(tmp_path):
    labels = sleap_labels(write_video(tmp_path / "clip.mp4"), frames=(1, 2))
    skeleton, points = labels.skeletons[0], np.ones((3, 2))
    predicted = sio.PredictedInstance.from_numpy(points, skeleton=skeleton, score=0.5)
    labels.labeled_frames[1].instances = [predicted]
    found = read_labels(save_sleap(labels, tmp_path / "a.slp"))
    assert found.images[1].instances[0].score == 0.5
    kept = found.labelled()
    assert [image.frame for image in kept.images] == [1]
    assert "left out 1 predicted instances and 1 images that have no others" in kept.notes[0]
    labels.labeled_frames = labels.labeled_frames[1:]
    only = read_labels(save_sleap(labels, tmp_path / "b.slp"))
    assert only.labelled().counts() == {"mouse": 1}


def test_two_skeletons(tmp_path):
    labels = sleap_labels(write_video(tmp_path / "clip.mp4"), name="fly")
    other = sio.Skeleton(["nose"], name="fly")
    instance = sio.Instance.from_numpy(np.ones((1, 2)), other)
    labels.labeled_frames[0].instances.append(instance)
    path = save_sleap(sio.Labels(labels.labeled_frames), tmp_path / "a.slp")
    found = read_labels(path)
    assert [category.name for category in found.categories] == ["fly", "fly 2"]
    assert read_labels(path, category="fly 2").counts() == {"fly 2": 1}
    with pytest.raises(UserError, match="did you mean 'fly 2'"):
        read_labels(path, category="fly2")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_file(part, tmp_path):
    path = save_sleap(sleap_labels("clip.mp4"), tmp_path / "a.slp")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r"a\.slp"):
        read_labels(path)


def test_file_of_a_newer_version(tmp_path):
    import h5py

    path = save_sleap(sleap_labels("clip.mp4"), tmp_path / "a.slp")
    with h5py.File(path, "a") as file:
        file["metadata"].attrs["format_id"] = 99.0
    with pytest.raises(UserError, match="another version"):
        read_labels(path)


def test_file_without_labels(tmp_path):
    path = save_sleap(sio.Labels(skeletons=[sio.Skeleton(["a"])]), tmp_path / "a.slp")
    with pytest.raises(UserError, match="has no labelled instance"):
        read_labels(path)
