"""A trained model made ready for photos: read, fit, run, decode, in the pixels of each photo."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine, fit_affine
from tagwise.errors import UserError, unknown_name
from tagwise.models.load import load_model
from tagwise.prediction import tta
from tagwise.prediction.fitting import Look, fitting_of
from tagwise.prediction.sources import Image
from tagwise.prediction.tiles import in_tiles
from tagwise.results import Result
from tagwise.runtime import fastest_precision, find_device

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Predictor:
    """A trained model, ready for photos.

    weights: name of a model that ships with tagwise, a .safetensors or .onnx file, or a model
        itself (used as it is, in evaluation mode).
    device: "cpu", "cuda", "cuda:1", "mps"; "auto" takes a GPU where there is one.
    size: pixels of the network's input, as the longest side or as (width, height); photos are
        fitted in, shape kept. The model's own by default. Models that see photos at their own
        size, in tiles, take it for the tiles.
    flip, scales: test-time augmentation, see `tta.py`; scales are relative to `size`, or to
        the photo's own where the model takes that.
    threshold: instances with a lower score are left out.
    batch_size: photos of one forward pass; by default 1 on a CPU, else 16. Photos of different
        shapes are not padded to one another, so batches pay where shapes are alike.
    precision: "fp32", or "bf16" or "fp16" to run the network in half precision; "auto" takes bf16
        on a CPU that computes in it, nearly twice as fast and as accurate, and else fp32.

    >>> poses = Predictor("people")("photo.jpg")  # doctest: +SKIP
    >>> poses.plot().save("poses.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | nn.Module = "people",
        *,
        device: str | torch.device = "auto",
        size: int | tuple[int, int] | None = None,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        threshold: float = 0.0,
        batch_size: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        if precision not in get_args(Precision):
            raise unknown_name("precision", str(precision), get_args(Precision))
        if not scales or min(scales) <= 0:
            raise UserError(f"scales are {tuple(scales)}; use one or more numbers above 0")
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch size is {batch_size}; use 1 or more")
        self.device = find_device(device)
        if isinstance(weights, nn.Module):
            self.model, self.name = weights.to(self.device), weights.spec.name
        else:
            self.model = load_model(weights, device=self.device, fuse=True)
            self.name = Path(weights).stem
        self.model.eval()
        self.task = self.model.task
        self.size = _input_size(size, self.model.spec.input_size)
        self.fitting = fitting_of(
            self.model.spec.decoder.get("fitting"),
            self.model.spec.input_size,
            self.size if size is not None else None,
        )
        self.flip, self.scales, self.threshold = flip, tuple(scales), threshold
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 16)
        # The numbers of a published test are those of float32.
        fp32_only = getattr(self.model, "fp32_only", False)
        exact = self.fitting or fp32_only
        best = "fp32" if exact else fastest_precision(self.device)
        self.precision = best if precision == "auto" else precision
        if fp32_only and self.precision != "fp32":
            raise UserError(f"{weights} runs in fp32 alone, not in {precision}")

    def settings(self) -> dict[str, Any]:
        """Plain values of all that results depend on, but for the weights."""
        return {
            "model": self.name,
            "size": list(self.size),
            "flip": self.flip,
            "scales": list(self.scales),
            "threshold": self.threshold,
            "precision": self.precision,
        }

    def __call__(self, image: Image) -> Result:
        """The instances of one image, best first, in its pixels, as the task gives them.

        image: a file, its bytes, a Pillow image, or an array, RGB; see `read_image`.
        """
        return next(self.stream([image]))

    def stream(self, images: Iterable[Image]) -> Iterator[Result]:
        """Results of each image, in order, lazily: only a few images are in memory at once.

        Raises UserError at the first image that cannot be read.
        """
        for outcome in self.outcomes(images):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.result

    def outcomes(self, images: Iterable[Image]) -> Iterator[Outcome]:
        """Like `stream`, with the image of each result, and errors in place of exceptions."""
        prepared = self._prepared(images)
        # Photos of like shape share a batch, so a window of several batches is sorted by shape.
        window = 4 * self.batch_size if self.batch_size > 1 else 1
        while outcomes := list(islice(prepared, window)):
            ready = [outcome for outcome in outcomes if outcome.error is None]
            ready.sort(key=_shape)
            for _, alike in groupby(ready, key=_shape):
                while batch := list(islice(alike, self.batch_size)):
                    self._predict(batch)
            yield from outcomes

    def maps(self, image: Image) -> tuple[dict[str, Tensor], Affine]:
        """The network's raw maps of one image, and the way from its pixels to the network's input.

        Each map is (1, C, h, w) float32; test-time augmentation is already merged in. Raises
        UserError if the image cannot be read.
        """
        outcome = self._prepare(image)
        if outcome.error is not None:
            raise outcome.error
        maps = self._maps([array[None] for array in outcome.inputs])
        return maps, outcome.affines[self._base]

    def _prepared(self, images: Iterable[Image]) -> Iterator[Outcome]:
        """Images read and fitted by threads, a few ahead of the network."""
        images = iter(images)
        ahead = self.batch_size + 1
        pool = ThreadPoolExecutor(1 if self.device.type == "cpu" else 4)
        try:
            waiting = deque(pool.submit(self._prepare, image) for image in islice(images, ahead))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(self._prepare, image) for image in islice(images, 1))
        finally:
            # Not waited for: the garbage collector may close a forgotten stream inside any thread,
            # even one that holds the very lock that waiting needs.
            pool.shutdown(wait=False, cancel_futures=True)

    def _prepare(self, source: Image) -> Outcome:
        """Read one image and fit it to the network's input at every scale."""
        outcome = Outcome(source)
        try:
            outcome.image = read_image(source)
        except UserError as error:
            outcome.error = error
            return outcome
        height, width = outcome.image.shape[:2]
        portrait = (height > width) != (self.size[1] > self.size[0])
        box = self.size[::-1] if portrait else self.size
        if self.task.zoom is not None:
            box = (width * self.task.zoom, height * self.task.zoom)
        for scale in self.scales:
            if self.fitting is not None:
                array, affine = self.fitting.fit(outcome.image, scale, self.scales)
                outcome.affines.append(affine)
                outcome.inputs.append(array)
                continue
            scaled = (box[0] * scale, box[1] * scale)
            affine, size = fit_affine((width, height), scaled, self.model.multiple)
            outcome.affines.append(affine)
            outcome.inputs.append(affine.image(outcome.image, size))
        return outcome

    def _predict(self, batch: list[Outcome]) -> None:
        """Fill in the results of images whose inputs have the same shapes."""
        inputs = [
            np.stack([outcome.inputs[s] for outcome in batch]) for s in range(len(self.scales))
        ]
        if self.task.zoom is not None:
            self._predict_at_own_size(batch, inputs)
            return
        if self.task.merges == "maps":
            found = self.task.decode(self._maps(inputs), self.stride)
            seen = [[(result, self._base, False)] for result in found]
        else:
            seen = [[] for _ in batch]
            for s, mirrored, outputs in self._passes(inputs):
                for n, result in enumerate(self.task.decode(outputs, self.model.stride)):
                    seen[n].append((result, s, mirrored))
        for outcome, results in zip(batch, seen, strict=True):
            placed = [self._in_photo(outcome, *result) for result in results]
            alone = len(placed) == 1 and not (self.fitting and self.fitting.fuses_one_look)
            merged = placed[0] if alone else self.task.merge_results(placed)
            outcome.result = merged.above(self.threshold)
            outcome.inputs.clear()

    def _predict_at_own_size(self, batch: list[Outcome], inputs: list[np.ndarray]) -> None:
        """Fill in the results of a task that decodes straight into a photo's pixels."""
        views = [(outcome.affines[self._base], outcome.image.shape[1::-1]) for outcome in batch]
        found = self.task.decode(self._maps(inputs), self.model.stride, views)
        for outcome, result in zip(batch, found, strict=True):
            outcome.result = replace(result, **self._origin(outcome)).above(self.threshold)
            outcome.inputs.clear()

    def _in_photo(self, outcome: Outcome, result: Result, s: int, mirrored: bool) -> Result:
        """A result in the pixels of its photo; s: number of the scale that it was seen at."""
        to_photo = outcome.affines[s].inverse()
        if mirrored:
            width = outcome.inputs[s].shape[1]  # maps end at a multiple, where the input may not
            to_photo = to_photo @ Affine.mirror(width + -width % self.model.multiple)
        return result.transform(to_photo.matrix, **self._origin(outcome))

    def _origin(self, outcome: Outcome) -> dict[str, Any]:
        """What a result says of the photo and the model that it comes from."""
        height, width = outcome.image.shape[:2]
        is_file = isinstance(outcome.source, (str, Path))
        return {
            "width": width,
            "height": height,
            "model": self.name,
            "file": str(outcome.source) if is_file else None,
            # A file can be read again; a result that held its photo would fill the memory.
            "image": None if is_file else outcome.image,
        }

    @property
    def _base(self) -> int:
        """The scale whose grid all passes are brought to: the one nearest to the model's own."""
        if self.fitting is not None:
            return self.fitting.base(self.scales)
        return min(range(len(self.scales)), key=lambda s: abs(np.log(self.scales[s])))

    @property
    def stride(self) -> int:
        """Pixels of the input that a cell of `maps` is wide."""
        return (self.fitting and self.fitting.stride) or self.model.stride

    @torch.inference_mode()
    def _passes(self, inputs: list[np.ndarray]) -> Iterator[tuple[int, bool, dict[str, Tensor]]]:
        """Number of the scale, whether mirrored, and the network's maps, of every look at a batch.

        inputs: one (B, H, W, 3) uint8 array a scale.
        """
        for s, array in enumerate(inputs):
            # (B, H, W, 3) seen as (B, 3, H, W) is what channels_last means: no copy.
            images = torch.from_numpy(array).to(self.device).permute(0, 3, 1, 2)
            yield s, False, self._forward(images)
            if self.flip:
                yield s, True, self._forward(tta.mirror(images))

    @torch.inference_mode()
    def _maps(self, inputs: list[np.ndarray]) -> dict[str, Tensor]:
        """The network's raw maps of a batch, all passes merged, on the grid of the base scale."""
        if self.task.merges != "maps":  # of other tasks, only the plain look has maps of its own
            return next(self._passes([inputs[self._base]]))[2]
        heads, passes, looks, grid = self.task.heads(), [], [], None
        for s, mirrored, outputs in self._passes(inputs):
            if len(inputs) == 1 and not self.flip and self.fitting is None:
                return outputs
            outputs = tta.unmirror(outputs, heads, self.task.flip) if mirrored else outputs
            looks.append(Look(outputs, self.scales[s]))
            passes.append((self.scales[s] / self.scales[self._base], outputs))
            if s == self._base:
                grid = next(iter(outputs.values())).shape[-2:]
        if self.fitting is not None:
            return self.fitting.join(looks, heads, inputs[self._base].shape[2:0:-1])
        aligned = [
            {name: tta.resample(maps, grid, (scale, scale)) for name, maps in outputs.items()}
            for scale, outputs in passes
        ]
        return tta.merge(
            aligned,
            heads,
            to_values=self.task.heatmap_values,
            to_raw=self.task.heatmap_raw,
            tag_norm=self.task.tag_norm,
        )

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        """The network's maps of images (B, 3, H, W) uint8."""
        if self.task.zoom is None:
            return self._look(images)
        return in_tiles(
            self._look,
            images,
            self.task.heads(),
            tile=self.size,
            overlap=min(self.size) // 4,
            multiple=self.model.multiple,
            stride=self.model.stride,
        )

    def _look(self, images: Tensor) -> dict[str, Tensor]:
        half = _PRECISIONS[self.precision]
        with torch.autocast(self.device.type, dtype=half) if half else nullcontext():
            return self.model(images.float().div_(255))


@dataclass
class Outcome:
    """What became of one image: its result, or the error that reading it gave."""

    source: Image
    image: np.ndarray | None = None
    result: Result | None = None
    error: UserError | None = None
    affines: list[Affine] = field(default_factory=list)
    inputs: list[np.ndarray] = field(default_factory=list)


def _input_size(size: int | tuple[int, int] | None, own: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the network's input; a single number is the longest side."""
    if size is None:
        return own
    if isinstance(size, int):
        size = tuple(round(side * size / max(own)) for side in own)
    if min(size) < 1:
        raise UserError(f"input size is {size}; use pixels, such as {max(own)}")
    return size


def _shape(outcome: Outcome) -> tuple[Any, ...]:
    return tuple(array.shape for array in outcome.inputs)
