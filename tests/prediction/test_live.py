"""Cameras and videos at addresses, which stop and come back."""

import errno

import numpy as np
import pytest

from clips import av, write_clip
from servers import serving
from spots import SpotNetwork
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.prediction import live
from tagwise.prediction.live import LiveVideo, is_live


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(live, "_WAITS", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        *((0, True), ("0", True), ("2", True), (False, False), ("photo.jpg", False)),
        *(("rtsp://camera/1", True), ("https://a.org/clip.mp4?x=1", True)),
        *(("https://a.org/live.m3u8", True), ("https://a.org/photo.jpg", False)),
    ],
)
def test_cameras_and_streams_are_recognised(source, expected):
    assert is_live(source) is expected


def test_a_video_at_an_address_is_read_completely(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", 20)
    with serving(clip.read_bytes()) as server:
        video = LiveVideo(f"{server.address}/some%20clip.ts")
        frames = list(video)
    assert str(video.path) == "some_clip"
    assert [frame.index for frame in frames] == list(range(20))
    assert video.broken == 0


def test_results_of_an_address_are_named_after_it(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", 5)
    with serving(clip.read_bytes()) as server:
        address = f"{server.address}/walk.ts"
        run = predict(address, SpotNetwork(), device="cpu", out=tmp_path / "out")
        assert run.finish().startswith("5 frames, 10 instances")
    assert (tmp_path / "out" / "walk.predictions.mp4").is_file()
    assert (tmp_path / "out" / "walk.predictions.jsonl").read_text().count(address) == 5


def camera(monkeypatch, *openings):
    """Let cameras open these files, or raise these errors, one after another; the last repeats."""
    left = list(openings)

    def opened(name, kind):
        opening = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(opening, Exception):
            raise opening
        return av.open(str(opening))

    monkeypatch.setattr(live, "open_input", opened)


def test_a_camera_that_comes_back_goes_on(tmp_path, monkeypatch, capsys):
    clip, gone = write_clip(tmp_path / "clip.mp4", 3), OSError(errno.EIO, "gone")
    camera(monkeypatch, clip, gone, gone, clip, gone, gone, gone)
    video = LiveVideo(0)
    times = [frame.time for frame in video]
    assert 2 <= len(times) <= 6
    assert times == sorted(times)
    assert video.broken == 1
    told = capsys.readouterr().err
    assert "camera 0 stopped" in told
    assert "in 3 attempts; everything until then is complete" in told
    assert len(told.splitlines()) == 1


def test_a_run_of_a_camera_that_stops_has_whole_files_and_exit_code_1(tmp_path, monkeypatch):
    gone = OSError(errno.EIO, "gone")
    camera(monkeypatch, write_clip(tmp_path / "clip.mp4", 4), gone)
    run = predict("0", SpotNetwork(), device="cpu", out=tmp_path / "out")
    assert "sources that stopped: 1" in run.finish()
    assert run.exit_code == 1
    lines = (tmp_path / "out" / "camera-0.predictions.jsonl").read_text().splitlines()
    with av.open(str(tmp_path / "out" / "camera-0.predictions.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(lines) >= 1


def test_a_slow_reader_gets_the_newest_frame_and_memory_does_not_grow(tmp_path, monkeypatch):
    camera(monkeypatch, write_clip(tmp_path / "clip.mp4", 40), OSError(errno.EIO, "gone"))
    reader = live._Reader(LiveVideo(0))
    reader.thread.start()
    reader.thread.join(0.5)  # all frames have arrived, and none was taken
    assert reader._queue.qsize() == 1
    assert len(list(reader.frames())) <= 1


def test_a_stall_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_TIMEOUT", 0.05)
    camera(monkeypatch, write_clip(tmp_path / "clip.mp4", 2))
    reader = live._Reader(LiveVideo(0))  # whose thread never starts
    assert list(reader.frames()) == []
    assert "no frame for" in reader.reason


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EBUSY, "camera 0 is used by another program; close that program"),
        (errno.EACCES, "camera 0 must not be read by this user"),
        (errno.ENOENT, "there is no camera 0; connect one"),
        (errno.EIO, "cannot open camera 0"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_one_line_before_the_work(monkeypatch, number, told):
    camera(monkeypatch, OSError(number, "reason"))
    network = SpotNetwork()
    with pytest.raises(UserError, match=told):
        predict(0, network, device="cpu")
    assert network.batches == []


def test_a_computer_without_a_camera_says_so():
    with pytest.raises(UserError, match="camera 97"):
        LiveVideo(97)


def test_an_address_without_an_answer_is_one_line():
    with pytest.raises(UserError, match=r"cannot open rtsp://127.0.0.1:9/a .*check the address"):
        LiveVideo("rtsp://127.0.0.1:9/a")


def test_stride_takes_every_nth_frame(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", 9)
    with serving(clip.read_bytes()) as server:
        frames = list(LiveVideo(f"{server.address}/clip.ts", stride=4))
    np.testing.assert_array_equal([frame.index for frame in frames], [0, 4, 8])
