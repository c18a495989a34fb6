"""`tagwise calibrate`: a model file whose scores are the probability that an instance is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from tqdm import tqdm

from tagwise.commands.diagnose import open_set
from tagwise.commands.labelled_sets import versions
from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.evaluation.calibration import (
    calibrated_threshold,
    cross_validated,
    fit_calibration,
)
from tagwise.evaluation.diagnosis.image_errors import IGNORED, ImageErrors
from tagwise.evaluation.diagnosis.reliability import reliability
from tagwise.evaluation.pose_score import PoseScore, fit_pose_score
from tagwise.evaluation.scoring import Scorer
from tagwise.models.find import find_weights
from tagwise.models.model_file import copy_with_spec, read_model_file
from tagwise.prediction.labelled import placed_maps, predict_labelled
from tagwise.prediction.options import OlderNames, Precision, with_older_names
from tagwise.prediction.predictor import Predictor
from tagwise.runtime import keep_freed_memory
from tagwise.tasks import PoseTask


def calibrate(
    weights: str | Path,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    out: str | Path | None = None,
    *,
    category: str | None = None,
    sigmas: Sequence[float] = (),
    device: str = "auto",
    imgsz: int | tuple[int, int] | None = None,
    precision: Precision = "auto",
    pose_score: bool = False,
    quiet: bool = False,
    **older: Unpack[OlderNames],
) -> dict[str, Any]:
    """Write a model file with a calibration of its scores, fitted on a labelled set.

    A detection is right if its OKS with a labelled pose, or its IoU with a labelled box of its
    class or a labelled mask, is .5 or more. The order of scores, and with it AP, does not change.
    The threshold is converted to the new scores, so that the same instances are shown by default.

    With `pose_score`, the score of a pose becomes a learned function of its keypoints first, see
    `PoseTask.score`. This does change the order, and the threshold is the one that shows as many
    instances of the set as before. It has 3 K + 2 numbers for K keypoint types: fit it on many
    photos, such as those of the training, and calibrate the result on others.

    weights: the name of a model that ships with tagwise, or a .safetensors file. A calibration that
        it has is replaced.
    annotations, images: see `tagwise.diagnose`; photos that were not used in training.
    out: the model file to write; by default NAME.calibrated.safetensors in the working folder.
    category, device, imgsz, precision: see `tagwise.evaluate`.
    sigmas: for poses only, one OKS sigma for all keypoint types; see `tagwise.evaluate`.
    pose_score: for poses only, see above; a learned score that the model has is replaced.
    quiet: print nothing.

    Returns "model" (the path of `out`), "calibration" (a, b, c), "threshold" ("before" and
    "after"), "detections", "right", "images", "failed" (messages), "versions", and three times what
    `reliability` returns: "before" with the scores as decoded, "after" with the new ones, and
    "cross_validated" with new ones that were fitted on other images. Raises UserError.

    >>> calibrate("blood", "val.json", "photos")["cross_validated"]["ece"]  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    path = find_weights(weights)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} cannot be calibrated; give a .safetensors file of tagwise")
    target = Path(out) if out is not None else Path(f"{path.stem}.calibrated.safetensors")
    if target.suffix != ".safetensors":
        raise UserError(f"cannot write {target}; give a name that ends in .safetensors")
    spec, _ = read_model_file(path)
    keep_freed_memory()
    predictor = Predictor(weights, device=device, imgsz=named["imgsz"], precision=precision)
    shown, old = predictor.threshold, predictor.calibration
    shown = old.inverse(shown) if old else shown
    predictor.threshold, predictor.calibration = 0.0, None
    scoring = {"sigmas": tuple(sigmas)} if sigmas else {}
    predictor.task.check_evaluation(None, scoring)
    dataset = open_set(predictor, weights, annotations, images, category, quiet)
    scorer = predictor.task.make_scorer(dataset, **scoring)
    if pose_score:
        poses = ScoredPoses.of(predictor, dataset, scorer, quiet)
        score = poses.fit()
        predictor.task = replace(predictor.task, score=score)
        spec = replace(spec, task_options={**spec.task_options, "score": score.to_dict()})
    found = Detections.of(predictor, dataset, scorer, quiet)
    if pose_score:
        shown = score_of_rank(found.scores, int((poses.scores >= shown).sum()))
    fitted = fit_calibration(found.scores, found.right)
    held = cross_validated(found.scores, found.right, found.images)
    threshold = calibrated_threshold(fitted, shown)
    values = {"threshold": threshold, "calibration": fitted.to_dict()}
    copy_with_spec(path, target, replace(spec, decoder={**spec.decoder, **values}))
    return {
        "model": str(target),
        "calibration": fitted.to_dict(),
        "threshold": {"before": shown, "after": threshold},
        "detections": len(found.scores),
        "right": int(found.right.sum()),
        "images": len(dataset),
        "failed": found.failed,
        "before": reliability(found.scores, found.right),
        "after": reliability(fitted(found.scores), found.right),
        "cross_validated": reliability(held, found.right),
        "versions": versions(),
    }


