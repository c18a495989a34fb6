"""Check public models: their AP on COCO val2017, as published and as measured here.

    python benchmarks/verify.py [--coco COCO] [--models NAME ...] [--limit N]

COCO is the folder with annotations/ and val2017/. Models that are not in the cache are downloaded.
If TAGWISE_SHARED names the folder of shared data, its 60 photos of people_coco are used too.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from _bench import arguments, report

import tagwise
from tagwise.published.registry import PublicModel, public_models

_EXPLANATION = """\
Nothing to verify on. Download val2017.zip and annotations_trainval2017.zip from
https://cocodataset.org/#download, unpack both into one folder, and run
    make verify COCO=/path/to/that/folder
The published AP of each public model is then printed next to the one measured here. A model takes
hours on a CPU and minutes on a GPU; LIMIT=100 uses the first 100 photos only."""


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--coco", type=Path)
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    shared = Path(os.environ.get("TAGWISE_SHARED") or "none") / "data" / "people_coco"
    if options.coco is None and not shared.is_dir():
        print(_EXPLANATION)
        return 0
    chosen = options.models or [m.name for m in public_models().values() if m.is_readable]
    rows, failed = [], []
    for name in chosen:
        for where, annotations, images in _sets(public_models()[name], options.coco, shared):
            try:
                rows.append(_row(name, where, annotations, images, options.limit))
            except tagwise.UserError as error:
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
                break
    if rows:
        report("verify", rows)
    return 1 if failed else 0


def _sets(model: PublicModel, coco: Path | None, shared: Path) -> Iterator[tuple[str, Path, Path]]:
    """The labelled sets that a model can be measured on: (name, annotations, images)."""
    if model.labels != "coco":
        return
    if coco is not None:
        kind = "person_keypoints" if model.task == "pose" else "instances"
        yield "COCO val2017", coco / "annotations" / f"{kind}_val2017.json", coco / "val2017"
    if shared.is_dir() and model.task == "pose":
        yield "people_coco", shared / "val.json", shared / "images"


def _row(name: str, where: str, annotations: Path, images: Path, limit: int | None) -> dict:
    measured = tagwise.evaluate(name, annotations, images, limit=limit, quiet=True)
    told = measured.get("published", {})
    return {
        "model": name,
        "photos": f"{where}, {measured['images']}",
        "published": round(100 * told["AP"], 1) if told.get("set") == where else None,
        "measured": round(100 * measured["metrics"]["AP"], 1),
        "AP50": round(100 * measured["metrics"]["AP50"], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
