"""Calibration of scores: a map after which a score is the probability that an instance is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tagwise.errors import UserError, brief

_NEAR = 1e-7  # scores are clipped to [_NEAR, 1 - _NEAR] before logarithms
_LEAST_SLOPE = 1e-2  # of a fit, so that the order of scores stays
LEAST_EACH = 10  # detections that are right, and that are wrong, which a fit needs


@dataclass(frozen=True)
class Calibration:
    """The map from a score s to 1 / (1 + exp(-(a ln s - b ln(1 - s) + c))).

    This is beta calibration (Kull, Silva Filho and Flach: Beta calibration, AISTATS 2017, equation
    5). It is monotone, so that it changes neither the order of scores nor average precision. With
    a = b and c = 0 it is temperature scaling, with a = b it is Platt scaling of the logit.

    a, b: 0 or more, and not both 0. c: any number. Raises UserError for other values.

    >>> Calibration(1, 1, 0)(np.array([0.2, 0.9])).tolist()
    [0.2, 0.9]
    """

    a: float
    b: float
    c: float

    def __post_init__(self) -> None:
        values = (self.a, self.b, self.c)
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if not numbers or not np.isfinite(values).all() or min(self.a, self.b) < 0:
            raise UserError(
                f"calibration is {brief(values)}; use finite a, b and c, a and b from 0"
            )
        if self.a == self.b == 0:
            raise UserError("calibration with a and b 0 gives all instances the same score")

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Map scores (N,) in [0, 1] to calibrated ones, float64."""
        s = np.clip(np.asarray(scores, np.float64), _NEAR, 1 - _NEAR)
        return sigmoid(self.a * np.log(s) - self.b * np.log1p(-s) + self.c)

    def inverse(self, calibrated: float) -> float:
        """The score that becomes a calibrated one, in [0, 1], by bisection."""
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self(np.array(middle)) < calibrated else (low, middle)
        return high

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_decoder(cls, decoder: Mapping[str, Any]) -> Calibration | None:
        """The calibration in the decoder's settings of a model file; None if they have none.

        Raises UserError for values that do not fit.
        """
        values = decoder.get("calibration")
        if values is None:
            return None
        if not isinstance(values, Mapping) or set(values) != {"a", "b", "c"}:
            raise UserError(f"calibration is {brief(values)}; use a, b and c")
        return cls(**values)


def fit_calibration(scores: np.ndarray, right: np.ndarray) -> Calibration:
    """Fit the calibration of the highest likelihood.

    scores: (N,) in [0, 1], as decoded. right: (N,) bool, whether each detection is right.
    Raises UserError if fewer than 10 detections are right, or fewer than 10 are wrong.
    """
    from scipy.optimize import minimize

    right = np.asarray(right, bool)
    found = (int(right.sum()), int((~right).sum()))
    if min(found) < LEAST_EACH:
        raise UserError(
            f"{found[0]} detections are right and {found[1]} are wrong; a calibration needs "
            f"{LEAST_EACH} of each: give more labelled photos"
        )
    s = np.clip(np.asarray(scores, np.float64), _NEAR, 1 - _NEAR)
    features = np.stack([np.log(s), -np.log1p(-s), np.ones_like(s)], axis=1)
    sign = np.where(right, 1.0, -1.0)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (features @ values)
        slope = -sign * sigmoid(-margin) / len(s)
        return float(np.logaddexp(0, -margin).mean()), features.T @ slope

    bounds = [(_LEAST_SLOPE, None), (_LEAST_SLOPE, None), (None, None)]
    found = minimize(loss, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(*(round(float(value), 5) for value in found.x))


def calibrated_threshold(calibration: Calibration, score: float) -> float:
    """The calibrated score of a threshold, rounded down, so that it keeps the same instances."""
    return float(np.floor(calibration(np.array(score)) * 1e5) / 1e5)


def cross_validated(
    scores: np.ndarray, right: np.ndarray, images: np.ndarray, folds: int = 5
) -> np.ndarray:
    """Calibrate the scores of each fifth of the images with a fit on the others.

    scores, right: see `fit_calibration`. images: (N,), the number of the image of each detection;
    images are dealt to the folds in the order of their numbers, in turn.
    Returns (N,) float64.
    """
    calibrated = np.zeros(len(scores))
    _, order = np.unique(images, return_inverse=True)
    for fold in range(folds):
        held = order % folds == fold
        if held.any():
            calibrated[held] = fit_calibration(scores[~held], right[~held])(scores[held])
    return calibrated


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))
