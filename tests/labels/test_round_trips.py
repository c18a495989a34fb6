"""Labels and predictions in the formats of other programs, and back."""

import csv
import json
import random
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import sleap_io as sio
import yaml

import tagwise
from lab_files import NAMES, save_sleap, sleap_labels, write_image, write_video
from tagwise.errors import UserError
from tagwise.labels import Category, Instance, LabelledImage, LabelSet, read_labels, write_labels
from tagwise.prediction.video import Video
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton
from tagwise.tracking.outputs import Tracked, TrackFiles

SKELETON = Skeleton("mouse", ("nose", "left_ear", "right_ear"), ((0, 1), (0, 2)))


def label_set(folder, predicted=False):
    """Two images of one size in two folders: two mice on the first, one on the second."""
    category = Category("mouse", tuple(NAMES), ((0, 1),), ((1, 2),))
    score = 0.75 if predicted else None
    points = np.array([[10.0, 12, 2], [20.5, 14, 2], [30, 40, 2]])
    hidden = np.array([[40.0, 30, 2], [50, 31, 2], [0, 0, 0]])
    images = []
    for number, day in enumerate(("a", "b")):
        path = write_image(folder / day / "photo.png")
        moved = np.add(points, (number, 0, 0))
        instances = [Instance("mouse", moved, score=score, track="anna")]
        instances += [Instance("mouse", hidden, score=score, track="berta")] if not number else []
        images.append(LabelledImage(str(path), path, None, 64, 48, day, instances=instances))
    return LabelSet(folder, "a test", [category], images)


def points_of(found):
    return [
        [np.round(each.keypoints, 1).tolist() for each in image.instances]
        for image in sorted(found.images, key=lambda image: -len(image.instances))
    ]


@pytest.mark.parametrize("predicted", [False, True])
@pytest.mark.parametrize("to", ["coco", "sleap", "deeplabcut", "yolo", "labelstudio"])
def test_what_is_written_can_be_read(to, predicted, tmp_path):
    found = label_set(tmp_path / "photos", predicted)
    out = tmp_path / ("out.slp" if to == "sleap" else "out")
    path = write_labels(found, to, out)
    again = read_labels(path / "tasks.json" if to == "labelstudio" else path)
    assert points_of(again) == points_of(found)
    category = again.categories[0]
    assert (category.name, category.keypoints) == ("mouse", tuple(NAMES))
    if to in ("coco", "sleap", "yolo"):
        assert (category.edges, category.pairs) == (((0, 1),), ((1, 2),))
    if to in ("coco", "sleap", "labelstudio"):
        scores = {each.score for image in again.images for each in image.instances}
        assert scores == {0.75 if predicted else None}
    if to in ("coco", "sleap", "deeplabcut"):
        tracks = sorted(each.track for image in again.images for each in image.instances)
        assert tracks == ["anna", "anna", "berta"]
    assert all(image.found for image in again.images)


def test_other_libraries_read_what_is_written(tmp_path):
    found = label_set(tmp_path / "photos", predicted=True)
    labels = sio.load_slp(str(write_labels(found, "sleap", tmp_path / "out.slp")))
    assert [len(frame.predicted_instances) for frame in labels] == [2, 1]
    assert labels.videos[0][0].shape == (48, 64, 3)
    assert len(labels.tracks) == 2
    csvs = sorted(write_labels(found, "deeplabcut", tmp_path / "dlc").rglob("*.csv"))
    table = sio.load_dlc(str(csvs[0]))
    assert table[0].instances[0].numpy()[:1].tolist() == [[10, 12]]
    folder = write_labels(found, "yolo", tmp_path / "yolo")
    assert len(sio.load_ultralytics(str(folder), split="train")) == 2
    config = yaml.safe_load((folder / "data.yaml").read_text("utf-8"))
    assert (config["kpt_shape"], config["flip_idx"]) == ([3, 3], [0, 2, 1])


