"""Labels of other programs, made by their own libraries or in their documented form."""

import base64
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import sleap_io as sio
import supervision
from PIL import Image

from lab_files import NAMES, sleap_labels, write_image, write_video
from tagwise.errors import UserError
from tagwise.label_maps import rle_mask
from tagwise.labels import read_labels


def xy_of(instance):
    return [[x, y] if v else None for x, y, v in instance.keypoints.round(2).tolist()]


# ---------------------------------------------------------------------- DeepLabCut


def dlc_frame(individuals=None, index="path"):
    """A table as DeepLabCut makes it; the second image has no labels."""
    levels = ["scorer", "individuals", "bodyparts", "coords"]
    who = individuals or [""]
    columns = [("me", w, part, c) for w in who for part in ("head", "tail") for c in "xy"]
    if individuals and "single" in individuals:
        columns = [c for c in columns if c[1] != "single"]
        columns += [("me", "single", "lamp", c) for c in "xy"]
    if not individuals:
        columns, levels = [(c[0], *c[2:]) for c in columns], [levels[0], *levels[2:]]
    rows = ["labeled-data/day 1/img01.png", "labeled-data/day 1/img02.png"]
    if index == "parts":
        rows = pd.MultiIndex.from_tuples([tuple(row.split("/")) for row in rows])
    values = np.arange(1.0, len(columns) + 1)
    table = pd.DataFrame(
        [values, np.full(len(columns), np.nan)],
        index=rows,
        columns=pd.MultiIndex.from_tuples(columns, names=levels),
    )
    table.iloc[0, 2:4] = np.nan
    return table


@pytest.mark.parametrize("index", ["path", "parts"])
@pytest.mark.parametrize("individuals", [None, ["a", "b"], ["a", "b", "single"]])
def test_deeplabcut_csv(individuals, index, tmp_path):
    folder = tmp_path / "labeled-data" / "day 1"
    photo = write_image(folder / "img01.png")
    table = dlc_frame(individuals, index)
    table.to_csv(folder / "CollectedData_me.csv")
    config = "Task: mouse\nscorer: me\nskeleton:\n- [head, tail]\n- [head, gone]\nvideo_sets: {}\n"
    (tmp_path / "config.yaml").write_text(config + "bodyparts: [head, tail]\n")
    for path in (folder / "CollectedData_me.csv", tmp_path, tmp_path / "config.yaml"):
        found = read_labels(path)
        assert [image.path for image in found.images] == [photo]
        assert found.images[0].group == "day 1"
        category = found.categories[0]
        assert (category.name, category.keypoints) == ("mouse", ("head", "tail"))
        assert category.edges == ((0, 1),)
        instances = found.images[0].instances
        assert xy_of(instances[0]) == [[1, 2], None]
        assert len(instances) == len(individuals or [None])
        assert [each.track for each in instances] == (individuals or [None])
        assert "1 × image without labels, left out" in found.describe()[-1]
    if individuals and "single" in individuals:
        assert found.categories[1].keypoints == ("lamp",)


def test_deeplabcut_predictions_of_a_video(tmp_path):
    """The table that analysis of a video writes: one row per frame, with likelihood."""
    write_video(tmp_path / "clip.mp4", frames=3)
    columns = pd.MultiIndex.from_product([["net"], ["head", "tail"], ["x", "y", "likelihood"]])
    columns.names = ["scorer", "bodyparts", "coords"]
    values = [[1, 2, 0.9, 3, 4, 0.5], [5, 6, 0.7, 7, 8, 0.1]]
    path = tmp_path / "clipDLC_resnet50_mouseshuffle1_1000.csv"
    pd.DataFrame(values, columns=columns).to_csv(path)
    found = read_labels(path)
    assert [image.frame for image in found.images] == [0, 1]
    assert all(image.path == tmp_path / "clip.mp4" for image in found.images)
    first = found.images[0].instances[0]
    assert (first.score, first.keypoint_scores.tolist()) == (pytest.approx(0.7), [0.9, 0.5])


