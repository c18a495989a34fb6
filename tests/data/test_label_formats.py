"""Labels of other programs are named, with the command that converts them."""

import json

import pytest

from tagwise.data.coco_json import read_coco
from tagwise.data.label_formats import describe_other_format
from tagwise.errors import UserError

STUDIO = [{"id": 1, "data": {"img": "a.jpg"}, "annotations": [{"result": []}]}]
FILES = {
    "labels.slp": (b"\x89HDF\r\n\x1a\n" + bytes(99), "a SLEAP file", "tagwise convert"),
    "CollectedData_me.h5": (
        b"\x89HDF\r\n\x1a\n" + bytes(9),
        "a DeepLabCut file",
        "tagwise convert",
    ),
    "CollectedData_me.csv": (
        b"scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\nimg0.png,1,2\n",
        "a DeepLabCut file",
        "tagwise convert",
    ),
    "cvat.xml": (
        b'<?xml version="1.0"?>\n<annotations><image/>',
        "a CVAT file",
        "tagwise convert",
    ),
    "voc.xml": (b"<annotation><object/></annotation>", "a Pascal VOC file", "tagwise convert"),
    "studio.json": (json.dumps(STUDIO).encode(), "a Label Studio file", "tagwise convert"),
    "labelme.json": (b'{"shapes": [], "imagePath": "a"}', "a labelme file", "tagwise convert"),
    "results.json": (
        b'[{"image_id": 1, "category_id": 1, "score": 0.5}]',
        "a file of COCO results",
        "the annotations",
    ),
    "a.predictions.json": (
        b'{"image": {}, "model": "people", "task": "pose", "instances": []}',
        "a prediction of tagwise",
        "the annotations",
    ),
    "a.txt": (b"0 .5 .5 .2 .2 .5 .5 2\n1 0.1 0.2 0.3 0.4\n", "a file of YOLO labels", "data.yaml"),
    "data.yaml": (
        b"train: images\nkpt_shape: [2, 3]\n",
        "the description of a YOLO",
        "tagwise convert",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_program_is_named(name, tmp_path):
    content, what, advice = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_coco(path)
    assert f"{path} is {what}" in str(error.value)
    assert "not COCO JSON" in str(error.value)
    assert advice in str(error.value)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["data.yaml", "labels/a.txt"], "a folder of YOLO labels"),
        (["labeled-data/m1/CollectedData_me.csv"], "a DeepLabCut project"),
        (["a.xml", "b.xml"], "a folder of XML labels"),
        (["a/x.predictions.json"], "a folder of predictions of tagwise"),
        (["a.txt"], "a folder of YOLO labels"),
    ],
)
def test_folder_of_another_program_is_named(files, what, tmp_path):
    for name in files:
        path = tmp_path / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 .5 .5 .2 .2\n")
    with pytest.raises(UserError, match=what):
        read_coco(tmp_path / "labels")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"images": [', "is not JSON: Expecting value in line 1"),
        (b"[1, 2]", "contains a list"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"hello\n", "is not JSON"),
        (b"7 8 9\n", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "empty"),
    ],
)
def test_other_files_keep_their_own_error(content, words, tmp_path):
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    assert describe_other_format(path) is None
    with pytest.raises(UserError, match=words):
        read_coco(path)


def test_missing_file_is_named(tmp_path):
    assert describe_other_format(tmp_path / "none.json") is None
    with pytest.raises(UserError, match="no such file"):
        read_coco(tmp_path / "none.json")
