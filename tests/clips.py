"""Small videos of moving pins, with a tone, turned or with wide pixels."""

from fractions import Fraction

import numpy as np
import pytest

from spots import draw_pins

av = pytest.importorskip("av", reason="needs the extra 'video'")

RATE = 8000  # samples of sound per second


def pins(number):
    """Two slanted pins that pass one above the other."""
    left, right = 14.0 + 3 * number, 84.0 - 3 * number
    return ((left, 16.0), (left + 30, 56.0), 0.0), ((right, 72.0), (right + 30, 112.0), 1.0)


def write_clip(path, frames=12, fps=10, times=None, tone=None, pixel_shape=1, kind=None):
    """Write a video; times: of its frames in seconds. tone: codec of a tone of 440 Hz."""
    times = [n / fps for n in range(frames)] if times is None else times
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = 128
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "10", "g": "4"}
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_shape)
        sound = tone and container.add_stream(tone, rate=RATE, layout="mono")
        if sound:
            for packet in sound.encode(_tone(times[-1] + 1 / fps, sound)):
                container.mux(packet)
            container.mux(sound.encode())
        for number, time in enumerate(times):
            picture = av.VideoFrame.from_ndarray(draw_pins(pins(number)), format="rgb24")
            picture.pts, picture.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _tone(seconds, stream):
    samples = np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    whole = (20000 * samples).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(whole, "s16", "mono")
    frame.sample_rate = RATE
    return frame


def heard(path):
    """The sound of a video: its samples, the time of the first, and the codec."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0), None, None
        parts = list(container.decode(audio=0))
        samples = np.concatenate([part.to_ndarray()[0] for part in parts])
        return samples.astype(float), parts[0].time, container.streams.audio[0].codec_context.name


def pitch(samples):
    """The loudest frequency in Hz."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / RATE)[power.argmax()])
