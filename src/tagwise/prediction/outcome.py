"""What becomes of one image in a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.prediction.sources import Image
from tagwise.results import Result


@dataclass
class Outcome:
    """The result of one image, or the error that was raised when it was read.

    inputs, affines: one per scale, see `Fitting.fit`.
    """

    source: Image
    image: np.ndarray | None = None
    result: Result | None = None
    error: UserError | None = None
    inputs: list[np.ndarray] = field(default_factory=list)
    affines: list[Affine] = field(default_factory=list)

    @property
    def is_file(self) -> bool:
        """Whether the image was read from a file."""
        return isinstance(self.source, (str, Path))