def fixed_h5(path, table):
    """Write the layout of pandas' "fixed" format, which needs PyTables, with h5py."""
    import h5py

    def index(group, name, values):
        if not isinstance(values, pd.MultiIndex):
            group[name] = np.array([str(v).encode() for v in values])
            return
        group.attrs[f"{name}_nlevels"] = values.nlevels
        for n, (level, codes) in enumerate(zip(values.levels, values.codes, strict=True)):
            group[f"{name}_level{n}"] = np.array([str(v).encode() for v in level])
            group[f"{name}_label{n}"] = np.array(codes)

    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"], group.attrs["nblocks"] = b"frame", 1
        index(group, "block0_items", table.columns)
        index(group, "axis1", table.index)
        group["block0_values"] = table.to_numpy()


@pytest.mark.parametrize("index", ["path", "parts"])
def test_deeplabcut_h5(index, tmp_path):
    table = dlc_frame(["a", "b"], index)
    fixed_h5(tmp_path / "CollectedData_me.h5", table)
    table.to_csv(tmp_path / "CollectedData_me.csv")
    one, other = (read_labels(tmp_path / f"CollectedData_me.{s}") for s in ("h5", "csv"))
    assert [image.file for image in one.images] == [image.file for image in other.images]
    assert one.categories == other.categories
    for a, b in zip(one.images[0].instances, other.images[0].instances, strict=True):
        assert xy_of(a) == xy_of(b)


