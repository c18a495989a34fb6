"""How far each comparison with published numbers was off: TAGWISE_PARITY=FILE writes the table."""

import os
import re
from collections import defaultdict

import numpy as np

_ROWS = defaultdict(lambda: {"count": 0, "off": 0.0, "share": 0.0})


def note(case, difference, allowed):
    """Keeps the largest difference of a case, and the largest share of what is allowed."""
    row = _ROWS[case]
    row["count"] += 1
    difference, allowed = np.asarray(difference, float), np.asarray(allowed, float)
    row["off"] = max(row["off"], float(difference.max(initial=0)))
    row["share"] = max(row["share"], float((difference / allowed).max(initial=0)))


def write():
    """The table, where the environment asks for one."""
    path = os.environ.get("TAGWISE_PARITY")
    if path:
        lines = ["| case | compared | largest difference | of the tolerance |", "|---|---|---|---|"]
        for case, row in sorted(_ROWS.items()):
            share = f"{100 * row['share']:.2g} %"
            lines.append(f"| {case} | {row['count']} | {row['off']:.1e} | {share} |")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines, ""]))


def watch(check):
    """Notes whatever the golden data's own helpers compare; they fail as before."""
    close, people, boxes = check.assert_close, check.compare_people, check.compare_boxes

    def assert_close(name, array, rtol=None, atol=None):
        close(name, array, rtol, atol)
        expected = np.asarray(check.expected(name), float)
        relative, spread = check.tolerance(name)
        relative = relative if rtol is None else rtol
        spread = expected.std() * spread + 1e-7 if atol is None else atol
        difference = np.abs(np.asarray(array, float) - expected)
        note(_family(name), difference, spread + relative * np.abs(expected))

    def compare_people(decoder, name, variant, poses, scores=None, tol=2e-3):
        people(decoder, name, variant, poses, scores, tol)
        stored = check.archive(f"decode/pose_{decoder}")
        wanted = stored[f"{name}/{variant}"]
        robust = stored.get(f"{name}/refine_robust", np.ones(wanted.shape[:2], bool))
        found = np.asarray(poses, float).reshape(-1, wanted.shape[1], np.shape(poses)[-1])
        wanted_scores = stored[f"{name}/{variant}_scores"] if scores is not None else None
        for i, j in check.match_people(found, wanted, scores, wanted_scores):
            off = np.abs(found[i, :, :3] - wanted[j, :, :3])[robust[j]]
            note(f"decode: {decoder} people, {variant}", off, tol)

    def compare_boxes(name, key, found, tol=1e-3):
        boxes(name, key, found, tol)
        stored = check.archive("decode/corner_decode")
        wanted = stored[f"{name}/{key}"]
        dets = key.startswith("dets")
        wanted = wanted[:, [0, 1, 2, 3, 4, 7]] if dets else wanted[stored[f"{name}/{key}_keep"]]
        for row in wanted:
            off = np.abs(np.asarray(found, float).reshape(-1, 6) - row).max(1).min()
            note(f"decode: corner boxes, {key}", off, tol)

    check.assert_close, check.compare_people = assert_close, compare_people
    check.compare_boxes = compare_boxes


def _family(name):
    """losses/pose_losses:full_grad1 -> losses: pose_losses full_grad."""
    folder, rest = name.split("/")
    archive, key = rest.split(":")
    plain = re.sub(r"stack\d_|\d+$", "", key)
    return f"{folder}: {archive} {plain}"
