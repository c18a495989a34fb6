"""Predicting from videos: one annotated video and one file of JSON lines for each."""

import json
import threading

import numpy as np
import pytest
from PIL import Image

from clips import heard, pins, pitch, write_clip
from spots import SpotNetwork, draw_pins
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.labels import read_labels
from tagwise.prediction import run as runs
from tagwise.prediction import video_files
from tagwise.prediction.video import Video
from tagwise.results import Poses


@pytest.fixture
def network():
    return SpotNetwork()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_video_gives_one_video_and_one_file_of_lines(tmp_path, network):
    clip, out = write_clip(tmp_path / "clip.mp4"), tmp_path / "out"
    run = predict(clip, network, device="cpu", out=out)
    assert run.finish() == f"12 frames, 24 instances; results are in {out}"
    assert run.exit_code == 0
    assert names(out) == {"clip.predictions.mp4", "clip.predictions.jsonl"}
    records = lines(out / "clip.predictions.jsonl")
    assert [record["frame"] for record in records] == list(range(12))
    np.testing.assert_allclose([record["time"] for record in records], np.arange(12) / 10)
    assert {record["image"]["file"] for record in records} == {str(clip)}
    for number, record in enumerate(records):
        tops = sorted(each["keypoints"][0][:2] for each in record["instances"])
        np.testing.assert_allclose(tops, sorted(pin[0] for pin in pins(number)), atol=1)
    plain, drawn = Video(clip), Video(out / "clip.predictions.mp4")
    for before, after in zip(plain, drawn, strict=True):
        assert after.time == pytest.approx(before.time, abs=1e-3)
        assert np.abs(after.image.astype(int) - before.image).max() > 100  # skeletons


def test_results_have_the_frame_and_its_time(tmp_path, network):
    results = predict(write_clip(tmp_path / "clip.mp4", 4), network, device="cpu", stride=2)
    assert [(r.frame, r.time, r.file) for r in results] == [
        (0, 0, str(tmp_path / "clip.mp4")),
        (2, 0.2, str(tmp_path / "clip.mp4")),
    ]
    assert results.to_df()["frame"].tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("tone", ["aac", "pcm_s16le"])
def test_sound_is_kept_and_stays_in_time(tmp_path, network, tone):
    clip = write_clip(tmp_path / "clip.mov", tone=tone)
    predict(clip, network, device="cpu", out=tmp_path / "out", stride=3).finish()
    before, start, _ = heard(clip)
    after, later, codec = heard(tmp_path / "out" / "clip.predictions.mp4")
    assert codec == "aac"
    assert pitch(after) == pytest.approx(440, abs=5)
    assert later == pytest.approx(start, abs=0.15)
    assert len(after) == pytest.approx(len(before), rel=0.3)


def test_uneven_times_are_kept(tmp_path, network):
    times = [0, 0.04, 0.5, 0.54, 1.3]
    clip = write_clip(tmp_path / "clip.mp4", times=times)
    predict(clip, network, device="cpu", out=tmp_path / "out").finish()
    written = [frame.time for frame in Video(tmp_path / "out" / "clip.predictions.mp4")]
    np.testing.assert_allclose(written, times, atol=2e-3)


def test_wide_pixels_are_kept_and_swapped_for_turned_frames(tmp_path, network, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", 3, pixel_shape=2)
    predict(clip, network, device="cpu", out=tmp_path / "wide").finish()
    assert Video(tmp_path / "wide" / "clip.predictions.mp4").pixel_shape == 2
    upright = lambda frame: (np.rot90(frame.to_ndarray(format="rgb24")).copy(), True)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr("tagwise.prediction.video.upright", upright)
        predict(clip, network, device="cpu", out=tmp_path / "turned").finish()
    assert Video(tmp_path / "turned" / "clip.predictions.mp4").pixel_shape == 0.5


def test_frames_on_request_and_no_pictures(tmp_path, network):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    predict(clip, network, device="cpu", out=tmp_path / "a", frames=True).finish()
    expected = {
        f"clip-{n:06d}.predictions.{suffix}" for n in range(3) for suffix in ("json", "jpg")
    }
    assert names(tmp_path / "a") == expected
    predict(clip, network, device="cpu", out=tmp_path / "b", pictures=False).finish()
    assert names(tmp_path / "b") == {"clip.predictions.jsonl"}


def test_photos_and_several_videos_have_their_own_files(tmp_path, network):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.mp4", 3)
    Image.fromarray(draw_pins(pins(0))).save(tmp_path / "photo.png")
    sources = [tmp_path / "one" / "clip.mp4", tmp_path / "photo.png", tmp_path / "two" / "clip.mp4"]
    run = predict(sources, network, device="cpu", out=tmp_path / "out", pictures=False)
    assert run.finish().startswith("7 frames, 14 instances")
    written = sorted((tmp_path / "out").rglob("*.predictions.json*"))
    assert len(written) == 3
    assert sorted(len(lines(path)) for path in written) == [1, 3, 3]


def test_a_stopped_run_leaves_whole_files(tmp_path, network):
    clip, out = write_clip(tmp_path / "clip.mp4"), tmp_path / "out"
    run = predict(clip, network, device="cpu", out=out, stream=True)
    next(run)
    next(run)
    assert names(out) == set()
    run.close()
    records = lines(out / "clip.predictions.jsonl")
    frames = list(Video(out / "clip.predictions.mp4"))
    assert 2 <= len(records) == len(frames) < 12
    assert not list(out.glob("*.partial"))


def test_an_interrupted_run_is_repeated_and_a_complete_one_resumed(tmp_path, network):
    clip, out = write_clip(tmp_path / "clip.mp4"), tmp_path / "out"
    run = predict(clip, network, device="cpu", out=out)
    next(run)
    run.close()
    run = predict(clip, network, device="cpu", out=out, resume=True)
    assert "12 frames" in run.finish()
    assert run.resumed == 0
    again = predict(clip, network, device="cpu", out=out, resume=True)
    for before, after in zip(run, again, strict=True):
        assert (after.frame, after.time, after.file) == (before.frame, before.time, before.file)
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=0.01)
    assert (again.resumed, again.written) == (12, 0)
    with pytest.raises(UserError, match="stride"):
        predict(clip, network, device="cpu", out=out, resume=True, stride=2)


