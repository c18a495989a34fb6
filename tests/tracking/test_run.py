"""The verb and its run: two pins walk through a folder of frames, seen by a spot network."""

import json

import numpy as np
import pytest
from PIL import Image

from spots import SpotNetwork, draw_pins
from tagwise.commands.track import track
from tagwise.errors import UserError
from tagwise.models.network import ModelSpec
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


def test_everyone_keeps_their_id(clip, network):
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
    assert {record["image"]["file"] for record in records} == {
        str(clip / f"{number:02}.png") for number in range(FRAMES)
    }


def test_a_run_that_is_closed_leaves_no_files(clip, network, tmp_path):
    run = track(clip, network, out=tmp_path / "out", device="cpu", pictures=False)
    next(run)
    run.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_video_with_pictures(clip, network, tmp_path):
    pytest.importorskip("av", reason="needs the extra 'video'")
    from tagwise.prediction.video import Video

    track(clip, network, out=tmp_path / "out", device="cpu").finish()
    frames = list(Video(tmp_path / "out" / "street.tracks.mp4"))
    assert len(frames) == FRAMES
    assert frames[0].image.shape == (128, 128, 3)


def started(clip, network, **options):
    """Number of instances that have an id in the first frame."""
    return int((next(track(clip, network, device="cpu", **options)).ids > 0).sum())


def test_the_threshold_is_the_callers_else_that_of_the_settings_else_the_models(clip, network):
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


def test_bad_input(clip, network, tmp_path):
    with pytest.raises(UserError, match="fill is -1 frames; use 0 or more"):
        track(clip, network, fill=-1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in the folder"):
        track(tmp_path / "empty", network)
