"""Write docs/images/house.svg: the folders of the package, and which imports which.

python docs/make_house.py    # or: make docs

Each row imports only from rows below it. An arrow is left out where a longer way exists.
"""

from __future__ import annotations

import ast
from html import escape
from pathlib import Path

from tagwise.files import whole_file

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "src" / "tagwise"
_WORDS = {
    "cli": "the command line",
    "commands": "one module per verb",
    "console": "shared flags, signals",
    "serving": "the tag explorer",
    "scale": "shards, processes, Ray",
    "training": "recipe, loop, report",
    "tracking": "instances over time",
    "prediction": "images to results",
    "evaluation": "AP, oracles, diagnosis",
    "tasks": "pose, corners, pixels",
    "models": "networks, model files",
    "published": "official checkpoints",
    "labels": "files of other tools",
    "results": "Poses, Boxes, Masks",
    "plot": "drawing only",
    "data": "images, samples",
    "metrics": "average precision",
    "grouping": "peaks to instances",
    "losses": "pull and push",
    "skeletons": "keypoint types",
    "label_maps": "masks as images",
    "geometry": "boxes, IoU, OKS",
    "files": "whole-file writing",
    "settings": "frozen dataclasses",
    "runtime": "devices, memory",
    "errors": "UserError",
}
_WIDE, _HIGH, _GAP, _ROW = 150, 50, 18, 86
_STYLE = """
  .paper { fill: #ffffff } .box { fill: #eef4ff; stroke: #3465a4 } .name { fill: #10131a }
  .copy { fill: #fff3d6; stroke: #a66a00 } .words { fill: #4a5260 } .arrow { stroke: #8a93a3 }
  .head { fill: #8a93a3 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #12151b } .box { fill: #1d2a40; stroke: #7aa5ff } .name { fill: #eef1f6 }
    .copy { fill: #3a2e14; stroke: #ffbe55 } .words { fill: #b3bccb } .arrow { stroke: #66708a }
    .head { fill: #66708a }
  }
  text { font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; text-anchor: middle }
"""
_COPYABLE = ("losses", "grouping")


def imports() -> dict[str, set[str]]:
    """The folders, and single files, that each folder of the package imports."""
    graph: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        folder = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if folder.startswith("__") or "templates" in path.parts:
            continue
        found = graph.setdefault(folder, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tagwise"):
                parts = (node.module or "").split(".")
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    known = set(graph)
    return {folder: (others & known) - {folder} for folder, others in graph.items()}


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """The row of each folder, counted from the bottom: one above all that it imports."""
    rows: dict[str, int] = {}

    def row(folder: str) -> int:
        if folder not in rows:
            rows[folder] = 1 + max((row(other) for other in graph[folder]), default=-1)
        return rows[folder]

    for folder in graph:
        row(folder)
    return rows


def reduced(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The imports that no chain of other imports implies."""
    reach: dict[str, set[str]] = {}

    def below(folder: str) -> set[str]:
        if folder not in reach:
            reach[folder] = set().union(graph[folder], *(below(o) for o in graph[folder]))
        return reach[folder]

    return {
        (folder, other)
        for folder, others in graph.items()
        for other in others
        if not any(other in below(between) for between in others - {other})
    }


def _places(graph: dict[str, set[str]]) -> tuple[dict[str, tuple[float, float]], float, float]:
    """The middle of each box, and the width and height of the picture."""
    rows = levels(graph)
    top = max(rows.values())
    members = [[f for f in graph if rows[f] == n] for n in range(top, -1, -1)]
    width = max(map(len, members)) * (_WIDE + _GAP) + _GAP
    arrows, places = reduced(graph), {}
    for number, row in enumerate(members):
        # Below the middle of what imports it, so that few arrows cross.
        above = {f: [places[a][0] for a, b in arrows if b == f and a in places] for f in row}
        row.sort(key=lambda f: sum(above[f]) / len(above[f]) if above[f] else width / 2)
        start = (width - len(row) * (_WIDE + _GAP) + _GAP) / 2 + _WIDE / 2
        for n, folder in enumerate(row):
            places[folder] = (start + n * (_WIDE + _GAP), 20 + _HIGH / 2 + number * _ROW)
    return places, width, len(members) * _ROW + 10


def picture() -> str:
    """The text of docs/images/house.svg."""
    graph = imports()
    places, width, height = _places(graph)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'role="img" aria-label="The folders of tagwise; each row imports only rows below it">',
        f"<style>{_STYLE}</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker>',
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="12"/>',
    ]
    for one, other in sorted(reduced(graph)):
        (x, y), (u, v) = places[one], places[other]
        y, v = y + _HIGH / 2, v - _HIGH / 2 - 1
        bend = max(18, (v - y) / 2)
        parts.append(
            f'<path class="arrow" fill="none" stroke-width="1.4" marker-end="url(#head)" '
            f'd="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {u:.0f} {v - bend:.0f} {u:.0f} {v:.0f}"/>'
        )
    for folder, (x, y) in places.items():
        kind = "copy" if folder in _COPYABLE else "box"
        parts.append(
            f'<rect class="{kind}" stroke-width="1.5" x="{x - _WIDE / 2:.0f}" '
            f'y="{y - _HIGH / 2:.0f}" width="{_WIDE}" height="{_HIGH}" rx="8"/>'
            f'<text class="name" x="{x:.0f}" y="{y - 3:.0f}" font-size="15" '
            f'font-weight="600">{folder}</text>'
            f'<text class="words" x="{x:.0f}" y="{y + 15:.0f}" font-size="12">'
            f"{escape(_WORDS.get(folder, ''))}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    with whole_file(DOCS / "images" / "house.svg") as file:
        file.write(picture().encode())
