"""What a task is: the whole meaning of associative embedding for one problem.

The rest of the program (training, evaluation, prediction) is generic over this contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from tagwise.data.regions import Size
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.results import Result

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

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


class Placement(NamedTuple):
    """How an image lies in the network's input.

    affine: from pixels of the image to pixels of the input.
    size: (width, height) of the image in pixels.
    """

    affine: Affine
    size: Size


class Task:
    """The contract; `tagwise.tasks.TASKS` maps names to subclasses.

    A task defines every method that raises NotImplementedError here, and overrides the others
    where their defaults do not fit.

    merges: where test-time augmentation joins its passes over an image. With "maps" the maps of
        all passes become one set, which is decoded once; with "results" every pass is decoded,
        and `merge_results` makes one result of all.
    zoom: None for images that are fitted into the network's input; a number for images that the
        network sees at that many times their own size, in tiles.
    """

    name: ClassVar[str]
    merges: ClassVar[Literal["maps", "results"]] = "maps"
    zoom: float | None = None

    @staticmethod
    def open_dataset(annotations: Path, images: Path, like: Any = None, **options: Any) -> Any:
        """A labelled set; its keypoint types or classes are those of the set `like`, if given."""
        raise NotImplementedError

    def heads(self) -> dict[str, Head]:
        """Maps that the network must produce, by name."""
        raise NotImplementedError

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Targets of one sample, as numpy arrays."""
        raise NotImplementedError

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Targets of several samples as one batch."""
        raise NotImplementedError

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named terms, with their weighted sum under "total"."""
        raise NotImplementedError

    # ------------------------------------------------------------------ results

    def decode_input(self, outputs: dict[str, Tensor], stride: int) -> list[Result]:
        """Results of each image of a batch, best first, in pixels of the network's input.

        outputs: name -> (B, channels, h, w), raw. stride: pixels of the input per cell.
        """
        raise NotImplementedError

    def decode(
        self,
        outputs: dict[str, Tensor],
        stride: int,
        placements: Sequence[Placement] | None = None,
    ) -> list[Result]:
        """Results of each image of a batch, best first, in pixels of that image.

        outputs, stride: see `decode_input`. placements: one per image; by default results stay in
        pixels of the network's input.
        """
        found = self.decode_input(outputs, stride)
        if placements is None:
            return found
        return [
            result.transform(affine.inverse().matrix, width=width, height=height)
            for result, (affine, (width, height)) in zip(found, placements, strict=True)
        ]

    def merge_results(self, results: Sequence[Result]) -> Result:
        """The results of several passes over one image, all in its pixels, as one."""
        raise UserError(f"the {self.name} task cannot merge passes: use neither flip nor scales")

    @property
    def flip(self) -> tuple[int, ...]:
        """For each keypoint type or class that has a heatmap, the one that its mirror image has."""
        heads = self.heads().values()
        return tuple(range(next(head.channels for head in heads if head.kind == "heatmap")))

    @property
    def tag_norm(self) -> Literal["l2", "rms"]:
        """The norm in which tags are compared; see `tagwise.prediction.tta.merge`."""
        return "l2"

    def heatmap_values(self, raw: Tensor) -> Tensor:
        """Raw heatmaps of the network as scores in [0, 1], float32."""
        return raw.float().sigmoid()

    def heatmap_raw(self, values: Tensor) -> Tensor:
        """The inverse of `heatmap_values`."""
        return torch.logit(values, eps=1e-6)

    def metric(self, results: list[Any], dataset: Any) -> dict[str, float]:
        """Named figures of results against a dataset's annotations."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Plain values that make this task again: create_task(name, **options)."""
        raise NotImplementedError
