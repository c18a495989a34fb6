"""How well the doubt by which `tagwise suggest` ranks images tells which ones have errors.

    OMP_NUM_THREADS=1 python benchmarks/suggestions.py DATA [--only robots]

DATA holds folders with a val.json and images each. Every image of a validation
set is ranked from the results alone, as `tagwise suggest` does. The labels then say how many errors
it has, as `tagwise diagnose` counts them: missed, false, swapped, merged and split instances or
keypoints. The first fifth of a random order would hold a fifth of the errors; "best possible" is
that of the images with the most errors. Takes about ten minutes of one core. Only the rank of an
image is measured here, and not what a model gains by the labels of the images.
"""

from pathlib import Path

import numpy as np
import torch
from _bench import arguments, at_size, report
from scipy.stats import spearmanr

from tagwise.commands.labelled_sets import open_labelled
from tagwise.errors import UserError
from tagwise.prediction.doubt import Doubt, doubt_of
from tagwise.prediction.labelled import Examined, examine_labelled
from tagwise.prediction.predictor import Predictor

SETS = {
    "people": ("people_coco/val.json", "people_coco/images"),
    "robots": ("robots/val.json", "robots/images"),
    "blood": ("blood/val.json", "blood/images"),
}
PARTS = ("detection", "grouping", "mirror", "total")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="MODEL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        rows = [row for name in options.only for row in measured(name, options.data)]
    except UserError as error:
        parser.error(str(error))
    report("suggestions", rows)


def measured(name: str, data: Path) -> list[dict]:
    """One row for each part of the doubt of a shipped model."""
    model = Predictor(name)
    threshold, model.threshold = model.threshold, model.threshold / 4  # as `suggest`
    photos = open_labelled(model, *(data / part for part in SETS[name]), None, quiet=True)
    photos.keep(range(at_size(len(photos), 6)))
    scorer = model.task.make_scorer(photos)
    found = [each for each in examine_labelled(model, photos, ()) if isinstance(each, Examined)]
    doubts = [doubt(model, each, threshold) for each in found]
    errors = np.array(
        [scorer.sort_errors(each.sample, each.result.above(threshold)).errors for each in found]
    )
    rows = []
    for part in PARTS:
        values = np.array([getattr(each, part) for each in doubts])
        rows.append(
            {
                "model": name,
                "images": len(errors),
                "ranked by": part,
                "correlation": float(spearmanr(values, errors).statistic),
                "errors in the first fifth, %": share_in_first_fifth(values, errors),
                "best possible, %": share_in_first_fifth(errors, errors),
            }
        )
    return rows


def doubt(model: Predictor, each: Examined, threshold: float) -> Doubt:
    mirrored = model(np.ascontiguousarray(each.sample.image[:, ::-1]))
    return doubt_of(each.result, threshold, mirrored)


def share_in_first_fifth(values: np.ndarray, errors: np.ndarray) -> float:
    """The percentage of all errors in the fifth of the images with the largest values."""
    first = np.argsort(-values, kind="stable")[: max(1, len(values) // 5)]
    return 100 * float(errors[first].sum() / max(errors.sum(), 1))


if __name__ == "__main__":
    main()
