"""Small files of labels, written by the library of the program that they come from."""

import warnings

import av
import numpy as np
import sleap_io as sio
from PIL import Image

NAMES = ["head", "tail tip", "尾"]


def write_video(path, frames=12, size=(64, 48), fps=25, rotate=None):
    """A video whose frame n is a grey of 16 n, with key frames at 0, 5 and 10."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"g": "5", "bf": "2", "sc_threshold": "0"}
        for n in range(frames):
            image = np.full((size[1], size[0], 3), 16 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def grey_of(path):
    return float(np.asarray(Image.open(path).convert("L")).mean())


def write_image(path, size=(64, 48), value=99):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)
    return path


def sleap_labels(video, frames=(3, 7), symmetric=True, name="mouse"):
    """Labels with two instances per frame; the second lacks its last keypoint."""
    skeleton = sio.Skeleton(list(NAMES), edges=[("head", "tail tip")], name=name)
    if symmetric:
        skeleton.add_symmetry("tail tip", "尾")
    if isinstance(video, list):
        video = sio.Video.from_filename(video)
    else:
        video = sio.Video(str(video), open_backend=False)
    made = []
    for n in frames:
        xy = np.array([[1.0 + n, 2], [30, 20], [40, 40]])
        other = np.array([[5.0, 6], [8, 9], [np.nan, np.nan]])
        each = [sio.Instance.from_numpy(points, skeleton) for points in (xy, other)]
        made.append(sio.LabeledFrame(video=video, frame_idx=n, instances=each))
    return sio.Labels(made)


def save_sleap(labels, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sio.save_slp(labels, str(path), verbose=False, **options)
    return path


def xy_of(instance):
    """The places of the labelled keypoints of an instance, None for the others."""
    return [[x, y] if v else None for x, y, v in instance.keypoints.round(2).tolist()]