def test_few_frames_wait_however_long_the_video_is(tmp_path, network, monkeypatch):
    """Drawn frames wait for the encoder, which is slow here; their number has a limit."""
    held, most, lock = 0, [0], threading.Lock()
    save, drawn = video_files.VideoFiles._save, Poses.draw

    def count(change):
        nonlocal held
        with lock:
            held += change
            most[0] = max(most[0], held)

    def counted_draw(*arguments):
        count(+1)
        return drawn(*arguments)

    def slow_save(*arguments):
        threading.Event().wait(0.01)
        save(*arguments)
        count(-1)

    monkeypatch.setattr(Poses, "draw", counted_draw)
    monkeypatch.setattr(video_files.VideoFiles, "_save", slow_save)
    peaks = []
    for frames in (30, 60):
        most[0] = 0
        clip = write_clip(tmp_path / f"{frames}.mp4", frames)
        run = predict(clip, network, device="cpu", out=tmp_path / "out", stream=True)
        assert sum(1 for _ in run) == frames
        peaks.append(most[0])
    assert max(peaks) <= runs._WRITERS + 1


def test_a_video_without_frames_is_one_line(tmp_path, network):
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read video .*clip\.mp4"):
        predict(tmp_path / "clip.mp4", network, device="cpu")


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, network, monkeypatch):
    def full(*_):
        raise UserError("cannot write clip: no space left")

    clip, out = write_clip(tmp_path / "clip.mp4"), tmp_path / "out"
    monkeypatch.setattr("tagwise.prediction.video_writer._Writer.add", full)
    with pytest.raises(UserError, match="no space left"):
        predict(clip, network, device="cpu", out=out).finish()
    assert names(out) == set()


@pytest.mark.parametrize("stride", [0, -1, 1.5, "2"])
def test_wrong_strides_are_refused(tmp_path, network, stride):
    with pytest.raises(UserError, match="stride is"):
        predict(write_clip(tmp_path / "clip.mp4", 2), network, stride=stride)


class FakeWindow:
    """Counts pictures, and is closed by its user after three."""

    def __init__(self, title):
        self.pictures = []
        FakeWindow.last = self

    @property
    def closed(self):
        return len(self.pictures) >= 3

    def show(self, picture):
        self.pictures.append(picture)


def test_a_window_shows_each_frame_and_closing_it_ends_the_run(tmp_path, network, monkeypatch):
    monkeypatch.setattr("tagwise.commands.predict.Window", FakeWindow)
    clip = write_clip(tmp_path / "clip.mp4", 30)
    run = predict(clip, network, device="cpu", show=True, stream=True)
    assert 3 <= sum(1 for _ in run) < 30
    assert FakeWindow.last.pictures[0].shape == (128, 128, 3)


def test_show_without_a_display_is_refused_before_the_work(tmp_path, network, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="save"):
        predict(write_clip(tmp_path / "clip.mp4", 2), network, show=True)
    assert network.batches == []


@pytest.mark.parametrize("frames", [False, True])
def test_predictions_of_a_video_are_labels_that_convert_reads(tmp_path, network, frames):
    clip, out = write_clip(tmp_path / "clip.mp4", 3), tmp_path / "out"
    predict(clip, network, device="cpu", out=out, frames=frames, pictures=False).finish()
    found = read_labels(out)
    assert [image.frame for image in found.images] == [0, 1, 2]
    assert {image.path for image in found.images} == {clip}
    assert [len(image.instances) for image in found.images] == [2, 2, 2]
    if not frames:
        alone = read_labels(out / "clip.predictions.jsonl")
        assert [image.frame for image in alone.images] == [0, 1, 2]
        assert alone.images[0].instances[0].track is None