@pytest.mark.parametrize("predicted", [False, True])
def test_tables(predicted, tmp_path):
    found = label_set(tmp_path / "photos", predicted)
    rows = pyarrow.parquet.read_table(write_labels(found, "parquet", tmp_path / "t.parquet"))
    rows = rows.to_pylist()
    with write_labels(found, "csv", tmp_path / "t.csv").open(encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert [row["track"] for row in rows] == ["anna", "berta", "anna"]
    assert [row["instance"] for row in rows] == [0, 1, 0]
    assert [row["尾.x"] for row in rows] == [30, None, 31]
    assert [row["尾.x"] for row in cells] == ["30.0", "", "31.0"]
    assert rows[0]["score"] == (0.75 if predicted else None)
    assert (rows[0]["box_x"], rows[0]["box_width"]) == (10, 20)
    assert ("尾.visibility" in rows[0]) != predicted


@pytest.mark.parametrize("to", ["coco", "yolo", "labelstudio", "csv"])
def test_boxes_and_masks(to, tmp_path):
    found = label_set(tmp_path / "photos")
    square = [[10.0, 10, 20, 10, 20, 20, 10, 20]]
    found.categories = [Category("cell"), Category("dot")]
    found.images[0].instances = [Instance("cell", mask=square), Instance("cell", mask=square)]
    found.images[1].instances = [Instance("dot", mask=square)]
    path = write_labels(found, to, tmp_path / ("t.csv" if to == "csv" else "out"))
    if to == "csv":
        assert "cell,,,10.0,10.0,10.0,10.0,100.0" in path.read_text()
        return
    again = read_labels(path / "tasks.json" if to == "labelstudio" else path)
    assert again.counts() == {"cell": 2, "dot": 1}
    for image in again.images:
        assert all(np.allclose(each.mask, square, atol=0.01) for each in image.instances)
    for format in ("sleap", "deeplabcut"):
        with pytest.raises(UserError, match="has no keypoints"):
            write_labels(found, format, tmp_path / "out.slp")


def test_only_one_category_fits(tmp_path):
    found = label_set(tmp_path / "photos")
    found.categories.append(Category("lamp", ("top",)))
    found.images[0].instances.append(Instance("lamp", np.array([[1.0, 2, 2]])))
    for to in ("yolo", "deeplabcut"):
        write_labels(found, to, tmp_path / to)
        assert "only mouse is written (choose with --category): lamp: 1" in found.describe()[-1]
        found.problems.clear()
    again = read_labels(write_labels(found, "sleap", tmp_path / "a.slp"))
    assert again.counts() == {"mouse": 3, "lamp": 1}


def test_images_of_one_name_stay_apart(tmp_path):
    found = label_set(tmp_path / "photos")
    other = write_image(tmp_path / "photos" / "a" / "photo.jpg")
    found.images.append(replace(found.images[1], path=other))
    folder = write_labels(found, "yolo", tmp_path / "yolo")
    assert len(list((folder / "images").iterdir())) == 3
    assert len(list((folder / "labels").iterdir())) == 3


def damaged(text, rng):
    """The text cut off, with another value, or with other bytes."""
    values = list(re.finditer(r'-?\d+\.?\d*|"[^"]*"', text))
    cut = rng.randrange(len(text))
    start, end = rng.choice(values).span() if values else (cut, cut)
    other = rng.choice(["null", "{}", "[]", '"x"', "-1", "1e999", "nan", "", "7"])
    return rng.choice([text[:cut], text[:start] + other + text[end:], text[cut:] + text[:cut]])


@pytest.mark.parametrize(
    ("to", "file"),
    [
        ("coco", "labels.json"),
        ("yolo", "data.yaml"),
        ("yolo", "labels/a_photo.txt"),
        ("labelstudio", "tasks.json"),
        ("deeplabcut", "labeled-data/a/CollectedData_tagwise.csv"),
        ("deeplabcut", "config.yaml"),
    ],
)
def test_damaged_files_give_one_line(to, file, tmp_path):
    out = tmp_path / "out"
    write_labels(label_set(tmp_path / "photos"), to, out)
    text, rng, lines = (out / file).read_text("utf-8"), random.Random(0), []
    for _ in range(30):
        (out / file).write_text(damaged(text, rng), "utf-8")
        try:
            found = read_labels(out / file if to in ("coco", "labelstudio") else out)
            write_labels(found, "csv", tmp_path / "t.csv")
            write_labels(found, "sleap", tmp_path / "t.slp")
        except UserError as error:
            lines.append(str(error))
        else:
            lines += found.describe()
    assert not [line for line in lines if "\n" in line]
    assert not [line for line in lines if "another version" in line]  # of errors not foreseen


# ---------------------------------------------------------------------- predictions


def poses(file, score=0.5):
    keypoints = np.array([[[5, 6, 0.9], [7, 8, 0.8], [np.nan, np.nan, 0]]])
    return Poses(keypoints, [score], None, SKELETON, str(file), 64, 48, model="mice")


def save(folder, name, result):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.predictions.json"
    path.write_text(json.dumps(result.to_dict()))
    return path


@pytest.mark.parametrize("to", ["sleap", "labelstudio", "csv"])
def test_predictions_go_back(to, tmp_path):
    photo = write_image(tmp_path / "photo.png")
    path = save(tmp_path / "found", "photo", poses(photo))
    suffix = {"sleap": ".slp", "csv": ".csv"}.get(to, "")
    for source in (path, path.parent):
        out = tagwise.convert(source, to=to, out=tmp_path / f"{source.stem}{suffix}")
        if to == "csv":
            assert "nose.score" in out.read_text().splitlines()[0]
            continue
        again = read_labels(out / "tasks.json" if to == "labelstudio" else out)
        instance = again.images[0].instances[0]
        assert instance.score == pytest.approx(0.5)
        assert again.images[0].path.name == "photo.png"
        assert instance.keypoints[0].tolist() == pytest.approx([5, 6, 2])


def test_predicted_boxes_and_masks(tmp_path):
    photo = write_image(tmp_path / "a.png", (8, 6))
    boxes = Boxes([[1, 2, 3, 4]], [0.9], [1], ("x", "y z"), file=str(photo), width=8, height=6)
    found = read_labels(save(tmp_path / "boxes", "a", boxes))
    assert found.counts() == {"y z": 1}
    assert found.images[0].instances[0].box == (1, 2, 3, 4)
    labels = np.zeros((6, 8), np.int32)
    labels[1:3, 2:6] = 1
    masks = Masks(labels, [0.9], None, file=str(photo), width=8, height=6)
    folder = tagwise.convert(save(tmp_path / "masks", "a", masks), to="yolo", out=tmp_path / "y")
    outline = read_labels(folder).images[0].instances[0].mask[0]
    assert np.reshape(outline, (-1, 2)).min(0) == pytest.approx((2, 1), abs=0.01)


def test_frames_of_a_video_are_named_by_the_journal(tmp_path):
    video = write_video(tmp_path / "clip.mp4")
    folder = tmp_path / "found"
    save(folder, "clip-000004", replace(poses(""), file=None))
    assert read_labels(folder, tmp_path).images[0].frame == 4
    assert read_labels(folder, tmp_path).images[0].path == video
    row = {"name": "clip-000004", "source": [str(video), 1, 2, 4]}
    (folder / ".tagwise-predict.jsonl").write_text(f'{{"settings": {{}}}}\n{json.dumps(row)}\n')
    found = read_labels(folder)
    assert (found.images[0].path, found.images[0].frame) == (video, 4)


@pytest.mark.parametrize("file", [None, "clip.mp4"])
def test_tracks_go_to_sleap(file, tmp_path):
    video = Video(write_video(tmp_path / "clip.mp4"))
    with TrackFiles(video, tmp_path, pictures=False, fill=0).opened() as write:
        for n in range(3):
            result = replace(poses(""), file=file)
            write(Tracked(n, n / 25, result, np.array([1])), np.zeros((48, 64, 3), np.uint8))
    out = tagwise.convert(tmp_path / "clip.tracks.jsonl", to="sleap", out=tmp_path / "clip.slp")
    labels = sio.load_slp(str(out))
    assert [track.name for track in labels.tracks] == ["1"]
    assert [frame.frame_idx for frame in labels] == [0, 1, 2]
    assert labels.videos[0].filename == str(video.path)
    (tmp_path / "clip.tracks.jsonl").write_text('{"frame": 1, "ti')
    with pytest.raises(UserError, match="damaged in line 1"):
        read_labels(tmp_path / "clip.tracks.jsonl")


def test_coco_results_need_their_annotations(tmp_path):
    found = label_set(tmp_path / "photos")
    annotations = write_labels(found, "coco", tmp_path / "truth")
    content = json.loads(annotations.read_text("utf-8"))
    rows = [
        {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.9] * 3, "score": 0.4},
        {"image_id": 99, "category_id": 1, "keypoints": [1, 2, 0.9] * 3, "score": 0.4},
    ]
    path = tmp_path / "val.results.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(UserError, match="--annotations"):
        read_labels(path)
    out = tagwise.convert(path, to="sleap", out=tmp_path / "a.slp", annotations=annotations)
    again = read_labels(out)
    assert [each.score for each in again.images[0].instances] == [pytest.approx(0.4)]
    assert len(content["images"]) == 2


