"""The errors of all comparisons. TAGWISE_PARITY=FILE writes them as tables for docs/parity.md."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

PUBLISHED, EVERYWHERE = "Stored numbers of the published code", "The set that runs everywhere"
_ROWS = {PUBLISHED: {}, EVERYWHERE: {}}
_READ = defaultdict(set)
_ROOT = []


def note(case, difference, allowed, tolerance, table=PUBLISHED):
    """Record the largest difference of a case, and the largest share of what is allowed.

    tolerance: a description of `allowed`.
    """
    new = {"count": 0, "off": 0.0, "share": 0.0, "tolerance": tolerance}
    row = _ROWS[table].setdefault(case, new)
    assert row["tolerance"] == tolerance, f"{case} has two tolerances"
    row["count"] += 1
    difference, allowed = np.asarray(difference, float), np.asarray(allowed, float)
    share = difference / np.maximum(allowed, 1e-300)
    row["off"] = max(row["off"], float(difference.max(initial=0)))
    row["share"] = max(row["share"], float(share.max(initial=0)))


def compare(case, found, expected, atol, rtol, table):
    """Assert that values are within atol + rtol * |expected| of the expected, and record it."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, f"{case}: {found.shape} and {expected.shape}"
    difference, allowed = np.abs(found - expected), atol + rtol * np.abs(expected)
    note(case, difference, allowed, _in_words(atol, rtol), table)
    assert (difference <= allowed).all(), f"{case}: {difference.max()}"


def _in_words(atol, rtol):
    parts = [f"{atol:g}"] * bool(atol) + [f"{rtol:g} of the value"] * bool(rtol)
    return " + ".join(parts) or "exact"


def write():
    """Write the tables if TAGWISE_PARITY is set; the text above them in the file is kept."""
    if not os.environ.get("TAGWISE_PARITY"):
        return
    path = Path(os.environ["TAGWISE_PARITY"])
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = [re.split("^## ", before, maxsplit=1, flags=re.MULTILINE)[0].strip()]
    parts += [f"## {title}\n\n{_table(title)}" for title, rows in _ROWS.items() if rows]
    if _ROOT:
        parts.append("## Stored, and read by none of these tests\n\n" + "\n".join(_unread()))
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _table(title):
    lines = [
        "| case | compared | tolerance | largest difference | of the tolerance |",
        "|---|---|---|---|---|",
    ]
    for case, row in sorted(_ROWS[title].items()):
        share = f"{100 * row['share']:.2g} %"
        lines.append(
            f"| {case} | {row['count']} | {row['tolerance']} | {row['off']:.1e} | {share} |"
        )
    return "\n".join(lines)


def _unread():
    """Arrays of the golden data that no test has read, one line per type."""
    unread = defaultdict(int)
    for path in sorted(_ROOT[0].glob("*/*.npz")):
        archive = path.relative_to(_ROOT[0]).with_suffix("").as_posix()
        for key in set(np.load(path)) - _READ[archive]:
            unread[f"{archive}: {re.sub(r'.*/|^[0-9x]+_s[0-9.]+_|^m[0-9]+_', '… ', key)}"] += 1
    return [f"- `{name}`, {count} of them" for name, count in sorted(unread.items())] or ["None."]


class _Watched(Mapping):
    """An archive that records which arrays are read."""

    def __init__(self, name, arrays):
        self.arrays, self.read = arrays, _READ[name]

    def __getitem__(self, key):
        self.read.add(key)
        return self.arrays[key]

    def __contains__(self, key):
        return key in self.arrays

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self):
        return len(self.arrays)


def watch(check):
    """Record all comparisons of the golden data's helpers; they fail as before."""
    close, archive = check.assert_close, check.archive
    people, boxes = check.compare_people, check.compare_boxes
    joints = check.compare_detected_joints
    _ROOT[:] = [Path(check.ROOT)]

    def assert_close(name, array, rtol=None, atol=None):
        close(name, array, rtol, atol)
        expected = np.asarray(check.expected(name), float)
        relative, spread = check.tolerance(name)
        words = f"{spread:g} of the spread" if atol is None else f"{atol:g}"
        relative = relative if rtol is None else rtol
        spread = expected.std() * spread + 1e-7 if atol is None else atol
        difference = np.abs(np.asarray(array, float) - expected)
        allowed = spread + relative * np.abs(expected)
        note(_family(name), difference, allowed, f"{words} + {relative:g} of the value")

    def compare_people(decoder, name, variant, poses, scores=None, tol=2e-3):
        people(decoder, name, variant, poses, scores, tol)
        stored = check.archive(f"decode/pose_{decoder}")
        wanted = stored[f"{name}/{variant}"]
        robust = stored.get(f"{name}/refine_robust", np.ones(wanted.shape[:2], bool))
        found = np.asarray(poses, float).reshape(-1, wanted.shape[1], np.shape(poses)[-1])
        wanted_scores = stored[f"{name}/{variant}_scores"] if scores is not None else None
        for i, j in check.match_people(found, wanted, scores, wanted_scores):
            off = np.abs(found[i, :, :3] - wanted[j, :, :3])[robust[j]]
            note(f"decode: {decoder} people, {variant}", off, tol, f"{tol:g}")

    def compare_boxes(name, key, found, tol=1e-3):
        boxes(name, key, found, tol)
        stored = check.archive("decode/corner_decode")
        wanted = stored[f"{name}/{key}"]
        dets = key.startswith("dets")
        wanted = wanted[:, [0, 1, 2, 3, 4, 7]] if dets else wanted[stored[f"{name}/{key}_keep"]]
        for row in wanted:
            off = np.abs(np.asarray(found, float).reshape(-1, 6) - row).max(1).min()
            note(f"decode: corner boxes, {key}", off, tol, f"{tol:g}")

    def compare_detected_joints(decoder, name, poses, tol=2e-3):
        joints(decoder, name, poses, tol)
        stored = check.archive(f"decode/pose_{decoder}")[f"{name}/adjust"]
        found, wanted = (
            np.array(sorted((k, *v[:3].tolist()) for p in all_ for k, v in enumerate(p) if v[2]))
            for all_ in (np.asarray(poses), stored)
        )
        off = np.abs(found - wanted)
        note(f"decode: {decoder} keypoints of ambiguous people", off, tol, f"{tol:g}")

    # Not recorded, for comparisons that are not of the package.
    compare_people.__wrapped__, compare_boxes.__wrapped__ = people, boxes
    check.assert_close, check.compare_people = assert_close, compare_people
    check.compare_boxes, check.compare_detected_joints = compare_boxes, compare_detected_joints
    check.archive = lambda name: _Watched(name, archive(name))


def _family(name):
    """losses/pose_losses:full_grad1 -> losses: pose_losses full_grad."""
    folder, rest = name.split("/")
    archive, key = rest.split(":")
    plain = re.sub(r"stack\d_|\d+$", "", key)
    return f"{folder}: {archive} {plain}"
