"""False skeletons of a people model on everyday pictures, most of which show no people.

    apt-get download opencv-doc && dpkg-deb -x opencv-doc_*.deb opencv
    python benchmarks/everyday.py opencv/usr/share/doc/opencv-doc/examples/data [--weights people]

The folder has the 91 pictures of Debian's package opencv-doc. 29 of them show people: two men, a
footballer and spectators, and a man behind a chessboard in 26 pictures, most of him hidden. This
script knows roughly where. A skeleton is false if the median of its keypoints is not where a person
is, whatever its pose is. Drawn figures (graf, ml) and animals are not people. Other folders may be
given: none of their pictures then counts as showing people. Instances are those above the model's
own threshold, or --threshold.
"""

from pathlib import Path

import numpy as np
import torch
from _bench import arguments, at_size, report, verdict

from tagwise.errors import UserError
from tagwise.prediction.predictor import Predictor
from tagwise.results import Poses

GOAL = 1  # pictures with a false skeleton, of the 91
# Where people are, x, y, width and height in pixels; looked up by eye, and generous.
SMALL_MAN, LARGE_MAN = (40, 70, 160, 410), (380, 10, 260, 470)
MEN = {"basketball1.png": (SMALL_MAN, LARGE_MAN), "basketball2.png": (SMALL_MAN, LARGE_MAN)}
BEHIND_BOARD = {"left": (150, 0, 490, 480), "right": (70, 0, 450, 480)}
PEOPLE = {"messi5.jpg": ((0, 0, 548, 342),), **MEN}
PEOPLE |= {
    f"{side}{number:02}.jpg": (region,)
    for side, region in BEHIND_BOARD.items()
    for number in range(1, 15)
    if number != 10
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="people")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--size", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        model = Predictor(options.weights, threshold=options.threshold, size=options.size)
        files = pictures(options.folder)[: at_size(None, 3)]
        results = [(file.name, model(file)) for file in files]
    except UserError as error:
        parser.error(str(error))
    if not all(isinstance(result, Poses) for _, result in results):
        parser.error(f"{options.weights} does not find poses; give a people model")
    rows = [row for name, result in results for row in false_skeletons(name, result)]
    count = len({row["picture"] for row in rows})
    sought = [(name, man) for name, _ in results for man in MEN.get(name, ())]
    found = sum(is_found(dict(results)[name], man) for name, man in sought)
    whole = {"picture": f"all {len(results)}", "false on": count, "threshold": model.threshold}
    whole |= {"goal": verdict(count, GOAL), "men found": f"{found} of {len(sought)}"}
    report("everyday", [*rows, whole])


def pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, without those in its subfolders. Raises UserError without any."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [path for path in entries if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if not found:
        raise UserError(f"{folder} has no pictures; give a folder of .jpg or .png files")
    return found


def false_skeletons(name: str, poses: Poses) -> list[dict]:
    """A row for each skeleton that is not where a person is."""
    rows = []
    for point, score in zip(middles(poses), poses.scores.tolist()):
        if not any(is_in(point, region) for region in PEOPLE.get(name, ())):
            rows.append({"picture": name, "score": round(score, 3), "x": point[0], "y": point[1]})
    return rows


def is_found(poses: Poses, region: tuple[int, int, int, int]) -> bool:
    return any(is_in(point, region) for point in middles(poses))


def middles(poses: Poses) -> list[list[float]]:
    """The median position of the keypoints of each skeleton."""
    points = np.where(poses.present[..., None], poses.keypoints[..., :2], np.nan)
    return np.nanmedian(points, axis=1).tolist() if len(poses) else []


def is_in(point: list[float], region: tuple[int, int, int, int]) -> bool:
    x, y, width, height = region
    return x <= point[0] <= x + width and y <= point[1] <= y + height


if __name__ == "__main__":
    main()
