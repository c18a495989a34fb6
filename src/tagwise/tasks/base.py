"""What a task is: the whole meaning of associative embedding for one problem.

The rest of the program (training, evaluation, prediction) is generic over this contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from tagwise.data.sample import Sample


@dataclass(frozen=True)
class Head:
    """One output map of a network.

    channels: number of maps.
    kind: what the maps mean; a network may give each kind its own branch.
    bias: initial value of the output's bias (heatmap logits start near their prior).
    position: tags only. None learns tags outright; a number u adds to every tag the place of its
        pixel in units of u input pixels (x for even, y for odd components), so that a tag is
        "where the pixel is, plus a learned offset". Needs an even tag dimension.
    corner: the box corner that the maps are about, top-left or bottom-right: they read features
        after that corner's pooling, which look along the box's edges. None: features as they are.
    """

    channels: int
    kind: Literal["heatmap", "tag", "offset"]
    bias: float = 0.0
    position: float | None = None
    corner: Literal["tl", "br"] | None = None


class Task(Protocol):
    """The contract; `tagwise.tasks.TASKS` maps names to implementations.

    merges: where test-time augmentation joins its passes over an image: "maps" (tasks whose maps
        of a mirrored image can be mirrored back; they have `flip`, `heatmap_values`, `heatmap_raw`
        and `tag_norm`) or "results" (they have `merge_results`).
    zoom: None for photos that are fitted into the network's input; a number for photos that are
        seen at so many times their own size, in tiles (such tasks' `decode` takes `views`, one of
        each photo: the map from its pixels to the network's input, and its width and height).
    """

    name: str
    merges: Literal["maps", "results"]
    zoom: float | None

    @staticmethod
    def open_dataset(annotations: Path, images: Path, like: Any = None, **options: Any) -> Any:
        """A labelled set; its keypoint types or classes are those of the set `like`, if given."""

    def heads(self) -> dict[str, Head]:
        """Maps that the network must produce, by name."""

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Targets of one sample, as numpy arrays."""

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Targets of several samples as one batch."""

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named terms, with their weighted sum under "total"."""

    def decode(self, outputs: dict[str, Tensor], stride: int) -> list[Any]:
        """Results of each image, in pixels of the network's input."""

    def metric(self, results: list[Any], dataset: Any) -> dict[str, float]:
        """Named figures of results against a dataset's annotations."""

    def options(self) -> dict[str, Any]:
        """Plain values that make this task again: create_task(name, **options)."""