def test_deeplabcut_h5_with_code_is_refused(tmp_path):
    """Names of columns are pickles in pandas' "table" format: nothing in them is run."""
    import pickle

    import h5py

    class Code:
        def __reduce__(self):
            return (print, ("run",))

    with h5py.File(tmp_path / "CollectedData_me.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = b"frame_table"
        kind = np.dtype([("index", "S9"), ("values_block_0", "f8", 2)])
        group["table"] = np.zeros(1, kind)
        group["table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps([Code()], 0))
    with pytest.raises(UserError, match="column names contain"):
        read_labels(tmp_path / "CollectedData_me.h5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scorer,me\nbodyparts,head\n", "no rows scorer and coords"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\nimg.png,1\n", "2 cells in row 4"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\nimg.png,1,b\n", "row 4 has a cell without"),
        ("scorer,me,me\nbodyparts,a,a\ncoords,x,y\n", "no labelled instance"),
    ],
)
def test_faulty_deeplabcut(text, words, tmp_path):
    (tmp_path / "CollectedData_me.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read_labels(tmp_path / "CollectedData_me.csv")


# ---------------------------------------------------------------------- Label Studio


def test_label_studio_of_sleap_io(tmp_path):
    video = write_video(tmp_path / "clip.mp4")
    labels = sleap_labels(video)
    labels.videos[0].backend_metadata["shape"] = (12, 48, 64, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sio.save_labelstudio(labels, str(tmp_path / "tasks.json"))
    found = read_labels(tmp_path / "tasks.json")
    assert [(image.path, image.frame) for image in found.images] == [(video, 3), (video, 7)]
    assert found.categories[0].keypoints == tuple(NAMES)
    assert xy_of(found.images[0].instances[0]) == [[4, 2], [30, 20], [40, 40]]
    assert xy_of(found.images[0].instances[1]) == [[5, 6], [8, 9], None]


def studio(*results, image="/data/upload/3/0a1b2c3d-a%20b.png", **task):
    sizes = {"original_width": 200, "original_height": 100}
    results = [{**sizes, "id": str(n), **each} for n, each in enumerate(results)]
    return {"id": 1, "data": {"image": image}, "annotations": [{"result": results}], **task}


def point(name, x, y, **more):
    value = {"x": x, "y": y, "width": 1, "keypointlabels": [name]}
    return {"type": "keypointlabels", "value": value, **more}


def rectangle(name, x, y, width, height, **more):
    value = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": [name]}
    return {"type": "rectanglelabels", "value": value, **more}


def read_tasks(folder, *tasks):
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return read_labels(folder / "tasks.json")


def test_label_studio_groups_keypoints(tmp_path):
    write_image(tmp_path / "a b.png", (200, 100))
    boxes = [rectangle("bee", 0, 0, 20, 40), rectangle("bee", 50, 0, 20, 40)]
    inside = [point("head", 10, 10), point("head", 60, 10), point("tail", 60, 90, parentID="1")]
    found = read_tasks(tmp_path, studio(*boxes, *inside))
    one, other = found.images[0].instances
    assert found.images[0].path == tmp_path / "a b.png"
    assert (one.box, xy_of(one)) == ((0, 0, 40, 40), [[20, 10], None])
    assert (other.box, xy_of(other)) == ((100, 0, 40, 40), [[120, 10], [120, 90]])
    alone = read_tasks(tmp_path, studio(point("head", 1, 1), point("tail", 2, 2)))
    assert len(alone.images[0].instances) == 1
    with pytest.raises(UserError, match="belong to no instance"):
        read_tasks(tmp_path, studio(point("head", 1, 1), point("head", 2, 2)))


def test_label_studio_tasks_without_labels(tmp_path):
    polygon = {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["cell"]}
    cancelled = [{"result": [], "was_cancelled": True}]
    found = read_tasks(
        tmp_path,
        studio({"type": "polygonlabels", "value": polygon}),
        {"data": {"image": "b.png"}, "annotations": cancelled},
        studio({"type": "ellipselabels", "value": {}}),
        {**studio(point("a", 1, 1)), "annotations": [1]},
    )
    assert found.images[0].instances[0].mask == [[0, 0, 100, 0, 100, 100]]
    text = "\n".join(found.describe())
    assert "2 × task without annotations, left out" in text
    assert "1 × ellipselabels cannot be read, left out" in text


def test_label_studio_predictions(tmp_path):
    task = studio()
    predictions = [{"score": 0.4, "result": studio(point("a", 5, 5))["annotations"][0]["result"]}]
    found = read_tasks(tmp_path, {**task, "annotations": [], "predictions": predictions})
    assert found.images[0].instances[0].score == 0.4


# ---------------------------------------------------------------------- YOLO


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


# ---------------------------------------------------------------------- CVAT and labelme


def cvat(folder, body, meta=""):
    (folder / "annotations.xml").write_text(f"<annotations>{meta}{body}</annotations>", "utf-8")
    return read_labels(folder / "annotations.xml")


def test_shapes_of_cvat(tmp_path):
    write_image(tmp_path / "day" / "a.png")
    found = cvat(
        tmp_path,
        '<image id="0" name="day/a.png" width="64" height="48"><skeleton label="bee">'
        '<points label="head" points="1,2"/><points label="tail" points="3,4" occluded="1"/>'
        '<points label="wing" points="5,6" outside="1"/></skeleton>'
        '<box label="hive" xtl="1" ytl="2" xbr="11" ybr="22"/>'
        '<polygon label="hive" points="0,0;4,0;4,4"/>'
        '<mask label="hive" rle="1,2,1" left="5" top="6" width="2" height="2"/></image>'
        '<image id="1" name="b.png" width="64" height="48"/>',
    )
    bee, box, polygon, mask = found.images[0].instances
    assert bee.keypoints.tolist() == [[1, 2, 2], [3, 4, 1]]
    assert (box.box, polygon.mask) == ((1, 2, 10, 20), [[0, 0, 4, 0, 4, 4]])
    assert mask.mask["size"] == [48, 64]
    assert found.categories[0].keypoints == ("head", "tail")
    assert found.images[0].path == tmp_path / "day" / "a.png"
    assert "image without labels, left out" in found.describe()[-1]


def test_groups_of_cvat(tmp_path):
    points = "".join(
        f'<points label="{name}" points="{n},{n}" group_id="{group}"/>'
        for n, (name, group) in enumerate([("head", 1), ("head", 2), ("tail", 2)])
    )
    found = cvat(tmp_path, f'<image id="0" name="a.png" width="9" height="9">{points}</image>')
    assert [xy_of(each) for each in found.images[0].instances] == [
        [[0, 0], None],
        [[1, 1], [2, 2]],
    ]


def test_tracks_of_cvat(tmp_path):
    """Frames that CVAT only interpolated are left out."""
    video = write_video(tmp_path / "clip.mp4")
    boxes = "".join(
        f'<box frame="{n}" keyframe="{key}" outside="{out}" xtl="{n}" ytl="0" xbr="9" ybr="9"/>'
        for n, key, out in ((2, 1, 0), (3, 0, 0), (4, 1, 0), (5, 1, 1))
    )
    body = f'<track id="0" label="bee">{boxes}</track>'
    found = cvat(tmp_path, body, "<meta><source>clip.mp4</source></meta>")
    assert [(image.path, image.frame) for image in found.images] == [(video, 2), (video, 4)]
    assert found.images[0].instances[0].track == "0"
    assert "left out 1 frames that CVAT has only interpolated" in "\n".join(found.describe())


@pytest.mark.parametrize("body", ['<image name="a.png"><box label="x"/></image>', "<image"])
def test_faulty_cvat(body, tmp_path):
    with pytest.raises(UserError, match=r"cannot be read|not complete XML"):
        cvat(tmp_path, body)


def test_labelme(tmp_path):
    shapes = [
        {"label": "bee", "points": [[20, 10], [2, 4]], "shape_type": "rectangle", "group_id": 1},
        {"label": "head", "points": [[3, 5]], "shape_type": "point", "group_id": 1},
        {"label": "head", "points": [[40, 40]], "shape_type": "point", "group_id": 2},
        {"label": "cell", "points": [[0, 0], [4, 0], [4, 4]], "shape_type": "polygon"},
        {"label": "line", "points": [[0, 0], [4, 0]], "shape_type": "line"},
    ]
    photo = write_image(tmp_path / "a.png")
    inside = base64.b64encode(photo.read_bytes()).decode()
    for name, image, data in (("a", "..\\x\\a.png", None), ("b", "gone.png", inside)):
        content = {"shapes": shapes, "imagePath": image, "imageData": data}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = read_labels(tmp_path)
    assert found.images[0].path == photo
    assert found.images[1].pixels().shape == (48, 64, 3)
    bee, cell, lone = sorted(found.images[0].instances, key=lambda each: each.category)
    assert (bee.box, xy_of(bee)) == ((2, 4, 18, 6), [[3, 5]])
    assert (cell.mask, xy_of(lone)) == ([[0, 0, 4, 0, 4, 4]], [[40, 40]])
    assert "2 × line cannot be read, left out" in found.describe()[-1]


# ---------------------------------------------------------------------- label maps


def test_label_maps(tmp_path):
    write_image(tmp_path / "photos" / "a.png", (8, 6))
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 2:6], labels[4, 0:2] = 7, 9
    (tmp_path / "maps").mkdir()
    Image.fromarray(labels).save(tmp_path / "maps" / "a.png")
    found = read_labels(tmp_path / "maps", tmp_path / "photos")
    masks = [rle_mask(each.mask) for each in found.images[0].instances]
    assert np.array_equal(masks, [labels == 7, labels == 9])
    with pytest.raises(UserError, match=r"if they are label maps.*--images"):
        read_labels(tmp_path / "maps")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("via.json", '{"_via_img_metadata": {}}', "a VIA file; export the project from VIA"),
        ("x/cvat.xml", "<annotations/>", "a folder of XML labels; give one of its files"),
    ],
)
def test_what_to_do_with_other_formats(name, text, words, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_labels(path.parent if "/" in name else path)
