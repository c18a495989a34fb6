"""Split a COCO file into training and validation where its authors give no split.

Images are ordered by file name, and the last ones are held out as one block. Neighbouring frames of
a video look alike, and a random split would put near duplicates on both sides.

    python recipes/split.py bees/train.json --share 0.2
writes bees/train.fit.json and bees/train.held.json next to it (or under --out). With --least 8,
instances of fewer than 8 labelled keypoints are left out, such as the fragments of a tracker.
"""

import argparse
import json
from pathlib import Path


def split(coco: dict, share: float, least: int = 0) -> tuple[dict, dict]:
    """Two COCO contents; the second has the last `share` of the images by file name."""
    if least:
        whole = [a for a in coco["annotations"] if _labelled(a) >= least]
        coco = {**coco, "annotations": whole}
    images = sorted(coco["images"], key=lambda image: image["file_name"])
    cut = len(images) - round(share * len(images))
    if not 0 < cut < len(images):
        raise SystemExit(
            f"--share {share} of {len(images)} images leaves one side empty; choose another share"
        )
    return _part(coco, images[:cut]), _part(coco, images[cut:])


def _labelled(annotation: dict) -> int:
    return sum(visible > 0 for visible in annotation["keypoints"][2::3])


def _part(coco: dict, images: list[dict]) -> dict:
    ids = {image["id"] for image in images}
    annotations = [a for a in coco["annotations"] if a["image_id"] in ids]
    return {**coco, "images": images, "annotations": annotations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path, help="COCO JSON")
    parser.add_argument("--share", type=float, default=0.2, help="share of images to hold out")
    parser.add_argument("--least", type=int, default=0, help="least labelled keypoints")
    parser.add_argument("--out", type=Path, help="output folder; by default that of the input file")
    given = parser.parse_args()
    parts = split(json.loads(given.annotations.read_text()), given.share, given.least)
    folder = given.out or given.annotations.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("fit", "held"), parts, strict=True):
        path = folder / f"{given.annotations.stem}.{name}.json"
        path.write_text(json.dumps(part))
        print(f"{path}: {len(part['images'])} images, {len(part['annotations'])} instances")


if __name__ == "__main__":
    main()
