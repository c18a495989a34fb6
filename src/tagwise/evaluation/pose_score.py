"""A learned score of poses: how similar a pose is to a true one, judged by its keypoints alone.

The mean of the keypoint scores says little about a pose: background often has a few confident
keypoints in impossible places. Networks that learn a better score from the keypoints are, for
example, in Geng et al.: Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression (CVPR
2021), section 3.3. Here it is a logistic regression, which a model file can state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tagwise.errors import UserError
from tagwise.evaluation.calibration import sigmoid
from tagwise.geometry import keypoint_boxes
from tagwise.grouping.keypoint_groups import AnyGroups
from tagwise.settings import Settings

LEAST_EACH = 50
"""Poses with a similarity of .5 or more, and with a lower one, which a fit needs."""

_PENALTY = 2.0  # on the squares of the weights of standardised features


@dataclass(frozen=True)
class PoseScore(Settings):
    """The score of a pose, 1 / (1 + exp(-z)), from its K keypoints.

        z = bias + size ln(side) + sum over k of (scores[k] s + x[k] u + y[k] v)

    s is the score of keypoint k; u, v is its position relative to the centre of the box around all
    keypoints, in units of `side`, the longer side of that box, in cells. A missing keypoint adds
    nothing.

    bias, size: numbers. scores, x, y: K numbers each. Raises UserError for other values.
    """

    bias: float
    size: float
    scores: tuple[float, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.scores) == len(self.x) == len(self.y):
            counts = f"{len(self.scores)}, {len(self.x)} and {len(self.y)}"
            raise UserError(f"scores, x and y have {counts} numbers; give one per keypoint type")

    def __call__(self, keypoints: np.ndarray) -> np.ndarray:
        """The scores (N,) float64 of poses: (N, K, 3), x and y in cells and score."""
        return sigmoid(pose_features(keypoints) @ self._weights + self.bias)

    @cached_property
    def _weights(self) -> np.ndarray:
        return np.concatenate([self.scores, self.x, self.y, [self.size]])

    def rank(self, groups: AnyGroups) -> AnyGroups:
        """The groups with these scores, best first."""
        return groups.ranked(self(groups.keypoints).astype(np.float32))


def pose_features(keypoints: np.ndarray) -> np.ndarray:
    """The features that `PoseScore` weights, (N, 3 K + 1) float64: s, u, v and ln(side).

    keypoints: (N, K, 3), x and y in cells and score. Sides are at least one cell.
    """
    present = keypoints[..., 2] > 0
    boxes = keypoint_boxes(keypoints)
    side = np.maximum(boxes[:, 2:].max(axis=1, initial=0.0), 1.0)
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    place = (keypoints[..., :2] - centre[:, None]) / side[:, None, None]
    place = np.where(present[..., None], place, 0.0)
    score = np.where(present, keypoints[..., 2], 0.0)
    return np.concatenate([score, place[..., 0], place[..., 1], np.log(side)[:, None]], axis=1)


def fit_pose_score(keypoints: np.ndarray, similarity: np.ndarray, flip: Sequence[int]) -> PoseScore:
    """Fit the score to the similarity of detected poses with the true ones.

    keypoints: (N, K, 3), x and y in cells and score. similarity: (N,) in [0, 1], OKS, 0 for a pose
    that matches no true one. flip: K indices, the type that each type becomes in a mirror; poses
    count together with their mirror images.
    Raises UserError unless 50 poses have a similarity of .5 or more, and 50 a lower one.
    """
    from scipy.optimize import minimize

    similarity = np.asarray(similarity, np.float64)
    good = int((similarity >= 0.5).sum())
    if min(good, len(similarity) - good) < LEAST_EACH:
        raise UserError(
            f"{good} poses are right and {len(similarity) - good} are wrong; a score of poses "
            f"needs {LEAST_EACH} of each: give more labelled photos"
        )
    mirrored = keypoints[:, list(flip)] * np.array([-1.0, 1.0, 1.0])
    features = np.concatenate([pose_features(keypoints), pose_features(mirrored)])
    target = np.tile(similarity, 2)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs = np.concatenate([(features - mean) / spread, np.ones((len(features), 1))], axis=1)
    penalised = np.append(np.full(features.shape[1], _PENALTY), 0.0)  # not the bias

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = inputs @ weights
        entropy = np.logaddexp(0, logits) - target * logits
        slope = inputs.T @ (sigmoid(logits) - target) + penalised * weights
        return float(entropy.sum() + (penalised * weights**2).sum() / 2), slope

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x
    weights, count = found[:-1] / spread, keypoints.shape[1]
    bias = found[-1] - weights @ mean
    scores, x, y, size = np.split(weights.round(5), [count, 2 * count, 3 * count])
    return PoseScore(float(bias), float(size[0]), *map(tuple, (scores, x, y)))
