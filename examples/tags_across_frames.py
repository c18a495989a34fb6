"""Tags that agree across the frames of a clip keep identities when instances meet.

    python examples/tags_across_frames.py

A small network learns tags from synthetic clips in about half a minute. For the loss, a whole clip
is one "image": the tags of a figure are pulled together over all frames, and figures that never
share a frame are pushed apart too. On new clips these tags tell the tracker whether two figures
that met went on or turned back, which their boxes cannot say.
"""

import sys

import numpy as np
import torch
from torch import nn

from tagwise.data.synthetic.clips import Clip, synthetic_clip
from tagwise.losses import pull_push
from tagwise.results import Boxes
from tagwise.tracking.tracker import Tracker, TrackSettings

STRIDE = 4


def tag_network(dims: int = 4) -> nn.Module:
    """A network from images (B, 3, H, W) of `as_input` to tag maps (B, dims, H / 4, W / 4)."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        nn.Conv2d(32, dims, 1),
    )


def train(steps: int = 400, clips: int = 4, frames: int = 6, across: bool = True) -> nn.Module:
    """Train a network whose tags separate figures.

    across: take a clip as one image in the loss; otherwise every frame is one, as in training on
        photos.
    """
    torch.manual_seed(0)
    network = tag_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(steps):
        batch = [synthetic_clip(1000 + step * clips + n, frames) for n in range(clips)]
        tags = network(as_input(np.concatenate([clip.images for clip in batch])))
        owner = np.concatenate([clip.owner for clip in batch])[:, 2::STRIDE, 2::STRIDE]
        frame, y, x = np.nonzero(owner >= 0)
        group = torch.from_numpy(owner[frame, y, x].astype(np.int64))
        image = torch.from_numpy(frame // frames if across else frame)
        # Tags are almost equal at first. There the gradient of the exponential form is near 0.
        loss = pull_push(tags[frame, :, y, x], group, image, push="hinge", margin=2.0)
        optimizer.zero_grad()
        (loss.pull + loss.push).backward()
        optimizer.step()
    return network.eval()


@torch.inference_mode()
def detections(clip: Clip, network: nn.Module, seed: int = 0) -> list[Boxes]:
    """What a detector would find in each frame: inaccurate boxes with the tags at their centres.

    Figures that are more than half hidden are missed, and one in twenty of the others.
    """
    rng = np.random.default_rng(seed)
    tags = network(as_input(clip.images)).permute(0, 2, 3, 1).numpy()
    found = []
    for t, (boxes, share) in enumerate(zip(clip.boxes, clip.visible)):
        visible = np.flatnonzero((share > 0.5) & (rng.random(len(share)) > 0.05))
        here, scores = boxes[visible], 0.9 * share[visible]
        cells = ((here[:, :2] + here[:, 2:] / 2) / STRIDE).astype(int)
        read = tags[t, cells[:, 1], cells[:, 0]]
        error = rng.normal(0, 0.03, here.shape) * np.tile(here[:, 2:], 2)
        classes = np.zeros(len(here), int)
        pair = np.repeat(read[:, None], 2, axis=1)  # a box has one tag per corner
        found.append(Boxes(here + error, scores, classes, ("figure",), None, pair))
    return found


def share_kept(clip: Clip, found: list[Boxes], settings: TrackSettings) -> float:
    """Share of the figures that have the same id at the start and at the end."""
    tracker, ids = Tracker(settings), np.full(clip.visible.shape, -1)
    for t, boxes in enumerate(found):
        for number, box in zip(tracker.update(boxes), boxes.boxes):
            ids[t, np.abs(clip.boxes[t] - box).sum(1).argmin()] = number
    found_ids = [own[own >= 0] for own in ids.T if (own >= 0).any()]
    return float(np.mean([own[0] == own[-1] for own in found_ids]))


def as_input(images: np.ndarray) -> torch.Tensor:
    """Images (B, H, W, 3) uint8 as the network's input (B, 3, H, W) float32."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 64 - 2


def main(steps: int) -> None:
    torch.set_num_threads(1)
    clips = [synthetic_clip(seed) for seed in range(20)]
    for name, across in (("a clip", True), ("a frame", False)):
        network = train(steps, across=across)
        found = [detections(clip, network) for clip in clips]
        for how, settings in (("tags", TrackSettings()), ("no tags", TrackSettings(tags=False))):
            share = np.mean([share_kept(clip, f, settings) for clip, f in zip(clips, found)])
            print(f"one image is {name}, tracked with {how}: {share:.0%} keep their id")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
