"""Labels and predictions as a SLEAP file, which SLEAP opens for correction."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.files import whole_file
from tagwise.labels.choose import with_keypoints
from tagwise.labels.frames import image_names, write_images
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet
from tagwise.labels.sleap import quiet, sleap_io


def write_sleap(found: LabelSet, path: Path, progress: bool = False) -> Path:
    """Write a .slp file that refers to the videos and images, and return its path.

    Predictions become predicted instances, and tracks stay. Boxes, masks, and whether a keypoint is
    hidden are lost. Images inside a file of labels are written beside it.
    """
    sio = sleap_io()
    found = with_keypoints(found)
    skeletons = {each.name: _skeleton(sio, each) for each in found.categories}
    tracks: dict[str, Any] = {}
    frames = []
    videos = _videos(sio, found, path, progress)
    for image in found.images:
        if id(image) not in videos:
            continue
        video, index = videos[id(image)]
        instances = [_instance(sio, each, skeletons, tracks) for each in image.instances]
        frames.append(sio.LabeledFrame(video=video, frame_idx=index, instances=instances))
    labels = sio.Labels(frames, skeletons=list(skeletons.values()), tracks=list(tracks.values()))
    with tempfile.TemporaryDirectory() as folder, quiet(path, "SLEAP file"):
        made = Path(folder) / "labels.slp"
        sio.save_slp(labels, str(made), embed=False, verbose=False)
        with whole_file(path) as file:
            file.write(made.read_bytes())
    return path


def _skeleton(sio: Any, category: Category) -> Any:
    nodes = [sio.Node(name) for name in category.keypoints]
    edges = [sio.Edge(nodes[a], nodes[b]) for a, b in category.edges]
    pairs = [sio.Symmetry([nodes[a], nodes[b]]) for a, b in category.pairs]
    return sio.Skeleton(nodes=nodes, edges=edges, symmetries=pairs, name=category.name)


def _videos(sio: Any, found: LabelSet, path: Path, progress: bool) -> dict[int, tuple[Any, int]]:
    """The SLEAP video and the index in it of each image, by its id."""
    inside = [image for image in found.images if image.pixels]
    folder, names = path.parent / f"{path.stem}_images", image_names(inside)
    written = write_images(inside, names, folder, found.problems, progress)
    places: dict[int, tuple[Any, int]] = {}
    lists: dict[Any, list[LabelledImage]] = {}
    made: dict[str, Any] = {}
    for image in found.images:
        if image.pixels is None and image.frame is not None:
            file = str(image.path.absolute() if image.path else image.file)
            shape = (None, image.height, image.width, 3) if image.height else None
            if file not in made:
                made[file] = _video(sio, file, shape)
            places[id(image)] = made[file], image.frame
        elif image.pixels is None or id(image) in written:
            # SLEAP expects the images of a list to have the same size.
            lists.setdefault((image.group, image.width, image.height), []).append(image)
    for images in lists.values():
        files = [
            str((folder / names[id(i)] if i.pixels else i.path or Path(i.file)).absolute())
            for i in images
        ]
        height, width = images[0].height, images[0].width
        video = _video(sio, files, (len(files), height, width, 3) if height else None)
        for index, image in enumerate(images):
            places[id(image)] = video, index
    return places


def _video(sio: Any, file: str | list[str], shape: Any) -> Any:
    if isinstance(file, list):
        metadata = {"type": "ImageVideo", "filename": file[0], "filenames": file}
    else:
        metadata = {"type": "MediaVideo", "filename": file}
    metadata |= {"shape": shape} if shape else {}
    return sio.Video(file, open_backend=False, backend_metadata=metadata)


def _instance(
    sio: Any, instance: Instance, skeletons: dict[str, Any], tracks: dict[str, Any]
) -> Any:
    keypoints = instance.keypoints
    xy = np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan)
    track = None
    if instance.track is not None:
        track = tracks.setdefault(str(instance.track), sio.Track(str(instance.track)))
    skeleton = skeletons[instance.category]
    if not instance.predicted:
        return sio.Instance.from_numpy(xy, skeleton, track=track)
    scores = instance.keypoint_scores
    scores = np.full(len(xy), instance.score) if scores is None else scores
    return sio.PredictedInstance.from_numpy(
        xy, skeleton, point_scores=scores, score=instance.score, track=track
    )
