"""From corner maps to boxes: CPU time of one thread, and how well crowds are paired.

    python benchmarks/corners.py [FOLDER]

FOLDER holds `corner_scenes.py`, the generator of the scenes; by default it is the folder of shared
data next to the project. Maps have 128 x 128 cells and 80 classes, and the best 100 top-left and
bottom-right corners are used. The goal is 4 CPU ms with the default settings. The reference is the
published method in plain torch: a window maximum over every cell of every class, the best of all of
them, and a table of all pairs.
"""

import numpy as np
import torch
from _bench import at_size, report, scene_maker, timed, verdict
from torch.nn.functional import max_pool2d

from tagwise.grouping import CornerSettings, decode_corners
from tagwise.grouping.corner_peaks import find_corners
from tagwise.grouping.corners import pair_by_truth

TOP_K = 100
SETTINGS = {
    "default": CornerSettings(top_k=TOP_K),
    "cornernet": CornerSettings.preset("cornernet", top_k=TOP_K),
}
# Number of objects, tags and classes of the scenes.
CASES = [
    (50, "separated", "random"),
    (100, "separated", "random"),
    (50, "crowded", "one"),
    (100, "crowded", "one"),
]
CASES = at_size(CASES, CASES[:1])
SEEDS, TIMED_SEEDS = at_size((range(10), range(3)), (range(1), range(1)))
GOAL = 4.0


def main() -> None:
    corner_scenes = scene_maker(__doc__, "corner_scenes")
    torch.set_num_threads(1)
    report("corner_time", [_times(corner_scenes, *case) for case in CASES])
    print()
    report("corner_quality", [_quality(corner_scenes, *case) for case in CASES])


def _maps(scene) -> list[torch.Tensor]:
    heat = [scene[name].sigmoid() for name in ("tl_heat", "br_heat")]
    return heat + [scene[name] for name in ("tl_tag", "br_tag", "tl_reg", "br_reg")]


def _times(corner_scenes, count, tags, classes) -> dict:
    """Medians over three seeds of the median CPU time; the heatmaps are scores in [0, 1]."""
    rows = []
    for seed in TIMED_SEEDS:
        maps = _maps(corner_scenes.scene(count, seed, tags=tags, classes=classes))
        row = {
            name: timed(lambda maps=maps, how=how: decode_corners(*maps, settings=how))
            for name, how in SETTINGS.items()
        }
        row["corners only"] = timed(lambda maps=maps: find_corners(*maps, SETTINGS["default"]))
        row["reference"] = timed(lambda maps=maps: _reference(*maps), 5, 1)
        rows.append(row)
    median = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    goal = {"goal": GOAL, "": verdict(median["default"], GOAL)}
    return {"scenes": f"{count} objects, {tags} tags, class {classes}", **median, **goal}


def _quality(corner_scenes, count, tags, classes) -> dict:
    """Precision, recall and F1 at score .5 and IoU .75, and the F1 of the true pairs."""
    row = {"scenes": f"{count} objects, {tags} tags, class {classes}"}
    found = {"default": [], "cornernet": [], "reference": [], "true pairs": []}
    for seed in SEEDS:
        scene = corner_scenes.scene(count, seed, tags=tags, classes=classes)
        maps = _maps(scene)
        decoded = {name: decode_corners(*maps, settings=how)[0] for name, how in SETTINGS.items()}
        corners = find_corners(*maps, SETTINGS["default"])
        decoded["true pairs"] = pair_by_truth(corners, [scene["boxes"]], [scene["cls"]])[0]
        rows = {
            name: (np.column_stack([boxes.boxes, boxes.scores]), boxes.classes)
            for name, boxes in decoded.items()
        }
        rows["reference"] = _reference(*maps)
        for name, boxes in rows.items():
            found[name].append(corner_scenes.score(*boxes, scene["boxes"], scene["cls"]))
    for name, scores in found.items():
        precision, recall, f1 = np.mean(scores, axis=0)
        if name == "default":
            row |= {"default: precision": precision, "recall": recall}
        row["F1" if name == "default" else f"F1 {name}"] = f1
    return row


def _reference(tl_heat, br_heat, tl_tag, br_tag, tl_off, br_off):
    """The published decoding in plain torch: (N, 5) x1, y1, x2, y2, score, and (N,) classes."""
    corners = []
    for heat, tag, off in ((tl_heat, tl_tag, tl_off), (br_heat, br_tag, br_off)):
        _, _, height, width = heat.shape
        highest = max_pool2d(heat, 3, stride=1, padding=1)
        score, index = (heat * (heat == highest)).flatten().topk(TOP_K)
        cell, label = index % (height * width), index // (height * width)
        x = cell % width + off[0, 0].flatten()[cell]
        y = cell // width + off[0, 1].flatten()[cell]
        corners.append((x, y, score, label, tag[0].flatten(1)[:, cell]))
    tl, br = (
        [value.unsqueeze(axis) for value in values[:4]] for axis, values in zip((1, 0), corners)
    )
    distance = (corners[0][4][:, :, None] - corners[1][4][:, None]).square().sum(dim=0).sqrt()
    score = (tl[2] + br[2]) / 2
    wrong = (tl[3] != br[3]) | (distance > 0.5) | (br[0] < tl[0]) | (br[1] < tl[1])
    score = torch.where(wrong, -1.0, score)
    best, pair = score.flatten().topk(min(1000, score.numel()))
    columns = [value.expand_as(score).flatten()[pair] for value in (tl[0], tl[1], br[0], br[1])]
    rows = torch.stack([*columns, best], dim=1)[best > -1]
    classes = tl[3].expand_as(score).flatten()[pair][best > -1]
    return rows.numpy(), classes.numpy()


if __name__ == "__main__":
    main()
