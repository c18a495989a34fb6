"""What a task is: the whole meaning of associative embedding for one problem.

The rest of the program (training, evaluation, prediction) is generic over this contract.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from tagwise.data.box_labels import BoxLabels, read_box_labels
from tagwise.data.coco import CocoKeypoints
from tagwise.data.keypoint_labels import KeypointLabels, read_keypoint_labels
from tagwise.data.photos import Photos
from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.evaluation.scoring import Scorer
from tagwise.plot import draw_heatmaps
from tagwise.results import Result
from tagwise.settings import Settings
from tagwise.tasks.targets import collate

AnyResult = TypeVar("AnyResult", bound=Result)


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

    def place(self, result: AnyResult) -> AnyResult:
        """A result in pixels of the input as one in pixels of the image."""
        width, height = self.size
        return result.transform(self.affine.inverse().matrix, width=width, height=height)


class Task(Settings):
    """The contract; `tagwise.tasks.TASKS` maps names to subclasses.

    A task is a frozen dataclass of settings, in a file of its own: `to_dict` gives what a model
    file keeps of it, and `from_dict` makes it again. It sets the class variables
    `name`, `result`, `dataset` and `scorer`, defines every method that raises NotImplementedError
    here, and overrides the others where their defaults do not fit.

    name: in recipes, model files and prediction JSON.
    result: what `decode` gives, a subclass of `tagwise.results.Result`.
    dataset: the labelled sets that it learns from and is measured on.
    scorer: what measures results, the class that `make_scorer` makes.
    oracles: what can be put in place of a part of the model, see `decode_with_truth`.
    merges: where test-time augmentation joins its passes over an image. With "maps" the maps of
        all passes become one set, which is decoded once; with "results" every pass is decoded,
        and `merge_results` makes one result of all.
    zoom: None for images that are fitted into the network's input; a number for images that the
        network sees at that many times their own size, in tiles.
    """

    name: ClassVar[str]
    result: ClassVar[type[Result]]
    dataset: ClassVar[type[Photos]]
    scorer: ClassVar[type[Scorer]]
    oracles: ClassVar[tuple[str, ...]] = ()
    merges: ClassVar[Literal["maps", "results"]] = "maps"
    zoom: float | None = None

    # ------------------------------------------------------------------ labels

    @classmethod
    def open_dataset(
        cls,
        annotations: Path,
        images: Path,
        like: Task | None = None,
        *,
        keep_missing: bool = False,
        **options: Any,
    ) -> Photos:
        """A labelled set.

        annotations: a COCO JSON, or what else `dataset` reads. images: the folder of its images.
        like: a task whose keypoint types or classes the set shall have; None takes its own.
        keep_missing: keep images that are listed but missing, where a dataset lists its images.
        options: of the dataset.
        """
        known = inspect.signature(cls.dataset).parameters
        for name in options:
            if name not in known:
                raise UserError(f"the {cls.name} task has no use for {name!r} in its data")
        if "keep_missing" in known:
            options["keep_missing"] = keep_missing
        return cls.dataset(annotations, images, **(like.labels() if like else {}), **options)

    def labels(self) -> dict[str, Any]:
        """The arguments of `dataset` that give a set this task's keypoint types or classes."""
        skeleton = getattr(self, "skeleton", None)
        return {} if skeleton is None else {"skeleton": skeleton}

    def read_labels(self, annotations: Path) -> KeypointLabels | BoxLabels:
        """The labels of a COCO JSON without its images, for `rows`."""
        if issubclass(self.dataset, CocoKeypoints):
            return read_keypoint_labels(annotations)
        return read_box_labels(annotations)

    def rows(self, labels: Any) -> Callable[[Any, Any], list[dict[str, Any]]]:
        """A function of a result and its image's id: the rows of a COCO results file."""
        raise NotImplementedError

    # ------------------------------------------------------------------ network and training

    def heads(self) -> dict[str, Head]:
        """Maps that the network must produce, by name."""
        raise NotImplementedError

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Targets of one sample, as numpy arrays: maps, and what belongs to points."""
        raise NotImplementedError

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Targets of several samples as one batch.

        Maps, which are what has three dimensions, are stacked. What has one entry per point is
        concatenated, and "image" (P,) says which image a point belongs to.
        """
        maps = [name for name, values in targets[0].items() if values.ndim == 3]
        return collate(targets, maps, [name for name in targets[0] if name not in maps])

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
        return [place.place(result) for result, place in zip(found, placements, strict=True)]

    def merge_results(self, results: Sequence[Result]) -> Result:
        """The results of several passes over one image, all in its pixels, as one."""
        raise UserError(f"the {self.name} task cannot merge passes: use neither flip nor scales")

    @property
    def flip(self) -> tuple[int, ...]:
        """For each keypoint type or class that has a heatmap, the one that its mirror image has.

        By default the skeleton says it; where there is none, nothing has a side.
        """
        skeleton = getattr(self, "skeleton", None)
        if skeleton is not None:
            return skeleton.flip
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

    # ------------------------------------------------------------------ evaluation and pictures

    def make_scorer(self, dataset: Any, **options: Any) -> Scorer:
        """What compares results with a labelled set, the same in training and in evaluation.

        options: those that the class `scorer` lists.
        """
        raise NotImplementedError

    def check_evaluation(self, oracle: str | None, options: Iterable[str]) -> None:
        """Raises UserError for an oracle or options of an evaluation that the task does not have.

        options: names of arguments of `make_scorer`.
        """
        if oracle is not None and oracle not in self.oracles:
            if not self.oracles:
                raise UserError(f"the {self.name} task has no oracles")
            raise unknown_name(f"oracle for the {self.name} task,", oracle, self.oracles)
        known = self.scorer.options
        for name in options:
            if name not in known:
                raise UserError(
                    f"the evaluation of the {self.name} task has no use for {name}; "
                    f"it takes {', '.join(known)}"
                )

    def decode_with_truth(
        self,
        oracle: str,
        outputs: dict[str, Tensor],
        stride: int,
        placement: Placement,
        sample: Sample,
    ) -> Result:
        """The result of one image, had the model an oracle's help: the truth for one part of it.

        oracle: one of `oracles`. outputs: raw maps, of a batch of one. sample: the labelled image.
        """
        raise NotImplementedError

    def draw_maps(
        self, image: np.ndarray, outputs: dict[str, Tensor], to_image: Affine, title: str
    ) -> Any:
        """A picture of what the network sees in an image, before anything is grouped.

        image: (H, W, 3) uint8 RGB. outputs: raw maps, of a batch of one. to_image: from cells of
        the maps to pixels of the image. Returns an array or a matplotlib figure.
        """
        heads = self.heads()
        heat = [maps for name, maps in outputs.items() if heads[name].kind == "heatmap"]
        values = self.heatmap_values(torch.cat(heat, 1))[0].cpu().numpy()
        return draw_heatmaps(image, values, to_image.matrix)