@dataclass(frozen=True)
class Detections:
    """All detections of a set that are not in ignored regions.

    scores: (N,), as the predictor gives them. right: (N,) bool, see `calibrate`. images: (N,), the
    number of the image. instances: number of labelled ones. failed: the messages of images that
    could not be read.
    """

    scores: np.ndarray
    right: np.ndarray
    images: np.ndarray
    instances: int
    failed: list[str]

    @classmethod
    def of(cls, predictor: Predictor, dataset: Photos, scorer: Scorer, quiet: bool) -> Detections:
        """Predict all images of a set; scorer: of the set."""
        failed: list[str] = []
        instances = 0
        rows = [(np.zeros(0), np.zeros(0, bool), np.zeros(0, int))]
        for index, errors in enumerate(_sorted(predictor, dataset, scorer, quiet)):
            if isinstance(errors, UserError):
                failed.append(str(errors))
                print_note(str(errors)) if not quiet else None
                continue
            keep = errors.found_kinds != IGNORED
            instances += len(errors.truth)
            numbers = np.full(int(keep.sum()), index)
            rows.append((errors.found.scores[keep], errors.right[keep], numbers))
        return cls(*map(np.concatenate, zip(*rows)), instances, failed)


@dataclass(frozen=True)
class ScoredPoses:
    """The poses of a set that are not in ignored regions, as decoded.

    keypoints: (N, K, 3), in cells. scores: (N,). similarity: (N,), the OKS of the labelled pose
    that each matches, else 0. flip: see `fit_pose_score`.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    similarity: np.ndarray
    flip: Sequence[int]

    @classmethod
    def of(cls, predictor: Predictor, dataset: Photos, scorer: Scorer, quiet: bool) -> ScoredPoses:
        """Decode all images of a set without a learned score; scorer: of the set.

        Images that cannot be read are left out. Raises UserError if the model finds no poses.
        """
        if not isinstance(predictor.task, PoseTask):
            raise UserError(f"pose_score needs a model of poses, not {predictor.name}")
        task = replace(predictor.task, score=None)
        flip = task.skeleton.flip
        rows = [(np.zeros((0, len(flip), 3)), np.zeros(0), np.zeros(0))]
        bar = tqdm(range(len(dataset)), "poses", disable=quiet or None, leave=False)
        for index in stoppable(bar):
            try:
                sample = dataset.load(index)
                maps, placement = placed_maps(predictor, sample.image)
            except UserError:
                continue
            groups = task.decode_groups(maps)[1]
            poses = placement.place(task.poses(groups, predictor.stride))
            errors = scorer.sort_errors(sample, poses)
            keep, matched = errors.found_kinds != IGNORED, errors.match >= 0
            similarity = np.where(matched, errors.similarity, 0.0)
            rows.append((groups.keypoints[keep], groups.scores[keep], similarity[keep]))
        return cls(*map(np.concatenate, zip(*rows)), flip)

    def fit(self) -> PoseScore:
        return fit_pose_score(self.keypoints, self.similarity, self.flip)


def score_of_rank(scores: np.ndarray, rank: int) -> float:
    """The score that so many of the scores reach; above all of them for rank 0."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[min(rank, len(ordered)) - 1]) if rank else 1.0


def _sorted(
    predictor: Predictor, dataset: Photos, scorer: Scorer, quiet: bool
) -> Iterator[ImageErrors | UserError]:
    """Yield the errors of each image, or why it could not be read."""
    results = predict_labelled(predictor, dataset)
    bar = tqdm(results, "images", len(dataset), disable=quiet or None, leave=False)
    for index, found in enumerate(bar):
        if isinstance(found, UserError):
            yield found
            continue
        try:
            yield scorer.sort_errors(dataset.load(index), found)
        except UserError as error:
            yield error
