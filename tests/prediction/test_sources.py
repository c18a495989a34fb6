import io
from pathlib import Path

import numpy as np
import pytest
import torch

from tagwise.errors import UserError
from tagwise.prediction.sources import find_sources


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for name in ("a.jpg", "b.png", "sub/a.jpg", "sub/deep/c.JPEG", "sub/notes.txt", ".hidden.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(sources):
    return [source.name for source in find_sources(sources)]


def test_result_names_keep_the_folders_of_photos(photos):
    assert names("photos") == ["a", "b", "sub/a", "sub/deep/c"]
    assert [source.image for source in find_sources("photos")][2] == Path("photos/sub/a.jpg")


def test_results_are_named_after_the_stem_of_a_file(photos):
    assert names(["photos/b.png", "photos/sub/a.jpg"]) == ["b", "a"]


def test_patterns_match_files(photos):
    assert names("photos/*.jpg") == ["a"]
    assert sorted(source.image.name for source in find_sources("photos/**/*.[jJ]*")) == [
        *("a.jpg", "a.jpg", "c.JPEG")
    ]


def test_pictures_of_an_earlier_run_are_left_out(photos):
    (photos / "a.predictions.jpg").write_bytes(b"x")
    assert "a.predictions" not in names("photos") + names("photos/*.jpg")


def test_files_of_one_stem_keep_their_suffixes(photos):
    (photos / "a.png").write_bytes(b"x")
    assert names(["photos/a.jpg", "photos/a.png", "photos/b.png"]) == ["a.jpg", "a.png", "b"]


def test_files_of_one_name_keep_their_folders(photos):
    assert names(["photos/a.jpg", "photos/sub/a.jpg"]) == ["a.jpg", "sub/a.jpg"]
    assert names(["photos", "photos/sub/a.jpg"]) == names("photos")


def test_names_never_collide(photos):
    """Even where the longer name of one file is the shorter name of another."""
    for name in ("a.png", "a.png.jpg", "sub/a.png", "sub/a.png.jpg"):
        (photos / name).write_bytes(b"x")
    files = sorted(path for path in photos.rglob("*.*") if path.suffix in (".jpg", ".png"))
    found = names(files)
    assert len(set(found)) == len(files)


def test_file_given_twice_is_used_once(photos):
    assert names(["photos/a.jpg", str(photos / "a.jpg"), "photos/../photos/a.jpg"]) == ["a"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("photos/a.jpgg", "did you mean photos/a.jpg"),
        ("nowhere", "no such file or folder: nowhere"),
        ("photos/*.gif", "no file matches the pattern"),
        ([], "no image to predict from"),
    ],
)
def test_missing_source_is_named_in_the_error(photos, source, message):
    with pytest.raises(UserError, match=message):
        find_sources(source)


def test_empty_folder_is_named_in_the_error(tmp_path):
    with pytest.raises(UserError, match=r"no image in the folder .*; known suffixes are .*\.jpg"):
        find_sources(tmp_path)


def test_images_in_memory_are_numbered(photos):
    image = np.zeros((4, 4, 3), np.uint8)
    assert names(image) == ["image-000000"]
    assert names([image, "photos/b.png", image]) == ["b", "image-000000", "image-000002"]


def test_other_iterables_are_read_only_as_needed(photos):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield "photos/a.jpg"

    sources = find_sources(endless())
    assert not taken
    assert [next(sources).name for _ in range(3)] == ["a-000000", "a-000001", "a-000002"]
    assert len(taken) == 3


def test_state_changes_with_the_file(photos):
    (source,) = find_sources("photos/a.jpg")
    before = source.state()
    assert before == source.state()
    (photos / "a.jpg").write_bytes(b"longer")
    assert source.state() != before
    (photos / "a.jpg").unlink()
    assert source.state() is None


def test_bytes_files_and_tensors_are_one_image_each(photos):
    for source in (b"ab", bytearray(b"ab"), memoryview(b"ab"), io.BytesIO(b"ab")):
        (found,) = find_sources(source)
        assert found.image is source
        assert found.name == "image-000000"
    (found,) = find_sources(torch.zeros(3, 4, 5))
    assert (found.image.shape, found.image.dtype) == ((4, 5, 3), np.uint8)
    assert names([b"ab", io.BytesIO(b"ab")]) == ["image-000000", "image-000001"]


@pytest.mark.parametrize("name", ["a" * 5000 + ".jpg", "a\0b.jpg"])
def test_invalid_file_names_are_refused(photos, name):
    with pytest.raises(UserError, match="no such file or folder"):
        find_sources(name)
