"""XML of CVAT and JSON of labelme."""

import base64
import json

import pytest

from lab_files import write_image, write_video, xy_of
from tagwise.errors import UserError
from tagwise.labels import read_labels


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