# ---------------------------------------------------------------------- the verb


def test_default_names_and_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = save_sleap(sleap_labels(write_video(tmp_path / "clip.mp4")), tmp_path / "my labels.slp")
    assert str(tagwise.convert(path)) == "my labels_coco/labels.json"
    text = capsys.readouterr().err
    assert "my labels.slp is a SLEAP file: 2 frames in 1 group, 4 instances" in text
    assert "3 keypoint types: head, tail tip, 尾; left/right pairs: tail tip and 尾" in text
    assert str(tagwise.convert(path, to="csv")) == "my labels.csv"
    assert str(tagwise.convert(path, to="yolo")) == "my labels_yolo"


def test_wrong_arguments(tmp_path):
    path = save_sleap(sleap_labels("clip.mp4"), tmp_path / "a.slp")
    for arguments, words in (
        ({"to": "sleep"}, "did you mean 'sleap'"),
        ({"to": "sleap", "out": tmp_path / "b.json"}, r"needs the suffix \.slp"),
        ({"to": "csv", "out": tmp_path / "b"}, r"needs the suffix \.csv"),
        ({"out": path}, "is a file"),
        ({"category": "mouze"}, "did you mean 'mouse'"),
    ):
        with pytest.raises(UserError, match=words):
            tagwise.convert(path, **arguments)
    (tmp_path / "a.pth").write_bytes(b"\x80\x02")
    with pytest.raises(UserError, match="is not labels, to which alone --to applies"):
        tagwise.convert(tmp_path / "a.pth", to="coco")
    with pytest.raises(UserError, match="no such labels"):
        tagwise.convert(tmp_path / "none.slp")


def test_one_labelled_image_and_two_skeletons_are_mentioned(tmp_path):
    found = label_set(tmp_path / "photos")
    found.images = found.images[:1]
    assert "only 1 image is labelled" in "\n".join(found.describe())
    found.categories.append(Category("lamp", ("top",)))
    found.images[0].instances.append(Instance("lamp", np.array([[1.0, 2, 2]])))
    text = "\n".join(found.describe())
    assert "2 categories have keypoints, and a model learns one: mouse" in text
    assert "left/right pairs: none" in text
