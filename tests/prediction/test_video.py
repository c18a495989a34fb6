import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tagwise.errors import UserError
from tagwise.prediction.sources import find_sources
from tagwise.prediction.video import (
    PhotoVideo,
    Video,
    is_video_file,
    open_video,
    upright,
)
from tagwise.prediction.video_writer import video_writer

av = pytest.importorskip("av")


def frame(index, size=(64, 48)):
    """A dark frame with a bright bar that moves by four pixels per frame."""
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


def test_written_frames_are_read_back(clip):
    video = Video(clip)
    assert (video.fps, video.frames) == (12.5, 10)
    for _ in range(2):  # every iteration starts from the first frame
        frames = list(video)
        assert [f.index for f in frames] == list(range(10))
        np.testing.assert_allclose([f.time for f in frames], np.arange(10) / 12.5, atol=1e-6)
        np.testing.assert_allclose([bar(f.image) for f in frames], 4 * np.arange(10) + 3.5, atol=1)
        assert all(f.image.shape == (48, 64, 3) and f.image.dtype == np.uint8 for f in frames)
    assert video.broken == 0


def test_codec_is_supported_by_browsers(clip):
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"


def test_frames_are_decoded_only_when_they_are_needed(clip, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        "tagwise.prediction.video.upright", lambda f: decoded.append(1) or upright(f)
    )
    frames = iter(Video(clip))
    next(frames)
    assert len(decoded) == 1
    frames.close()


def test_odd_last_row_and_column_are_left_out(tmp_path):
    with video_writer(tmp_path / "odd.mp4", 25) as write:
        write(frame(0, (33, 21)))
    assert next(iter(Video(tmp_path / "odd.mp4"))).image.shape == (20, 32, 3)


def test_no_file_remains_without_frames_or_after_an_error(tmp_path):
    with video_writer(tmp_path / "none.mp4", 25):
        pass

    def interrupted():
        with video_writer(tmp_path / "half.mp4", 25) as write:
            write(frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path):
    white = np.full((32, 32, 3), 255, np.uint8)
    with video_writer(tmp_path / "two.mp4", 25) as write:
        for image in (frame(0), white, frame(1)):
            write(image)
    first, fitted, last = [f.image for f in Video(tmp_path / "two.mp4")]
    assert first.shape == fitted.shape == last.shape == (48, 64, 3)
    assert fitted[24, 32].min() > 200  # a square of 48 pixels, with black on either side
    assert max(fitted[24, 2].max(), fitted[24, 61].max()) < 60
    assert bar(last) == pytest.approx(7.5, abs=1)


@pytest.mark.parametrize(
    ("rotation", "turns", "sides_swapped"), [(-90, -1, True), (90, 1, True), (180, 2, False)]
)
def test_frames_of_a_rotated_camera_are_upright(rotation, turns, sides_swapped):
    class Rotated:
        def to_ndarray(self, format):
            return frame(0)

    Rotated.rotation = rotation  # as FFmpeg counts: degrees anticlockwise
    image, swapped = upright(Rotated())
    np.testing.assert_array_equal(image, np.rot90(frame(0), turns))
    assert swapped is sides_swapped


