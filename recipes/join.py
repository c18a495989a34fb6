"""Join COCO files with the same categories into one, whose file names are relative to their folder.

    python recipes/join.py DATA people_coco/train.json people_coco_small/train.json --out all.json
writes DATA/all.json. The photos of a JSON are those in `images/` beside it.
"""

import argparse
import json
from pathlib import Path


def join(root: Path, names: list[Path]) -> dict:
    """One COCO content of several files, with new ids."""
    joined: dict = {"images": [], "annotations": [], "categories": None}
    for name in names:
        coco = json.loads((root / name).read_text())
        if joined["categories"] not in (None, coco["categories"]):
            raise SystemExit(f"{name} has other categories than {names[0]}; join files of one kind")
        joined["categories"] = coco["categories"]
        numbers = {image["id"]: len(joined["images"]) + n for n, image in enumerate(coco["images"])}
        for image in coco["images"]:
            file = (name.parent / "images" / image["file_name"]).as_posix()
            joined["images"].append({**image, "id": numbers[image["id"]], "file_name": file})
        for label in coco["annotations"]:
            new = {"id": len(joined["annotations"]), "image_id": numbers[label["image_id"]]}
            joined["annotations"].append({**label, **new})
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("names", type=Path, nargs="+", help="COCO files, relative to root")
    parser.add_argument("--out", required=True, help="COCO file to write in root")
    options = parser.parse_args()
    (options.root / options.out).write_text(json.dumps(join(options.root, options.names)))


if __name__ == "__main__":
    main()
