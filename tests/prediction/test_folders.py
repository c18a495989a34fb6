"""The photos of a folder, their order, and the names of their results."""

from collections import Counter
from pathlib import Path

import pytest

from tagwise.errors import UserError
from tagwise.prediction.folders import (
    Folder,
    describe,
    is_own,
    list_folder,
    natural_key,
    unique_prefix,
)
from tagwise.prediction.sources import find_sources


def fill(folder, *names):
    """Create files with these names below a folder, and return the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def listed(folder, **options):
    """The photos of a folder, relative to it."""
    return [path.relative_to(folder).as_posix() for path in list_folder(folder, **options).photos]


def result_names(folder):
    return [source.name for source in find_sources(folder)]


def test_numbers_in_names_are_sorted_by_value(tmp_path):
    fill(tmp_path, "frame10.jpg", "frame2.jpg", "frame1.jpg", "frame002b.jpg", "cover.jpg")
    expected = ["cover.jpg", "frame1.jpg", "frame2.jpg", "frame002b.jpg", "frame10.jpg"]
    assert listed(tmp_path) == expected


def test_numbers_in_folder_names_are_sorted_by_value(tmp_path):
    fill(tmp_path, "day10/1.jpg", "day9/20.jpg", "day9/3.jpg")
    assert listed(tmp_path) == ["day9/3.jpg", "day9/20.jpg", "day10/1.jpg"]


def test_names_that_start_with_a_number_or_with_a_letter_can_be_compared():
    paths = [Path("b"), Path("10"), Path("a1"), Path("9"), Path("²"), Path("a")]
    assert [path.name for path in sorted(paths, key=natural_key)] == [
        "9",
        "10",
        "a",
        "a1",
        "b",
        "²",
    ]


def test_folders_inside_are_included_only_with_below(tmp_path):
    fill(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.PNG")
    assert listed(tmp_path) == ["a.jpg", "sub/b.jpg", "sub/deep/c.PNG"]
    assert listed(tmp_path, below=False) == ["a.jpg"]


def test_output_files_of_tagwise_are_neither_photos_nor_counted(tmp_path):
    fill(
        tmp_path,
        *("a.jpg", "a.predictions.jpg", "a.predictions.json", "clip.tracks.mp4"),
        *("clip.tracks.txt", "clip.tracks.jsonl", "sub/b.predictions.jpg"),
    )
    assert list_folder(tmp_path) == Folder([tmp_path / "a.jpg"], Counter())


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("a.predictions.jpg", True),
        ("clip.tracks.mp4", True),
        (".hidden.jpg", True),
        ("predictions.jpg", False),
        ("my-predictions.jpg", False),
        ("a.predictions.old.jpg", False),
    ],
)
def test_output_files_are_recognised_by_the_end_of_their_stem(name, own):
    assert is_own(Path("photos") / name) is own


def test_hidden_files_and_folders_are_left_out(tmp_path):
    fill(tmp_path, "a.jpg", ".b.jpg", ".cache/c.jpg", ".cache/notes.txt")
    assert list_folder(tmp_path) == Folder([tmp_path / "a.jpg"], Counter())


def test_other_files_are_counted_by_suffix(tmp_path):
    fill(tmp_path, "a.jpg", "1.txt", "sub/2.TXT", "clip.mp4", "README")
    assert list_folder(tmp_path).others == {".txt": 2, ".mp4": 1, "no suffix": 1}
    assert list_folder(tmp_path, below=False).others == {".txt": 1, ".mp4": 1, "no suffix": 1}


def test_counts_are_described_in_words():
    counts = Counter({".txt": 2, ".mp4": 1, "no suffix": 3})
    assert describe(counts) == "3 files with no suffix, 2 .txt files, 1 .mp4 file"


def test_photos_of_phones_that_are_skipped_have_a_fix():
    assert describe(Counter({".heic": 2, ".heif": 1})) == (
        "2 .heic files (convert them to JPEG), 1 .heif file (convert it to JPEG)"
    )


def test_only_the_five_most_common_suffixes_are_described():
    counts = Counter({f".{letter}": number for number, letter in enumerate("abcdefg", 1)})
    assert describe(counts).count(",") == 4
    assert describe(counts).startswith("7 .g files, 6 .f files")


def test_files_that_are_skipped_are_reported(tmp_path, capsys):
    find_sources(fill(tmp_path, "a.jpg", "1.txt", "2.txt"))
    assert f"{tmp_path}: skipped 2 .txt files" in capsys.readouterr().err


def test_nothing_is_reported_for_a_folder_of_photos_only(tmp_path, capsys):
    find_sources(fill(tmp_path, "a.jpg", "a.predictions.jpg"))
    assert capsys.readouterr().err == ""


def test_error_for_a_folder_without_photos_counts_its_files(tmp_path):
    fill(tmp_path, "1.txt", "2.txt", "clip.mp4")
    with pytest.raises(UserError, match=r"no image in .*; it has 2 \.txt files, 1 \.mp4 file; "):
        list_folder(tmp_path)


def test_photos_of_one_stem_keep_their_suffix_in_result_names(tmp_path):
    fill(tmp_path, "photo.jpg", "photo.png", "other.jpg")
    assert result_names(tmp_path) == ["other", "photo.jpg", "photo.png"]


def test_long_names_leave_room_for_the_suffixes_of_results(tmp_path):
    first, second = "x" * 240 + "1.jpg", "x" * 240 + "2.jpg"
    fill(tmp_path, first, second, f"sub/{first}")
    names = result_names(tmp_path)
    assert len(set(names)) == 3
    for name in names:
        assert len(Path(name).name) <= 200
        fill(tmp_path / "out", f"{name}.predictions.json")  # raises if the name is too long


def test_long_names_are_not_cut_inside_a_character(tmp_path):
    fill(tmp_path, "é" * 110 + ".jpg", "a" + "é" * 110 + ".jpg")
    for name in result_names(tmp_path):
        stem, _, checksum = name.rpartition("-")
        assert set(stem) <= {"a", "é"}
        assert len(checksum) == 8
        assert 195 <= len(name.encode()) <= 200


def test_name_of_200_bytes_is_kept(tmp_path):
    assert result_names(fill(tmp_path, "x" * 200 + ".jpg")) == ["x" * 200]


@pytest.mark.parametrize(
    ("taken", "prefix"),
    [
        ((), "clip"),
        (("clip",), "clip"),
        (("clip-1", "clip-00000x"), "clip"),
        (("clip-000000",), "clip.mp4"),
        (("clip-000000", "clip.mp4-0000001"), "clip.mp4_"),
        (("clip-000000", "clip.mp4-000000", "clip.mp4_-000000"), "clip.mp4__"),
    ],
)
def test_prefix_of_frames_differs_from_all_other_results(taken, prefix):
    assert unique_prefix(("clip", "clip.mp4"), taken) == prefix
