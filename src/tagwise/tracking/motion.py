"""Predict where boxes are in the next frame: a Kalman filter for many boxes together.

Centres move at a constant velocity with random accelerations; widths and heights are random walks.
Sometimes a box stops or turns; it may then have moved in any direction since its last detection.
Each coordinate has its own filter (Kalman 1960; Bewley et al. 2016, arXiv:1602.00763, track boxes
with one), so that covariances are two-by-two and a few lines of numpy handle all boxes.
All deviations are in box sides, x in widths and y in heights, because near objects move by more
pixels.
"""

from __future__ import annotations

import numpy as np

# The noise scale starts as if it were averaged over _PRIOR detections, averages the last _LONGEST,
# and stays within this factor of the settings.
_PRIOR, _LONGEST, _FACTOR = 50, 1000, 4.0
_TURNS = 0.05  # prior probability that a box stopped or turned
_MOVING = np.array([1.0, 1.0, 0.0, 0.0])


class Motion:
    """The motion of T boxes.

    noise: standard deviation of a detected box's centre, in box sides; twice
        that for its width and height, as if the errors of its four edges were independent.
    acceleration: standard deviation of the change of velocity between frames, in box sides per
        frame.
    speed: standard deviation of the velocity of a box after one detection, in box sides per frame.
    damping: factor that reduces the velocity in each frame without a detection.

    All deviations are scaled by the errors of past detections.
    """

    def __init__(
        self,
        noise: float = 0.08,
        acceleration: float = 0.01,
        speed: float = 0.1,
        damping: float = 0.95,
    ) -> None:
        self.noise = noise**2 * np.array([1.0, 1.0, 4.0, 4.0])
        # Ratio of measured to expected squared errors: of centres, and of sizes.
        self._scale, self._pairs = np.ones(4), float(_PRIOR)
        self.acceleration, self.speed = acceleration, speed
        self.damping = damping
        # Centre x, y, then width, height; the latter two have no velocity.
        self.state = np.zeros((0, 4))
        self.velocity = np.zeros((0, 4))
        # Variances of state and velocity and their covariance, in squared box sides.
        self.spread = np.zeros((0, 3, 4))
        # State and its variance at the last detection, and the number of frames since.
        self._last, self._last_var, self._gap = self.state, self.state, np.zeros(0)

    def __len__(self) -> int:
        return len(self.state)

    @property
    def boxes(self) -> np.ndarray:
        """(T, 4) float64 estimates of x, y, width, height."""
        return np.concatenate([self.state[:, :2] - self.state[:, 2:] / 2, self.state[:, 2:]], 1)

    @property
    def size(self) -> np.ndarray:
        """(T,) (width + height) / 2, at least a pixel."""
        return np.maximum(self.state[:, 2:].mean(1), 1.0)

    @property
    def unit(self) -> np.ndarray:
        """(T, 4) width, height, width, height: the units of deviations, with a least side."""
        sides = np.maximum(self.state[:, 2:], 0.4 * self.state[:, :1:-1])
        return np.tile(np.maximum(sides, 1.0), 2)

    def add(self, boxes: np.ndarray) -> None:
        """Append boxes (N, 4) x, y, width, height."""
        N = len(boxes)
        spread = np.zeros((N, 3, 4))
        spread[:, 0] = self.noise
        spread[:, 2, :2] = self.speed**2
        self.state = np.concatenate([self.state, _centred(boxes)])
        self.velocity = np.concatenate([self.velocity, np.zeros((N, 4))])
        self.spread = np.concatenate([self.spread, spread])
        self._last = np.concatenate([self._last, _centred(boxes)])
        self._last_var = np.concatenate([self._last_var, spread[:, 0]])
        self._gap = np.append(self._gap, np.zeros(N))

    def keep(self, which: np.ndarray) -> None:
        """Keep only the boxes of a mask or index."""
        for name in ("state", "velocity", "spread", "_last", "_last_var", "_gap"):
            setattr(self, name, getattr(self, name)[which])

    def step(self) -> None:
        """Advance by one frame."""
        self.velocity *= np.where(self._gap == 0, 1.0, self.damping)[:, None]
        self._gap = self._gap + 1
        self.state = self.state + self.velocity
        push = self.acceleration**2
        var, cross, var_v = (self.spread[:, n].copy() for n in range(3))
        self.spread[:, 0] = var + _MOVING * (2 * cross + var_v + push / 4)
        self.spread[:, 0] += (1 - _MOVING) * push  # sizes change about as fast
        self.spread[:, 1] = _MOVING * (cross + var_v + push / 2)
        self.spread[:, 2] = _MOVING * (var_v + push)

    def surprise(self, boxes: np.ndarray) -> np.ndarray:
        """Return how unexpected each box is for each track, in nats, (T, N).

        boxes: (N, 4). The surprise is the negative logarithm of the density of the box given the
        track, over centre, width and height in box sides.
        """
        T, N = len(self), len(boxes)
        rows, columns = np.divmod(np.arange(T * N), max(N, 1))
        return -np.logaddexp(*self._log_densities(rows, _centred(boxes)[columns])).reshape(T, N)

    def correct(self, rows: np.ndarray, boxes: np.ndarray) -> None:
        """Update the tracks `rows` (M,) with their detected boxes (M, 4)."""
        boxes = _centred(boxes)
        straight, turned = self._log_densities(rows, boxes)
        self._restart(rows[turned > straight])
        var, cross, var_v = (self.spread[rows, n] for n in range(3))
        whole = var + self.noise
        gap = boxes - self.state[rows]
        self._learn((gap / self.unit[rows]) ** 2 / whole)
        self.state[rows] += gap * var / whole
        self.velocity[rows] += gap * cross / whole
        self.spread[rows, 0] = var * self.noise / whole
        self.spread[rows, 1] = cross * self.noise / whole
        self.spread[rows, 2] = var_v - cross**2 / whole
        self._last[rows], self._last_var[rows] = self.state[rows], self.spread[rows, 0]
        self._gap[rows] = 0

    def _log_densities(self, rows: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log densities of boxes (M, 4) for tracks that continue, and that turn."""
        unit = self.unit[rows]
        return tuple(
            np.log(share)
            - 0.5 * (((boxes - mean[rows]) / unit) ** 2 / var + np.log(2 * np.pi * var)).sum(1)
            for share, mean, var in (
                (1 - _TURNS, self.state, self._detected_var(self.spread[rows, 0])),
                (_TURNS, self._last, self._detected_var(self._turned_var(rows))),
            )
        )

    def _detected_var(self, var: np.ndarray) -> np.ndarray:
        return (var + self.noise) * self._scale

    def _turned_var(self, rows: np.ndarray) -> np.ndarray:
        """Return the variance (M, 4) around the last detection if the velocity is unknown."""
        gap = self._gap[rows, None]
        speed, size = (self.speed * gap) ** 2, self.acceleration**2 * gap
        return self._last_var[rows] + np.where(_MOVING, speed, size)

    def _restart(self, rows: np.ndarray) -> None:
        """Restart tracks that turned at their last detection, with an unknown velocity."""
        self.state[rows], self.velocity[rows] = self._last[rows], 0
        self.spread[rows, 0] = self._turned_var(rows)
        self.spread[rows, 1] = _MOVING * self.speed**2 * self._gap[rows, None]
        self.spread[rows, 2] = _MOVING * self.speed**2

    def _learn(self, ratio: np.ndarray) -> None:
        """Update the noise scale. ratio: (M, 4) squared errors divided by their expectation."""
        pairs = min(self._pairs, _LONGEST)
        ratio = np.minimum(ratio, 9.0)
        both = ratio.reshape(len(ratio), 2, 2).sum((0, 2)).repeat(2) / 2  # x, y as one; w, h
        scale = (self._scale * pairs + both) / (pairs + len(ratio))
        self._scale = np.clip(scale, 1 / _FACTOR, _FACTOR)
        self._pairs = pairs + len(ratio)


def _centred(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], 1)
