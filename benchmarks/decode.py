"""From maps to grouped keypoints: CPU time of one thread, and how well crowds are grouped.

    python benchmarks/decode.py [FOLDER]

FOLDER holds `pose_scenes.py`, the generator of the scenes (17 keypoint types); by default it is the
folder of shared data next to the project. Figures are medians over seeds 0 to 9. The reference is
the published method in plain numpy: a window maximum over every cell, and a search of the whole map
for every missing keypoint. The goal of the presets of published decoders is 3 times the CPU time of
the default decoder on the same scenes.
"""

import numpy as np
import torch
from _bench import at_size, report, scene_maker, timed, verdict
from scipy.ndimage import maximum_filter
from scipy.optimize import linear_sum_assignment

from tagwise.grouping import GroupingSettings, decode_keypoints
from tagwise.grouping.fill import fill_missing
from tagwise.grouping.keypoints import group_batch
from tagwise.grouping.peaks import find_peaks

ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]
SEEDS = at_size(range(10), range(1))
# Side of the maps and tag dimension -> goal in CPU milliseconds, for 30 people.
GOALS = {(512, 2): 12.0, (512, 1): 10.0, (128, 2): None, (128, 1): 1.5}
GOALS = at_size(GOALS, {(128, 1): 1.5})
PRESETS, PRESET_GOAL = ("higherhrnet", "poseae", "mmpose1"), 3.0


def main() -> None:
    pose_scenes = scene_maker(__doc__, "pose_scenes")
    torch.set_num_threads(1)
    times = [_times(pose_scenes, *case, goal) for case, goal in GOALS.items()]
    report("decode_time", times)
    print()
    report("decode_presets", [row for case in GOALS for row in _presets(pose_scenes, *case)])
    print()
    cases = at_size(_CASES, _CASES[:1])
    report("decode_quality", [_quality(pose_scenes, *case) for case in cases])


def _maps(pose_scenes, people, dimension, size, seed, level):
    det, tag, truth = pose_scenes.make_scene(people, dimension, size, seed, level)
    return det, tag.transpose(1, 2).flatten(1, 2).contiguous(), truth


def _times(pose_scenes, size, dimension, goal) -> dict:
    """Median over the seeds of the median CPU time of each step."""
    rows = []
    for seed in SEEDS:
        heatmaps, tags, _ = _maps(pose_scenes, 30, dimension, size, seed, "normal")
        rows.append({name: timed(step, 5) for name, step in _steps(heatmaps, tags).items()})
    median = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    heatmaps, tags, _ = _maps(pose_scenes, 30, dimension, size, 0, "normal")
    reference = timed(lambda: _reference(heatmaps[0].numpy(), tags[0].numpy()), 1, 0)
    name = f"17 x {size} x {size}, D = {dimension}, 30 people"
    median |= {"goal": goal, "": verdict(median["all"], goal)}
    return {"maps": name, **median, "slow reference": reference}


def _presets(pose_scenes, size, dimension) -> list[dict]:
    """The median CPU time of each preset, and its ratio to that of the default decoder.

    Both are measured in turn on every scene, since the load on a machine changes.
    """
    choices, times = {n: GroupingSettings.preset(n) for n in ("default", *PRESETS)}, []
    for seed in SEEDS:
        heatmaps, tags, _ = _maps(pose_scenes, 30, dimension, size, seed, "normal")
        calls = {
            name: lambda how=how, maps=(heatmaps, tags): decode_keypoints(*maps, how, ORDER)
            for name, how in choices.items()
        }
        times.append({name: timed(call, 5) for name, call in calls.items()})
    rows = []
    for name in PRESETS:
        ratio = float(np.median([row[name] / row["default"] for row in times]))
        rows.append(
            {
                "preset": f"{name}, {size} x {size}, D = {dimension}",
                "CPU ms": float(np.median([row[name] for row in times])),
                "default": float(np.median([row["default"] for row in times])),
                "ratio": ratio,
                "goal": PRESET_GOAL,
                "": verdict(ratio, PRESET_GOAL),
            }
        )
    return rows


def _steps(heatmaps, tags) -> dict:
    default = GroupingSettings()
    peaks = find_peaks(heatmaps, tags, default)
    groups, maxima = group_batch(peaks, default, ORDER), peaks.block_maxima
    return {
        "peaks": lambda: find_peaks(heatmaps, tags, default),
        "group": lambda: group_batch(peaks, default, ORDER),
        "fill": lambda: fill_missing(groups, heatmaps, tags, default, maxima),
        "all": lambda: decode_keypoints(heatmaps, tags, default, ORDER),
    }


_CASES = [(20, 1, "hard"), (20, 2, "hard"), (8, 1, "hard"), (30, 1, "hard"), (20, 1, "normal")]


def _quality(pose_scenes, people, dimension, level) -> dict:
    """Keypoint recall, OKS AP and found people per true one, of the default and of the preset."""
    row = {"scenes": f"{people} people, D = {dimension}, {level}"}
    scenes = [_maps(pose_scenes, people, dimension, 128, seed, level) for seed in SEEDS]
    for name in ("default", "higherhrnet"):
        settings, found, correct, joints = GroupingSettings.preset(name), [], 0.0, 0
        for heatmaps, tags, truth in scenes:
            (groups,) = decode_keypoints(heatmaps, tags, settings, ORDER)
            poses = np.nan_to_num(groups.keypoints.astype(np.float64))
            recall, total = pose_scenes.joint_recall(poses, truth, 1)
            correct, joints = correct + recall, joints + total
            found.append((poses, groups.scores))
        row[f"{name}: recall"] = correct / joints
        row["AP" if name == "default" else "AP "] = pose_scenes.oks_ap(
            found, [truth for *_, truth in scenes]
        )
        count = sum(len(poses) for poses, _ in found)
        row["found" if name == "default" else "found "] = count / (people * len(scenes))
    return row


def _reference(heatmaps: np.ndarray, tags: np.ndarray) -> list[np.ndarray]:
    """The published decoding in plain numpy: (K, 3) x, y, score of each person."""
    types, height, width = heatmaps.shape
    tags = tags.reshape(types, -1, height, width)
    people, members = [], []
    for k in ORDER:
        peaks = np.where(maximum_filter(heatmaps[k], 5) == heatmaps[k], heatmaps[k], 0).ravel()
        best = [c for c in np.argsort(-peaks)[:30] if peaks[c] > 0.1]
        found = np.array([tags[k].reshape(-1, height * width)[:, c] for c in best])
        matched = np.full(len(best), -1)
        if people and best:
            means = np.array([np.mean(tag, axis=0) for tag in members[:30]])
            distance = np.linalg.norm(found[:, None] - means[None], axis=2)
            rows, columns = linear_sum_assignment(np.round(distance) * 100 - peaks[best][:, None])
            near = distance[rows, columns] < 1
            matched[rows[near]] = columns[near]
        for cell, tag, person in zip(best, found, matched):
            if person < 0:
                person = len(people)
                people.append(np.zeros((types, 3)))
                members.append([])
            people[person][k] = cell % width, cell // width, peaks[cell]
            members[person].append(tag)
    for person, tag in zip(people, members):
        mean = np.mean(tag, axis=0)[:, None, None]
        for k in np.flatnonzero(person[:, 2] == 0):
            distance = np.sqrt(np.square(tags[k] - mean).sum(axis=0))
            cell = np.argmax(heatmaps[k] - np.round(distance))
            person[k] = cell % width, cell // width, heatmaps[k].flat[cell]
    return people


if __name__ == "__main__":
    main()
