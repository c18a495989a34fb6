"""The track command, with two pins that move through a folder of frames."""

import json

import numpy as np
import pytest
from PIL import Image

from spots import SpotNetwork, draw_pins
from tagwise.commands.track import track
from tagwise.errors import UserError
from tagwise.models.spec import ModelSpec
from tagwise.tracking.tracker import TrackSettings

FRAMES = 6


def pins(number):
    """Two slanted pins that pass one above the other."""
    left, right = 14.0 + 6 * number, 84.0 - 6 * number
    return ((left, 16.0), (left + 30, 56.0), 0.0), ((right, 72.0), (right + 30, 112.0), 1.0)


@pytest.fixture
def network():
    return SpotNetwork()


@pytest.fixture
def clip(tmp_path):
    """A folder of photos that are the frames of a video."""
    (tmp_path / "street").mkdir()
    for number in range(FRAMES):
        path = tmp_path / "street" / f"{number:02d}.png"
        Image.fromarray(draw_pins(pins(number))).save(path)
    return tmp_path / "street"


def test_instances_keep_their_ids(clip, network):
    run = track(clip, network, device="cpu")
    frames = list(run)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert (run.frames, run.tracks, run.exit_code) == (FRAMES, 2, 0)
    ids = []
    for number, frame in enumerate(frames):
        upper_first = np.argsort(frame.result.keypoints[:, 0, 1])
        tops = frame.result.keypoints[upper_first, 0, :2]
        np.testing.assert_allclose(tops, [pin[0] for pin in pins(number)], atol=0.5)
        ids.append(frame.ids[upper_first].tolist())
    assert ids in ([[1, 2]] * FRAMES, [[2, 1]] * FRAMES)


def test_frames_have_at_most_the_instances_asked_for(clip, network):
    frames = list(track(clip, network, max_instances=1, device="cpu"))
    assert [len(frame.ids) for frame in frames] == [1] * FRAMES


def test_nothing_is_written_without_out(clip, network, tmp_path):
    assert track(clip, network, device="cpu").finish() == f"{FRAMES} frames, 2 tracks"
    assert list(tmp_path.iterdir()) == [clip]


def test_files_appear_when_all_frames_are_done(clip, network, tmp_path):
    out = tmp_path / "out"
    run = track(clip, network, out=out, device="cpu", pictures=False)
    next(run)
    assert not list(out.glob("[!.]*.txt")) + list(out.glob("[!.]*.jsonl"))
    assert run.finish() == f"{FRAMES} frames, 2 tracks; results are in {out}"
    assert {path.name for path in out.iterdir()} == {"street.tracks.txt", "street.tracks.jsonl"}
    rows = np.loadtxt(out / "street.tracks.txt", delimiter=",")
    assert rows.shape == (2 * FRAMES, 10)
    text = (out / "street.tracks.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert [sorted(i["id"] for i in record["instances"]) for record in records] == [[1, 2]] * FRAMES
    files = [str(clip / f"{number:02d}.png") for number in range(FRAMES)]
    assert [record["image"]["file"] for record in records] == files


def test_broken_and_odd_sized_frames_do_not_end_a_run(clip, network, tmp_path, capsys):
    (clip / "02.png").write_bytes(b"")
    Image.fromarray(draw_pins(pins(4), (133, 131))).save(clip / "04.png")
    out = tmp_path / "out"
    run = track(clip, network, out=out, device="cpu", pictures=False)
    line = f"{FRAMES - 1} frames, 2 tracks, frames that could not be read: 1; results are in {out}"
    assert run.finish() == line
    assert run.exit_code == 1
    told = capsys.readouterr().err
    assert "02.png" in told
    assert "the frame is left out" in told
    text = (out / "street.tracks.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 3, 4, 5]
    assert (records[3]["image"]["width"], records[3]["image"]["height"]) == (133, 131)
    assert all(sorted(i["id"] for i in record["instances"]) == [1, 2] for record in records)


def test_closed_run_leaves_no_files(clip, network, tmp_path):
    run = track(clip, network, out=tmp_path / "out", device="cpu", pictures=False)
    next(run)
    run.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_annotated_video_has_all_frames(clip, network, tmp_path):
    pytest.importorskip("av", reason="needs the extra 'video'")
    from tagwise.prediction.video import Video

    track(clip, network, out=tmp_path / "out", device="cpu").finish()
    frames = list(Video(tmp_path / "out" / "street.tracks.mp4"))
    assert len(frames) == FRAMES
    assert frames[0].image.shape == (128, 128, 3)


def test_rows_of_a_video_carry_its_file_name(network, tmp_path):
    pytest.importorskip("av", reason="needs the extra 'video'")
    from tagwise.prediction.video_writer import video_writer

    with video_writer(tmp_path / "clip.mp4", 25) as write:
        for number in range(2):
            write(draw_pins(pins(number)))
    track(tmp_path / "clip.mp4", network, out=tmp_path, device="cpu", pictures=False).finish()
    text = (tmp_path / "clip.tracks.jsonl").read_text()
    files = [json.loads(line)["image"]["file"] for line in text.splitlines()]
    assert files == [str(tmp_path / "clip.mp4")] * 2


def started(clip, network, **options):
    """Number of instances that have an id in the first frame."""
    return int((next(track(clip, network, device="cpu", **options)).ids > 0).sum())


def test_threshold_of_the_caller_precedes_settings_and_model(clip, network):
    """Scores of drawn pins are near 1."""
    assert started(clip, network) == 2
    assert started(clip, network, threshold=1.0) == 0
    assert started(clip, network, settings=TrackSettings(high=1.0)) == 0
    assert started(clip, network, settings=TrackSettings(high=1.0), threshold=0.5) == 2
    spec = network.spec
    network.spec = ModelSpec(
        spec.name, {}, "pose", spec.task_options, spec.input_size, decoder={"threshold": 1.0}
    )
    assert started(clip, network) == 0


def test_invalid_input_is_refused(clip, network, tmp_path):
    with pytest.raises(UserError, match="fill is -1 frames; use 0 or more"):
        track(clip, network, fill=-1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in the folder"):
        track(tmp_path / "empty", network)


def test_stride_and_names_of_options(clip, network, tmp_path):
    run = track(clip, network, device="cpu", stride=2, conf=0.5, out=tmp_path, pictures=False)
    frames = list(run)
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert [frame.result.frame for frame in frames] == [0, 2, 4]
    with pytest.raises(UserError, match="did you mean 'conf'"):
        track(clip, network, device="cpu", config=0.5)


def test_a_camera_that_stops_leaves_whole_files(network, tmp_path, monkeypatch):
    clips = pytest.importorskip("clips", reason="needs the extra 'video'")
    path = clips.write_clip(tmp_path / "clip.mp4", 4)
    openings = [path, OSError(5, "gone")]

    def opened(name, kind):
        opening = openings.pop(0) if len(openings) > 1 else openings[0]
        if isinstance(opening, OSError):
            raise opening
        return clips.av.open(str(opening))

    monkeypatch.setattr("tagwise.prediction.live.open_input", opened)
    monkeypatch.setattr("tagwise.prediction.live._WAITS", (0.01,))
    run = track(0, network, device="cpu", out=tmp_path / "out")
    assert "sources that stopped" in run.finish()
    assert run.exit_code == 1
    lines = (tmp_path / "out" / "camera-0.tracks.jsonl").read_text().splitlines()
    assert len(lines) == run.frames >= 1
    assert json.loads(lines[0])["image"]["file"] == "camera 0"