def write_mjpeg(path, broken=(), rate=25, step=40, frames=10):
    """A Matroska file of JPEG frames, `step` milliseconds apart; `broken` ones are not JPEG."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(frame(index), format="rgb24")
            picture.pts, picture.time_base = index * step, Fraction(1, 1000)
            for packet in stream.encode(picture):
                if index in broken:
                    data = av.Packet(b"this is not a JPEG frame")
                    data.stream, data.time_base = packet.stream, packet.time_base
                    data.pts, data.dts = packet.pts, packet.dts
                    packet = data
                container.mux(packet)
        container.mux(stream.encode())
    return path


def test_broken_frames_are_counted_and_the_others_are_read(tmp_path):
    video = Video(write_mjpeg(tmp_path / "clip.mkv", broken=(3, 4)))
    for _ in range(2):  # the count is of one iteration
        frames = list(video)
        assert video.broken == 2
        assert [f.index for f in frames] == list(range(8))
        expected = [4 * index + 3.5 for index in (0, 1, 2, 5, 6, 7, 8, 9)]
        np.testing.assert_allclose([bar(f.image) for f in frames], expected, atol=1)
        np.testing.assert_allclose([f.time for f in frames][3], 0.2, atol=1e-3)


def test_video_without_a_frame_that_can_be_decoded_is_refused(tmp_path):
    video = Video(write_mjpeg(tmp_path / "clip.mkv", broken=range(10)))
    with pytest.raises(UserError, match=r"clip\.mkv contains no frame that can be decoded"):
        list(video)


def test_fps_is_measured_where_the_file_gives_only_its_clock(tmp_path):
    assert Video(write_mjpeg(tmp_path / "clip.mkv", rate=1000, step=50)).fps == pytest.approx(20)
    assert Video(write_mjpeg(tmp_path / "fast.mkv", rate=120, step=8)).fps == pytest.approx(120)


def test_fps_is_25_where_nothing_can_be_measured(tmp_path):
    assert Video(write_mjpeg(tmp_path / "one.mkv", rate=1000, frames=1)).fps == 25


@pytest.mark.parametrize("suffix", ["mp4", "MOV", "m4v", "mkv", "avi", "webm", "mts", "wmv", "y4m"])
def test_videos_are_recognised_by_suffix(tmp_path, suffix):
    assert is_video_file(tmp_path / f"clip.{suffix}")  # without the file, which is not read


def test_videos_of_unknown_suffix_are_recognised_by_content(tmp_path, clip):
    for name in ("clip", "clip.bin", "clip.0001"):
        (tmp_path / name).write_bytes(clip.read_bytes())
        assert is_video_file(tmp_path / name)
    assert is_video_file(write_mjpeg(tmp_path / "matroska"))
    sources = list(find_sources(tmp_path / "clip.bin"))
    assert [source.name for source in sources] == [f"clip-{n:06d}" for n in range(10)]


def test_other_files_are_not_treated_as_videos(tmp_path, clip):
    for name, content in (("notes", b"a text"), ("empty", b""), ("a.jpg", clip.read_bytes())):
        (tmp_path / name).write_bytes(content)
        assert not is_video_file(tmp_path / name)
    assert not is_video_file(tmp_path / "missing")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot read video .*clip.mp4"), (b"not a video at all" * 99, "cannot read video")],
)
def test_error_for_a_file_that_is_not_a_video_is_one_line(tmp_path, content, message):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        Video(tmp_path / "clip.mp4")
    assert "\n" not in str(raised.value)


def test_file_with_sound_only_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="has no video stream"):
        Video(path)


def test_missing_video_and_missing_extra_are_named(tmp_path, clip, monkeypatch):
    with pytest.raises(UserError, match=r"no such video: .*none\.mp4"):
        Video(tmp_path / "none.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'tagwise\[video\]'"):
        Video(clip)


def test_photos_of_a_folder_are_frames_in_natural_order(tmp_path):
    for index, name in ((2, "10"), (0, "1"), (1, "9")):
        Image.fromarray(frame(index)).save(tmp_path / f"{name}.png")
    video = open_video(tmp_path)
    assert isinstance(video, PhotoVideo)
    assert video.frames == 3
    assert [bar(f.image) for f in video] == [3.5, 7.5, 11.5]
    assert [f.time for f in video] == [0, 0.04, 0.08]
    assert [f.file.name for f in video] == ["1.png", "9.png", "10.png"]


def test_broken_photos_of_a_folder_are_reported_and_skipped(tmp_path, capsys):
    for index in range(4):
        Image.fromarray(frame(index)).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a frame")
    video = open_video(tmp_path)
    assert [(f.index, f.time) for f in video] == [(0, 0), (2, 0.08), (3, 0.12)]
    assert video.broken == 1
    told = capsys.readouterr().err
    assert "1.png" in told
    assert "the frame is left out" in told
    assert "skipped 1 .txt file" in told


def test_folder_of_broken_photos_only_is_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"no photo of .* could be read"):
        list(open_video(tmp_path))


def test_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in the folder"):
        open_video(tmp_path / "empty")


def test_frames_are_sources_to_predict_from(clip, tmp_path):
    Image.fromarray(frame(0)).save(tmp_path / "photo.png")
    sources = list(find_sources([str(clip), str(tmp_path / "photo.png")]))
    assert [s.name for s in sources] == [*(f"clip-{n:06d}" for n in range(10)), "photo"]
    assert bar(sources[3].image) == pytest.approx(15.5, abs=1)
    states = [source.state() for source in sources]
    assert len({str(state) for state in states}) == 11  # so that --resume can match each frame


@pytest.mark.parametrize("indices", [[0], [11, 4, 5], [3, 99], range(12), []])
def test_single_frames_are_those_of_the_whole_video(indices, tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "4", "bf": "2", "sc_threshold": "0"}
        for n in range(12):
            image = np.full((48, 64, 3), 16 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    every = {frame.index: frame.image for frame in Video(path)}
    found = list(Video(path).frames_at(indices))
    assert [frame.index for frame in found] == sorted(n for n in indices if n < 12)
    for frame in found:
        assert np.array_equal(frame.image, every[frame.index])
