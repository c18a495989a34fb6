"""The interface of a task: everything that associative embedding needs for one problem.

The rest of the program (training, evaluation, prediction) uses tasks only through this interface.
What a task needs to decode results takes numpy arrays as well as tensors, and works without torch;
its loss imports torch when it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import numpy as np

from tagwise.data.box_labels import BoxLabels, read_box_labels
from tagwise.data.coco import CocoKeypoints
from tagwise.data.keypoint_labels import KeypointLabels, read_keypoint_labels
from tagwise.data.photos import Photos
from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags
from tagwise.evaluation.scoring import Scorer
from tagwise.grouping.maps import AnyMaps, Maps, as_array
from tagwise.plot import draw_heatmaps
from tagwise.results import Result
from tagwise.settings import Settings
from tagwise.tasks.targets import collate

if TYPE_CHECKING:
    from torch import Tensor

AnyResult = TypeVar("AnyResult", bound=Result)


@dataclass(frozen=True)
class Head:
    """One output map of a network.

    channels: number of maps.
    kind: meaning of the maps; a network may have a separate branch for each.
    bias: initial value of the output's bias, so that heatmap logits start near their prior.
    position: for tags only. None: tags are learned directly. A number u: the position of the pixel
        in units of u input pixels is added to each tag (x to even, y to odd components), so that
        the network learns an offset from the pixel's position. Needs an even tag dimension.
    unit: for tags only. A number D: every D components are one tag, which is scaled to length 1,
        for losses that compare directions. None: tags are used as they are.
    corner: the box corner that the maps describe, top-left or bottom-right. Their features go
        through the corner pooling of that corner, along the box's edges. None: no pooling.
    """

    channels: int
    kind: Literal["heatmap", "tag", "offset"]
    bias: float = 0.0
    position: float | None = None
    unit: int | None = None
    corner: Literal["tl", "br"] | None = None


class Placement(NamedTuple):
    """The placement of an image in the network's input.

    affine: from pixels of the image to pixels of the input.
    size: (width, height) of the image in pixels.
    """

    affine: Affine
    size: Size

    def place(self, result: AnyResult) -> AnyResult:
        """Convert a result from pixels of the input to pixels of the image."""
        width, height = self.size
        return result.transform(self.affine.inverse().matrix, width=width, height=height)


class Task(Settings):
    """The base of tasks; `tagwise.tasks.TASKS` maps names to subclasses.

    A task is a frozen dataclass of settings in its own file: `to_dict` returns the values that a
    model file stores, and `from_dict` restores the task. It sets the class variables
    `name`, `result`, `dataset` and `scorer`, defines every method that raises NotImplementedError
    here, and overrides other methods whose defaults do not fit.

    name: name in recipes, model files and prediction JSON.
    result: type of the results of `decode`, a subclass of `tagwise.results.Result`.
    dataset: type of the labelled sets for training and evaluation.
    scorer: type of the scorers that `make_scorer` creates.
    oracles: names of the parts of the model that the truth can replace, see `decode_with_truth`.
    merges: how test-time augmentation joins the passes over an image. With "maps", the maps of all
        passes are merged and decoded once. With "results", each pass is decoded, and
        `merge_results` merges the results.
    decoder: name of the field with the settings of the decoder, which `tagwise tune` fits.
    zoom: None if images are fitted into the network's input. A number if the network runs in tiles
        over images scaled by this factor.
    """

    name: ClassVar[str]
    result: ClassVar[type[Result]]
    dataset: ClassVar[type[Photos]]
    scorer: ClassVar[type[Scorer]]
    oracles: ClassVar[tuple[str, ...]] = ()
    merges: ClassVar[Literal["maps", "results"]] = "maps"
    decoder: ClassVar[str | None] = None
    zoom: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        position, tag_dim = getattr(self, "position", None), getattr(self, "tag_dim", 2)
        if position is not None and tag_dim % 2:
            raise UserError(
                f"tag_dim is {tag_dim}, but position {position} needs an even number, for x and y; "
                "use tag_dim 2, or position null"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that its instances may have."""
        return ("instance",)

    def with_own_decoder(self) -> Self:
        """Return the task with the default decoder of tagwise instead of that of a paper."""
        return self

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
        """Open a labelled set.

        annotations: a COCO JSON, or another source that `dataset` reads. images: the folder of
            its images.
        like: a task whose keypoint types or classes the set must have; None: those of the set.
        keep_missing: keep images that are listed but missing, if a dataset lists its images.
        options: arguments of the dataset.
        """
        known = inspect.signature(cls.dataset).parameters
        for name in options:
            if name not in known:
                raise UserError(f"the {cls.name} task has no option {name!r} in its data")
        if "keep_missing" in known:
            options["keep_missing"] = keep_missing
        return cls.dataset(annotations, images, **(like.labels() if like else {}), **options)

    def labels(self) -> dict[str, Any]:
        """Return the arguments of `dataset` for this task's keypoint types or classes."""
        skeleton = getattr(self, "skeleton", None)
        return {} if skeleton is None else {"skeleton": skeleton}

    def read_labels(self, annotations: Path) -> KeypointLabels | BoxLabels:
        """Read the labels of a COCO JSON without its images, for `rows`."""
        if issubclass(self.dataset, CocoKeypoints):
            return read_keypoint_labels(annotations)
        return read_box_labels(annotations)

    def rows(self, labels: Any) -> Callable[[Any, Any], list[dict[str, Any]]]:
        """Return a function from a result and its image's id to rows of a COCO results file."""
        raise NotImplementedError

    # ------------------------------------------------------------------ network and training

    def heads(self) -> dict[str, Head]:
        """Return the maps that the network must produce, by name."""
        raise NotImplementedError

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Return the targets of one sample as numpy arrays: maps, and values per point."""
        raise NotImplementedError

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Combine the targets of several samples into one batch.

        Arrays of three dimensions are maps and are stacked. Others have one entry per point and are
        concatenated; "image" (P,) is the index of the image of each point.
        """
        maps = [name for name, values in targets[0].items() if values.ndim == 3]
        return collate(targets, maps, [name for name in targets[0] if name not in maps])

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the named terms, with their weighted sum under "total"."""
        raise NotImplementedError

    def divisors(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the scalars that terms of `loss` are divided by, where they depend on the batch.

        Where the batch of a step is divided over processes or into parts, the means over all parts
        are in `targets` when `loss` is called, as "divisor.NAME"; the loss then uses these, so that
        the parts add up to the loss of the whole batch. By default there are none, which suits
        losses that are means over images.
        """
        return {}

    # ------------------------------------------------------------------ results

    def candidates(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what `decode_input` can use in place of maps: the peaks of heatmaps, for example.

        maps: the network's, raw, by name. Each result is (B, ...). `tagwise export` makes them part
        of the graph, so only tensor operations of ONNX can be used. By default there are none, and
        the maps themselves are decoded.
        """
        return {}

    @property
    def maps_beside_candidates(self) -> tuple[str, ...]:
        """The names of the maps that `decode_input` reads although it has candidates."""
        return ()

    def decode_input(self, outputs: Mapping[str, Maps], stride: int) -> list[Result]:
        """Decode the results of each image of a batch, best first, in pixels of the input.

        outputs: name -> (B, channels, h, w), raw, tensors or numpy arrays; or the candidates, as
            arrays, with the maps beside them.
        stride: pixels of the input per cell.
        """
        raise NotImplementedError

    def decode(
        self,
        outputs: Mapping[str, Maps],
        stride: int,
        placements: Sequence[Placement] | None = None,
    ) -> list[Result]:
        """Decode the results of each image of a batch, best first, in pixels of that image.

        outputs, stride: see `decode_input`. placements: one per image; by default results stay in
        pixels of the network's input.
        """
        results = self.decode_input(outputs, stride)
        if placements is None:
            return results
        return [
            placement.place(result) for result, placement in zip(results, placements, strict=True)
        ]

    def merge_results(self, results: Sequence[Result]) -> Result:
        """Merge the results of several passes over one image, all in its pixels."""
        raise UserError(f"the {self.name} task cannot merge passes; use neither flip nor scales")

    @property
    def flip(self) -> tuple[int, ...]:
        """The index of the mirror image of each keypoint type or class that has a heatmap.

        By default it comes from the skeleton; without one, each is its own mirror image.
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

    def heatmap_values(self, raw: AnyMaps) -> AnyMaps:
        """Convert raw heatmaps of the network to scores in [0, 1], float32."""
        if not isinstance(raw, np.ndarray):
            return raw.float().sigmoid()
        from scipy.special import expit  # slow to import, and only needed without torch

        return expit(raw)

    def heatmap_raw(self, values: Tensor) -> Tensor:
        """The inverse of `heatmap_values`."""
        return values.logit(eps=1e-6)

    # ------------------------------------------------------------------ evaluation and pictures

    def make_scorer(self, dataset: Any, **options: Any) -> Scorer:
        """Create the scorer of results on a labelled set, for training and evaluation.

        options: those that the class `scorer` lists.
        """
        raise NotImplementedError

    def check_evaluation(self, oracle: str | None, options: Iterable[str]) -> None:
        """Raise UserError for an oracle or options of an evaluation that the task lacks.

        options: names of arguments of `make_scorer`.
        """
        if oracle is not None and oracle not in self.oracles:
            if not self.oracles:
                raise UserError(f"the {self.name} task has no oracles; leave it out")
            raise unknown_name(f"oracle for the {self.name} task,", oracle, self.oracles)
        known = self.scorer.options
        for name in options:
            if name not in known:
                raise UserError(
                    f"the evaluation of the {self.name} task has no option {name}; "
                    f"it has {', '.join(known)}"
                )

    def decode_with_truth(
        self,
        oracle: str,
        outputs: dict[str, Tensor],
        stride: int,
        placement: Placement,
        sample: Sample,
    ) -> Result:
        """Decode one image with the help of an oracle: the truth replaces one part of the model.

        oracle: one of `oracles`. outputs: raw maps, of a batch of one. sample: the labelled image.
        """
        raise NotImplementedError

    def true_tags(
        self, outputs: dict[str, Tensor], stride: int, placement: Placement, sample: Sample
    ) -> InstanceTags | None:
        """Return the predicted tags at the true detections of one image; None: no such measure.

        Arguments: see `decode_with_truth`.
        """
        return None

    def draw_maps(
        self, image: np.ndarray, outputs: dict[str, Tensor], to_image: Affine, title: str
    ) -> Any:
        """Draw the maps of the network on an image, before grouping.

        image: (H, W, 3) uint8 RGB. outputs: raw maps, of a batch of one. to_image: from cells of
        the maps to pixels of the image. Returns an array or a matplotlib figure.
        """
        heads = self.heads()
        raw = [maps for name, maps in outputs.items() if heads[name].kind == "heatmap"]
        values = [as_array(self.heatmap_values(maps)[0]) for maps in raw]
        return draw_heatmaps(image, np.concatenate(values), to_image.matrix)
