"""Files of a tracking run: rows of the MOT challenge, gaps filled in, JSON lines."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tagwise.results import Boxes
from tagwise.tracking.outputs import Tracked, TrackFiles, fill_gaps, mot_rows


def tracked(index, boxes, ids, scores=None):
    scores = np.full(len(boxes), 0.5) if scores is None else scores
    result = Boxes(np.asarray(boxes, float).reshape(-1, 4), scores, np.zeros(len(boxes), int), "x")
    return Tracked(index, index / 25, result, np.array(ids, int))


def test_rows_count_frames_and_pixels_from_1():
    rows = mot_rows(tracked(4, [[10, 20, 30, 40], [0, 0, 5, 6]], [-1, 3], [0.9, 0.75]))
    assert rows.tolist() == [[5, 3, 1, 1, 5, 6, 0.75]]


def test_frame_without_tracks_has_no_rows():
    assert mot_rows(tracked(0, [], [])).shape == (0, 7)


@pytest.mark.parametrize(("longest", "filled"), [(0, []), (2, []), (3, [3, 4, 5]), (9, [3, 4, 5])])
def test_gaps_up_to_the_longest_are_filled_on_a_straight_line(longest, filled):
    rows = np.array([[1, 7, 0, 0, 4, 4, 0.9], [2, 7, 0, 0, 4, 4, 0.9], [6, 7, 8, -4, 4, 12, 0.8]])
    found = fill_gaps(rows, longest)
    assert found[:, 0].tolist() == [1, 2, *filled, 6]
    for row in found[2:-1]:
        share = (row[0] - 2) / 4
        assert row[1:].tolist() == [7, 8 * share, -4 * share, 4, 4 + 8 * share, 0]


def test_gaps_are_filled_within_each_track():
    rows = np.array([[1, 1, 0, 0, 4, 4, 0.9], [2, 2, 0, 0, 4, 4, 0.9], [3, 1, 2, 0, 4, 4, 0.8]])
    found = fill_gaps(rows, 5)
    assert found[:, :2].tolist() == [[1, 1], [2, 1], [2, 2], [3, 1]]


def write(folder, frames, fill=0):
    video = SimpleNamespace(path=Path("clips/street.mp4"), fps=25.0)
    files = TrackFiles(video, folder, pictures=False, fill=fill)
    with files.opened() as add:
        for frame in frames:
            add(frame, np.zeros((8, 8, 3), np.uint8))


def test_rows_and_json_lines_are_written_for_every_frame(tmp_path):
    frames = [tracked(0, [[0, 0, 4, 4], [9, 9, 2, 2]], [1, -1]), tracked(1, [], [])]
    frames.append(tracked(2, [[2, 0, 4, 4]], [1]))
    write(tmp_path / "new", frames, fill=1)
    rows = (tmp_path / "new" / "street.tracks.txt").read_text().splitlines()
    assert rows == [
        "1,1,1.00,1.00,4.00,4.00,0.5000,-1,-1,-1",
        "2,1,2.00,1.00,4.00,4.00,0.0000,-1,-1,-1",
        "3,1,3.00,1.00,4.00,4.00,0.5000,-1,-1,-1",
    ]
    text = (tmp_path / "new" / "street.tracks.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert [record["time"] for record in records] == [0, 0.04, 0.08]
    assert [[i["id"] for i in record["instances"]] for record in records] == [[1, None], [], [1]]


def test_files_without_frames_are_empty(tmp_path):
    write(tmp_path, [])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "street.tracks.txt": "",
        "street.tracks.jsonl": "",
    }


def test_error_leaves_no_files(tmp_path):
    def frames():
        yield tracked(0, [[0, 0, 4, 4]], [1])
        raise RuntimeError("torn cable")

    with pytest.raises(RuntimeError, match="torn cable"):
        write(tmp_path, frames())
    assert list(tmp_path.iterdir()) == []
