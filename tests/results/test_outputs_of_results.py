"""Pictures, tables and label files of results, of each task."""

import csv

import numpy as np
import pandas
import pytest
from PIL import Image

from spots import PIN
from tagwise.errors import UserError
from tagwise.labels import read_labels
from tagwise.results import Boxes, Masks, Poses

SIZE = {"width": 40, "height": 30}
IMAGE = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)


def poses(**more):
    points = [[[4, 5, 0.9], [8, 25, 0.7]], [[30, 6, 0.8], [np.nan, np.nan, 0]]]
    return Poses(np.array(points), np.array([0.8, 0.6]), None, PIN, **{**SIZE, **more})


def boxes(**more):
    corners = np.array([[2.0, 3, 10, 6], [-5, 20, 15, 30]])
    scores, names = np.array([0.9, 0.5]), ("cell", "plate")
    return Boxes(corners, scores, np.array([1, 0]), names, **{**SIZE, **more})


def masks(**more):
    labels = np.zeros((30, 40), np.int32)
    labels[4:9, 5:15], labels[20:25, 30:33] = 1, 2
    return Masks(labels, np.array([0.9, 0.4]), **{**SIZE, **more})


ALL = pytest.mark.parametrize("make", [poses, boxes, masks])


@ALL
def test_tables_agree_with_the_result_and_with_each_other(make, tmp_path):
    result = make(file="a.png")
    frame = result.to_df()
    assert frame["image"].tolist() == ["a.png"] * 2
    assert frame["instance"].tolist() == [0, 1]
    sides = frame[["box_x", "box_y", "box_width", "box_height"]].to_numpy()
    np.testing.assert_allclose(sides, result.boxes, atol=0.01)
    np.testing.assert_allclose(frame["score"], result.scores, atol=1e-6)
    with open(result.to_csv(tmp_path / "a.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(frame.columns)
    assert [float(row["score"]) for row in rows] == frame["score"].tolist()
    read = pandas.read_parquet(result.to_parquet(tmp_path / "a.parquet"))
    assert list(read.columns) == list(frame.columns)
    assert read["box_x"].tolist() == frame["box_x"].tolist()


def test_tables_have_what_the_task_finds():
    frame = poses().to_df()
    assert frame["category"].tolist() == ["pin", "pin"]
    assert frame["foot.y"][0] == 25
    assert np.isnan(frame["foot.y"][1])
    assert frame["foot.score"].tolist() == [0.7, 0]
    assert boxes().to_df()["category"].tolist() == ["plate", "cell"]
    assert masks().to_df()["area"].tolist() == [50, 15]


@ALL
def test_a_result_without_instances_has_empty_outputs(make, tmp_path):
    none = make()[:0]
    frame = none.to_df()
    assert len(frame) == 0
    assert list(frame.columns) == list(make().to_df().columns)
    assert none.to_csv(tmp_path / "a.csv").read_text().startswith("image,frame,instance")
    assert none.to_yolo(tmp_path / "a.txt").read_bytes() == b""
    assert none.to_coco() == none.crop() == []
    assert none.plot().size == (40, 30)


def test_frames_of_other_libraries():
    with pytest.raises(UserError, match="did you mean 'polars'"):
        poses().to_df("polar")
    try:
        import polars
    except ImportError:
        with pytest.raises(UserError, match="pip install polars"):
            poses().to_df("polars")
    else:
        assert isinstance(poses().to_df("polars"), polars.DataFrame)


@ALL
def test_yolo_labels_are_read_back(make, tmp_path):
    result = make()
    (tmp_path / "images").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images" / "a.png")
    result.to_yolo(tmp_path / "labels" / "a.txt")
    names = dict(enumerate(getattr(result, "names", ["thing"])))
    shape = "kpt_shape: [2, 3]" if make is poses else ""
    (tmp_path / "data.yaml").write_text(
        f"path: .\ntrain: images\nval: images\nnames: {names}\n{shape}"
    )
    instances = read_labels(tmp_path / "data.yaml").images[0].instances
    assert len(instances) == 2
    if make is boxes:
        assert [each.category for each in instances] == result.category_names
        np.testing.assert_allclose(instances[0].box, result.boxes[0], atol=1e-3)
    if make is poses:
        np.testing.assert_allclose(
            instances[0].keypoints[:, :2], result.keypoints[0, :, :2], atol=0.01
        )
        assert instances[1].keypoints[1].tolist() == [0, 0, 0]


def test_yolo_lines_follow_the_format(tmp_path):
    line = boxes().to_yolo(tmp_path / "a.txt").read_text().splitlines()[0]
    assert line == f"1 {7 / 40:.6g} {6 / 30:.6g} {10 / 40:.6g} {6 / 30:.6g}"
    line = boxes().to_yolo(tmp_path / "a.txt", conf=True).read_text().splitlines()[0]
    assert line.endswith(" 0.9")
    with pytest.raises(UserError, match="size is unknown"):
        boxes(width=None).to_yolo(tmp_path / "b.txt")


@ALL
def test_save_writes_the_picture_of_plot(make, tmp_path):
    result = make(image=IMAGE)
    path = result.save(tmp_path / "new" / "a.png", line_width=2)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), result.plot(line_width=2))


