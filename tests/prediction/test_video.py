import sys

import numpy as np
import pytest
from PIL import Image

from tagwise.errors import UserError
from tagwise.prediction.sources import find_sources
from tagwise.prediction.video import PhotoVideo, Video, _upright, open_video, video_writer

av = pytest.importorskip("av")


def frame(index, size=(64, 48)):
    """A dark frame with a bright bar that moves by four pixels a frame."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    image[:, 4 * index : 4 * index + 8] = (250, 40, 40)
    return image


def bar(image):
    return float(np.flatnonzero(image[..., 0].mean(0) > 150).mean())


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    with video_writer(path, 12.5) as write:
        for index in range(10):
            write(frame(index))
    return path


def test_what_is_written_is_read_again(clip):
    video = Video(clip)
    assert (video.fps, video.frames) == (12.5, 10)
    for _ in range(2):  # every run through starts anew
        frames = list(video)
        assert [f.index for f in frames] == list(range(10))
        np.testing.assert_allclose([f.time for f in frames], np.arange(10) / 12.5, atol=1e-6)
        np.testing.assert_allclose([bar(f.image) for f in frames], 4 * np.arange(10) + 3.5, atol=1)
        assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    assert video.broken == 0


def test_the_codec_is_one_that_browsers_play(clip):
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"


def test_frames_are_decoded_only_as_they_are_needed(clip, monkeypatch):
    turned = []
    monkeypatch.setattr(
        "tagwise.prediction.video._upright", lambda f: turned.append(1) or _upright(f)
    )
    frames = iter(Video(clip))
    next(frames)
    assert len(turned) == 1
    frames.close()


def test_an_odd_last_row_and_column_are_left_out(tmp_path):
    with video_writer(tmp_path / "odd.mp4", 25) as write:
        write(frame(0, (33, 21)))
    assert next(iter(Video(tmp_path / "odd.mp4"))).image.shape == (20, 32, 3)


def test_no_file_without_frames_or_after_an_error(tmp_path):
    with video_writer(tmp_path / "none.mp4", 25):
        pass

    def interrupted():
        with video_writer(tmp_path / "half.mp4", 25) as write:
            write(frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_refused(tmp_path):
    def two_sizes():
        with video_writer(tmp_path / "two.mp4", 25) as write:
            write(frame(0))
            write(frame(0, (32, 32)))

    with pytest.raises(UserError, match="32 by 32 pixels cannot follow those of 64 by 48"):
        two_sizes()
    assert list(tmp_path.iterdir()) == []


def test_a_turned_camera_gives_upright_frames():
    class Turned:
        rotation = -90  # as FFmpeg has it: to be turned by 90 degrees with the clock

        def to_ndarray(self, format):
            return frame(0)

    np.testing.assert_array_equal(_upright(Turned()), np.rot90(frame(0), -1))


def test_a_damaged_part_is_passed_over_and_counted(clip):
    data = bytearray(clip.read_bytes())
    start = data.find(b"mdat") + 4
    middle = start + (data.find(b"moov") - start) // 2
    data[middle : middle + 60] = b"\xff" * 60
    clip.write_bytes(data)
    video = Video(clip)
    assert 0 < len(list(video)) <= 10


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot read video .*clip.mp4"), (b"no video at all" * 99, "cannot read video")],
)
def test_what_is_no_video_is_said_in_a_line(tmp_path, content, message):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        Video(tmp_path / "clip.mp4")
    assert "\n" not in str(raised.value)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="has no pictures"):
        Video(path)


def test_a_missing_video_and_a_missing_extra_are_named(tmp_path, clip, monkeypatch):
    with pytest.raises(UserError, match=r"no such video: .*none\.mp4"):
        Video(tmp_path / "none.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'tagwise\[video\]'"):
        Video(clip)


def test_photos_of_a_folder_are_frames_in_the_order_of_their_names(tmp_path):
    for index in (2, 0, 1):
        Image.fromarray(frame(index)).save(tmp_path / f"{index:03d}.png")
    video = open_video(tmp_path)
    assert isinstance(video, PhotoVideo)
    assert video.frames == 3
    assert [bar(f.image) for f in video] == [3.5, 7.5, 11.5]
    assert [f.time for f in video] == [0, 0.04, 0.08]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photo in the folder"):
        open_video(tmp_path / "empty")


def test_frames_are_sources_to_predict_from(clip, tmp_path):
    Image.fromarray(frame(0)).save(tmp_path / "photo.png")
    sources = list(find_sources([str(clip), str(tmp_path / "photo.png")]))
    assert [s.name for s in sources] == [*(f"clip-{n:06d}" for n in range(10)), "photo"]
    assert bar(sources[3].image) == pytest.approx(15.5, abs=1)
    states = [source.state() for source in sources]
    assert len({str(state) for state in states}) == 11  # so that --resume knows each again
