import io
import json

import numpy as np
import pytest
from PIL import Image

from disks import file_limit
from spots import PIN
from tagwise.errors import UserError
from tagwise.prediction.outputs import CocoResults, Predictions
from tagwise.prediction.sources import Source, find_sources
from tagwise.results import Poses
from tagwise.results.pictures import write_picture
from tagwise.tasks import PoseTask


def pin(file="a.jpg"):
    return Poses([[[1, 2, 0.5], [3, 4, 0.5]]], [0.5], [[[0.0], [0.0]]], PIN, file, 20, 10)


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "photos" / "a.jpg")
    return find_sources(tmp_path / "photos" / "a.jpg")[0]


IMAGE = np.zeros((10, 20, 3), np.uint8)


def save(run, source):
    run.save(source, pin(), IMAGE)
    run.record(source)


def test_photo_is_done_when_its_files_exist(tmp_path, photo):
    run = Predictions(tmp_path / "out", {"x": 1}, pictures=True, resume=False)
    assert not run.is_done(photo)
    run.save(photo, pin(), IMAGE)
    assert not Predictions(tmp_path / "out", {"x": 1}, True, resume=True).is_done(photo)
    run.record(photo)
    assert Image.open(tmp_path / "out" / "a.predictions.jpg").size == (20, 10)
    again = Predictions(tmp_path / "out", {"x": 1}, pictures=True, resume=True)
    assert again.is_done(photo)
    np.testing.assert_allclose(again.load(photo).keypoints, pin().keypoints)


def test_changed_photos_are_processed_again(tmp_path, photo):
    def resumed():
        return Predictions(tmp_path / "out", {"x": 1}, pictures=False, resume=True)

    save(resumed(), photo)
    assert resumed().is_done(photo)
    assert not Predictions(tmp_path / "out", {"x": 1}, False, resume=False).is_done(photo)
    assert not resumed().is_done(photo)  # a run without resume started a new journal
    save(resumed(), photo)
    photo.image.write_bytes(photo.image.read_bytes() + b"more")
    assert not resumed().is_done(photo)
    save(resumed(), photo)
    resumed().json_path(photo).unlink()
    assert not resumed().is_done(photo)


def test_resuming_with_other_settings_is_refused(tmp_path):
    Predictions(tmp_path, {"threshold": 0.3, "scales": (1,)}, pictures=False, resume=False)
    Predictions(tmp_path, {"threshold": 0.3, "scales": (1,)}, pictures=False, resume=True)
    with pytest.raises(UserError, match=r"threshold was 0\.3, is now 0\.5"):
        Predictions(tmp_path, {"threshold": 0.5, "scales": (1,)}, pictures=False, resume=True)


def test_incomplete_journal_line_affects_only_its_photo(tmp_path, photo):
    run = Predictions(tmp_path / "out", {}, pictures=False, resume=False)
    save(run, photo)
    with run.path.open("ab") as journal:
        journal.write(b'{"name": "b", "sou')
    again = Predictions(tmp_path / "out", {}, pictures=False, resume=True)
    assert again.is_done(photo)
    other = Source(photo.image.with_name("c.jpg"), "c")
    other.image.write_bytes(photo.image.read_bytes())
    save(again, other)
    third = Predictions(tmp_path / "out", {}, pictures=False, resume=True)
    assert third.is_done(photo)
    assert third.is_done(other)


BAD_FIRST = [b'{"settings": 3}', b"[]", b"", b"\xff", b"\0\0", b'{"name": "a", "source": null}']


@pytest.mark.parametrize("line", BAD_FIRST, ids=range(len(BAD_FIRST)))
def test_journal_without_settings_is_refused_in_one_line(tmp_path, line):
    run = Predictions(tmp_path, {}, pictures=False, resume=False)
    run.path.write_bytes(line + b"\n")
    with pytest.raises(UserError, match=r"is damaged: its first line .*leave out --resume"):
        Predictions(tmp_path, {}, pictures=False, resume=True)
    Predictions(tmp_path, {}, pictures=False, resume=False)
    Predictions(tmp_path, {}, pictures=False, resume=True)


NO_ROWS = [b"7", b"{", b"\xff\xfe", b"[" * 100_000, b"\0" * 100]
NO_PHOTOS = [b'{"name": "b"}', b'{"name": ["b"], "source": 1}', b'{"name": {}}', b'{"x": 1}']
LINES = [*((line, 1) for line in NO_ROWS), *((line, 0) for line in NO_PHOTOS)]


@pytest.mark.parametrize(("line", "count"), LINES, ids=range(len(LINES)))
def test_damaged_journal_line_affects_only_its_photo(tmp_path, photo, line, count, capsys):
    run = Predictions(tmp_path / "out", {}, pictures=False, resume=False)
    other = Source(photo.image.with_name("b.jpg"), "b")
    other.image.write_bytes(photo.image.read_bytes())
    with run.path.open("ab") as journal:
        journal.write(line + b"\n")
    save(run, photo)
    again = Predictions(tmp_path / "out", {}, pictures=False, resume=True)
    assert again.is_done(photo)
    assert not again.is_done(other)
    output = capsys.readouterr().err
    assert output.count("\n") == count
    assert ("1 damaged line(s), the first in line 2" in output) == bool(count)


def test_full_disk_keeps_the_journal(tmp_path, photo):
    run = Predictions(tmp_path / "out", {}, pictures=False, resume=False)
    for number in range(200):
        save(run, Source(photo.image, f"photo {number}"))
    before = run.path.read_bytes()
    with (
        file_limit(len(before) + 10),
        pytest.raises(UserError, match=r"cannot write .*\.tagwise-predict\.jsonl"),
    ):
        save(run, photo)
    assert run.path.read_bytes() == before
    assert not Predictions(tmp_path / "out", {}, False, resume=True).is_done(photo)


def test_partial_files_of_a_killed_run_are_removed_by_the_next(tmp_path):
    (tmp_path / ".a.predictions.json.999999999.partial").write_bytes(b"half")
    Predictions(tmp_path, {}, pictures=False, resume=True)
    assert not list(tmp_path.glob(".*.partial"))


def coco(tmp_path, *names):
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": [], "categories": [PIN.to_coco(4)]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    return tmp_path / "set.json"


def test_coco_rows_have_the_image_ids_of_the_dataset(tmp_path):
    file = io.BytesIO()
    results = CocoResults(PoseTask(PIN), coco(tmp_path, "a.jpg", "b.jpg"), file)
    for name in ("photos/b.jpg", "a.jpg", "unknown.jpg"):
        results.add(pin(name))
    results.finish()
    rows = json.loads(file.getvalue())
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(2, 4), (1, 4)]
    assert results.unknown == ["unknown.jpg"]


def test_coco_without_rows_is_still_json(tmp_path):
    file = io.BytesIO()
    CocoResults(PoseTask(PIN), coco(tmp_path, "a.jpg"), file).finish()
    assert json.loads(file.getvalue()) == []


def test_folders_distinguish_images_of_one_name(tmp_path):
    results = CocoResults(PoseTask(PIN), coco(tmp_path, "x/a.jpg", "y/a.jpg"), io.BytesIO())
    assert results.image_id("set/x/a.jpg") == 1
    assert results.image_id("y/a.jpg") == 2
    assert results.image_id("a.jpg") is None


def test_unknown_picture_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"use \.png"):
        write_picture(IMAGE, tmp_path / "a.nope")
    assert not list(tmp_path.iterdir())
    assert Image.open(write_picture(IMAGE, tmp_path / "a.jpg")).format == "JPEG"