@ALL
def test_plot_styles_change_the_picture(make):
    result = (
        make(image=np.zeros((300, 400, 3), np.uint8), width=400, height=300)
        if make is not masks
        else masks(image=IMAGE)
    )
    thin, thick = np.asarray(result.plot(line_width=1)), np.asarray(result.plot(line_width=9))
    assert (thin != thick).any()
    plain = np.asarray(result.plot(labels=False))
    if make is not masks:  # whose instances here are too small for a text
        assert (np.asarray(result.plot()) != plain).any()
        assert (np.asarray(result.plot()) != np.asarray(result.plot(conf=False))).any()
    same = (np.asarray(result.plot(conf=False)) == plain).all()
    assert same == (make is not boxes)  # whose labels have the class too


@ALL
def test_mistakes_in_styles_are_answered_with_the_nearest(make):
    with pytest.raises(UserError, match="'linewidth'; did you mean 'line_width'"):
        make().plot(linewidth=2)


def test_crops_are_the_pixels_in_the_boxes():
    found = boxes(image=IMAGE)
    first, second = map(np.asarray, found.crop())
    np.testing.assert_array_equal(first, IMAGE[3:9, 2:12])
    np.testing.assert_array_equal(second, IMAGE[20:30, 0:10])
    np.testing.assert_array_equal(found.crop(margin=0.1)[0], IMAGE[2:10, 1:13])
    outside = Boxes(np.array([[90, 90, 5, 5]]), [0.5], [0], ("a",), image=IMAGE, **SIZE)
    assert outside.crop()[0].size == (1, 1)
    with pytest.raises(UserError, match="margin is -1"):
        found.crop(margin=-1)


def test_show_without_a_display_says_what_to_do(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="save"):
        poses(image=IMAGE).show()


def test_show_in_a_notebook_displays_the_picture(monkeypatch):
    shown = []
    ipython = type("IPython", (), {"get_ipython": lambda: type("Shell", (), {"kernel": 1})})
    display = type("Display", (), {"display": shown.append})
    monkeypatch.setitem(__import__("sys").modules, "IPython", ipython)
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", display)
    poses(image=IMAGE).show()
    assert shown[0].size == (40, 30)


@ALL
def test_coco_results_need_no_ids(make):
    rows = make().to_coco()
    assert [row["image_id"] for row in rows] == [1, 1]
    assert [row["category_id"] for row in rows] == ([2, 1] if make is boxes else [1, 1])


@ALL
def test_json_of_a_frame_has_its_number_and_time(make):
    result = make(file="clip.mp4", frame=7, time=0.28)
    record = result.to_dict()
    assert (record["frame"], record["time"]) == (7, 0.28)
    again = type(result).from_dict(record)
    assert (again.frame, again.time, again.file) == (7, 0.28, "clip.mp4")
    assert "frame" not in make().to_dict()
    for wrong in ({"frame": -1}, {"frame": "a"}, {"time": float("nan")}):
        with pytest.raises(UserError, match="not JSON of predicted"):
            type(result).from_dict({**record, **wrong})
