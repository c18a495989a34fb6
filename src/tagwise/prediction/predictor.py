"""Run a trained model on images: read, fit, run, decode in the pixels of each image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tagwise.data.images import read_image
from tagwise.data.report import print_note
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.models.load import load_model
from tagwise.models.network import Network
from tagwise.prediction import options, tta
from tagwise.prediction.fitting import FitInside, Fitting, Tiled
from tagwise.prediction.options import Precision
from tagwise.prediction.pipeline import Pipeline
from tagwise.prediction.protocols import Protocol, PublishedTest, default_protocol, published_test
from tagwise.prediction.published_fittings import FITTINGS
from tagwise.prediction.sources import Image
from tagwise.prediction.tta import HostPasses, Maps, Pass
from tagwise.results import Result
from tagwise.runtime import count_cores, fastest_precision, find_device
from tagwise.tasks.base import Placement

DEFAULT_THRESHOLD = 0.25
"""Least score of an instance, for model files that do not state one."""

_PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Predictor:
    """A trained model, ready for images.

    weights: name of a model that ships with tagwise, or of a public one (see `list_models`), a
        .safetensors or .onnx file, a published checkpoint, the .xml of an OpenVINO file, or a model
        itself (used as it is, in evaluation mode).
    device: "cpu", "cuda", "cuda:1", "mps"; "auto" uses a GPU if there is one.
    size: pixels of the network's input, as the longest side or as (width, height); images are
        fitted in with their aspect ratio. By default the model's own. For models that run over
        images in tiles, it is the size of the tiles.
    flip, scales: test-time augmentation, see `tta.py`; scales are relative to `size`, or to
        that of the image for models that run in tiles.
    protocol: for public models and published checkpoints: "published" tests as their authors do,
        with their flip, scales and decoder; "fast" uses the decoder of tagwise. By default "fast"
        for a public model, and for a checkpoint its decoder with `flip` and `scales` as given.
    threshold: instances with a lower score are left out. By default the model's own,
        which suits pictures; 0 keeps every instance, which average precision needs.
    batch_size: images per forward pass; by default 1 on a CPU, else 32. Images of different shapes
        are not padded to a common one, so only images of the same shape share a batch.
    precision: "fp32", or "bf16" or "fp16" to run the network in half precision; "auto" is bf16 on
        a CPU with bf16 instructions, nearly twice as fast and as accurate, and otherwise fp32.

    Raises UserError for values that do not work.

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
        protocol: Protocol | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        options.check(
            size=size,
            flip=flip,
            scales=scales,
            threshold=threshold,
            batch_size=batch_size,
            precision=precision,
        )
        self.device = find_device(device)
        if isinstance(weights, nn.Module):
            self.model, self.name = weights.to(self.device), weights.spec.name
        else:
            self.model = load_model(weights, device=self.device, fuse=True)
            self.name = Path(weights).stem
        self.model.eval()
        self.task, spec = self.model.task, self.model.spec
        given = options.input_size(size, spec.input_size)
        self.size = given or spec.input_size
        self.flip, self.scales = bool(flip), tuple(map(float, scales))
        self.protocol = protocol or default_protocol(weights, measured=False)
        self._follow(published_test(self.protocol, weights, spec, self.name))
        self.fitting = choose_fitting(self.model, given, self.scales)
        self._base = self.fitting.base
        default = spec.decoder.get("threshold", DEFAULT_THRESHOLD)
        self.threshold = options.check_threshold(default if threshold is None else threshold)
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 32)
        self._part_size = self.batch_size
        self.precision = self._chosen_precision(precision)

    def _follow(self, test: PublishedTest | None) -> None:
        """Set what the protocol determines; test: of the published protocol."""
        if self.protocol == "fast":
            self.task = self.task.with_own_decoder()
        if test is not None:
            self.flip = self.flip or test.flip
            self.scales = test.scales if self.scales == (1.0,) else self.scales

    def _chosen_precision(self, precision: Precision) -> str:
        fp32_only = getattr(self.model, "fp32_only", False)
        if precision == "auto":
            exact = fp32_only or self.fitting.needs_fp32
            return "fp32" if exact else fastest_precision(self.device)
        if fp32_only and precision != "fp32":
            raise UserError(f"{self.name} runs in fp32 only, not in {precision}")
        return precision

    def settings(self) -> dict[str, Any]:
        """Return everything that results depend on, except the weights, as plain values."""
        return {
            "model": self.name,
            "size": list(self.size),
            "flip": self.flip,
            "scales": list(self.scales),
            "threshold": self.threshold,
            "precision": self.precision,
            **({"protocol": self.protocol} if self.protocol else {}),
        }

    @property
    def stride(self) -> int:
        """Pixels of the network's input per cell of `maps`."""
        return self.fitting.stride

    def __call__(self, image: Image) -> Result:
        """Return the instances of one image, best first, in its pixels.

        image: a file, its bytes, a Pillow image, or an array, RGB; see `read_image`.
        """
        outcome = self.prepare(image)
        if outcome.error is not None:
            raise outcome.error
        self.decode([outcome], self.run([outcome]))
        return outcome.result

    def stream(self, images: Iterable[Image]) -> Iterator[Result]:
        """Yield the result of each image in order; only a few batches are in memory at a time.

        Images are read, run through the network and decoded at the same time, in threads. Raises
        UserError at the first image that cannot be read.
        """
        for outcome in self.outcomes(images):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.result

    def outcomes(self, images: Iterable[Image]) -> Iterator[Outcome]:
        """Like `stream`, with the image of each result, and errors instead of exceptions."""
        cores = count_cores()
        on_cpu = self.device.type == "cpu"
        threads = {"readers": min(cores, 2 if on_cpu else 16), "decoders": min(cores, 8)}
        return Pipeline(self, self.batch_size, **threads).run_on(images)

    def maps(self, image: Image) -> tuple[Maps, Affine]:
        """Return the raw maps of one image, and the map from its pixels to the network's input.

        Each map is (1, C, h, w) float32. For tasks that merge maps, all passes are merged; for
        others, these are the maps of the pass that is not mirrored, at the scale nearest to 1.
        Raises UserError if the image cannot be read.
        """
        outcome = self.prepare(image)
        if outcome.error is not None:
            raise outcome.error
        base = self.scales[self._base]
        passes = self._merged([self._stacked([array]) for array in outcome.inputs])
        maps = next(one.maps for one in passes if one.scale == base and not one.mirrored)
        return maps, outcome.affines[self._base]

    # ---------------------------------------------- the stages of a pipeline

    def prepare(self, image: Image) -> Outcome:
        """Read one image and fit it to the network's input at every scale."""
        outcome = Outcome(image)
        try:
            outcome.image = read_image(image)
        except UserError as error:
            outcome.error = error
            return outcome
        for scale in self.scales:
            array, affine = self.fitting.fit(outcome.image, scale)
            outcome.inputs.append(array)
            outcome.affines.append(affine)
        return outcome

    def shape(self, outcome: Outcome) -> tuple[Any, ...] | None:
        """The shapes of the inputs of an image, None if it could not be read."""
        if outcome.error is not None:
            return None
        return tuple(array.shape for array in outcome.inputs)

    def run(self, batch: Sequence[Outcome]) -> HostPasses:
        """Run the network on images whose inputs have the same shapes.

        A batch that does not fit into the memory of the GPU is halved, and so are the next ones.
        Raises UserError if a single image does not fit.
        """
        size = min(self._part_size, len(batch))
        while True:
            try:
                parts = [batch[k : k + size] for k in range(0, len(batch), size)]
                return tta.joined([self._run_part(part) for part in parts])
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise UserError(
                        f"{self.device} has too little memory for one image at {self.size[0]} × "
                        f"{self.size[1]}; use a smaller size, or the device cpu"
                    ) from error
                self._part_size = size = -(-size // 2)
                print_note(f"{self.device} is out of memory; going on with batches of {size}")
                torch.cuda.empty_cache()

    def decode(self, part: Sequence[Outcome], computed: HostPasses, first: int = 0) -> None:
        """Fill in the results of some images of a batch, of which `first` is the first."""
        found = []
        for one in computed.passes(first, len(part)):
            placements = self._placements(part, one)
            found.append(self.task.decode(one.maps, self.stride, placements))
        for outcome, results in zip(part, zip(*found), strict=True):
            self._finish(outcome, results)

    # ---------------------------------------------- passes, merge, outcome

    def _run_part(self, batch: Sequence[Outcome]) -> HostPasses:
        inputs = [self._stacked(arrays) for arrays in zip(*(outcome.inputs for outcome in batch))]
        return tta.to_host(list(self._merged(inputs)))

    def _stacked(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Copy inputs (H, W, 3) uint8 to the device as one tensor (B, H, W, 3)."""
        if len(arrays) == 1:
            return torch.from_numpy(arrays[0])[None].to(self.device)
        pinned = self.device.type == "cuda"
        stacked = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, pin_memory=pinned)
        np.stack(arrays, out=stacked.numpy())
        return stacked.to(self.device, non_blocking=True)

    @torch.inference_mode()
    def _passes(self, inputs: list[Tensor]) -> Iterator[Pass]:
        """Yield every pass over a batch; inputs: (B, H, W, 3) uint8 of each scale."""
        for scale, images in zip(self.scales, inputs, strict=True):
            # (B, H, W, 3) read as (B, 3, H, W) is what channels_last means: no copy.
            images = images.permute(0, 3, 1, 2)
            yield Pass(self.fitting.run(self._forward, images), scale)
            if self.flip:
                mirrored = self.fitting.run(self._forward, tta.mirror(images))
                yield Pass(mirrored, scale, mirrored=True)

    @torch.inference_mode()
    def _merged(self, inputs: list[Tensor]) -> Iterator[Pass]:
        """Yield the passes to decode: all of them, or one that joins them."""
        passes = self._passes(inputs)
        if self.task.merges == "results":
            yield from passes
            return
        heads, (height, width) = self.task.heads(), inputs[self._base].shape[1:3]
        upright = [one.upright(heads, self.task.flip) for one in passes]
        joined = self.fitting.join(upright, self.task, (width, height))
        yield Pass(joined, self.scales[self._base])

    def _forward(self, images: Tensor) -> Maps:
        """Return the network's maps of images (B, 3, H, W) uint8."""
        half = _PRECISIONS[self.precision]
        with torch.autocast(self.device.type, dtype=half) if half else nullcontext():
            return self.model(images.float().div_(255))

    def _placements(self, batch: Sequence[Outcome], one: Pass) -> list[Placement]:
        """Return the placement of each image of a batch in the input of a pass."""
        number = self.scales.index(one.scale)
        placements = []
        for outcome in batch:
            affine, (height, width) = outcome.affines[number], outcome.image.shape[:2]
            if one.mirrored:
                side = outcome.inputs[number].shape[1]
                # Maps cover a multiple of `multiple`, which the input may not.
                affine = Affine.mirror(side + -side % self.model.multiple) @ affine
            placements.append(Placement(affine, (width, height)))
        return placements

    def _finish(self, outcome: Outcome, results: Sequence[Result]) -> None:
        """Fill in the result of an image from the results of its passes."""
        single = len(results) == 1 and not self.fitting.fuses_one_pass
        result = results[0] if single else self.task.merge_results(results)
        outcome.result = replace(
            result.above(self.threshold),
            model=self.name,
            file=str(outcome.source) if outcome.is_file else None,
            # A file can be read again; results that keep their images would fill the memory.
            image=None if outcome.is_file else outcome.image,
        )
        outcome.inputs.clear()


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


def choose_fitting(
    model: Network, size: tuple[int, int] | None, scales: tuple[float, ...]
) -> Fitting:
    """Return the fitting that a model file names, or the default of its task.

    size: requested (width, height), None for the model's own. Raises UserError for an unknown name.
    """
    name = model.spec.decoder.get("fitting")
    if name is None:
        fitting = FitInside if model.task.zoom is None else Tiled
    elif name in FITTINGS:
        fitting = FITTINGS[name]
    else:
        raise unknown_name("fitting", str(name), FITTINGS)
    return fitting.for_model(model, size, scales)
