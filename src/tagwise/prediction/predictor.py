"""Run a trained model on images: read, fit, run, decode in the pixels of each image.

Everything here works on numpy arrays. The network runs in a runner, see `runners.py`: on tensors,
or on arrays where torch is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.evaluation.calibration import Calibration
from tagwise.models.onnx_model import OnnxModel
from tagwise.prediction import options
from tagwise.prediction.fitting import FitInside, Fitting, Tiled
from tagwise.prediction.lost_devices import lost_devices
from tagwise.prediction.options import OlderNames, Precision, Runtime
from tagwise.prediction.outcome import Outcome
from tagwise.prediction.pipeline import Pipeline, thread_counts
from tagwise.prediction.protocols import Protocol, PublishedTest, default_protocol, published_test
from tagwise.prediction.published_fittings import FITTINGS
from tagwise.prediction.runners import ArrayRunner, Runner, TensorRunner, open_model
from tagwise.prediction.runtimes import choose_precision, open_forward
from tagwise.prediction.sources import Image
from tagwise.prediction.tta import HostPasses, Maps, Pass
from tagwise.results import Result
from tagwise.tasks.base import Placement

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tagwise.models.network import Network

DEFAULT_THRESHOLD = 0.25
"""Least score of an instance, for model files that do not state one."""


class Predictor:
    """A trained model, ready for images.

    weights: name of a model that ships with tagwise, or of a public one (see `list_models`), a
        .safetensors or .onnx file, a published checkpoint, the .xml of an OpenVINO file, or a model
        itself (used as it is, in evaluation mode).
    device: "cpu", "cuda", "cuda:1", "mps"; "auto" uses a GPU if there is one.
    conf: instances with a lower score are left out. Scores are those after the calibration that
        the model file has: of instances with a score of .5, half are right (OKS or IoU of .5 or
        more) on photos like those of its validation. By default the model's own threshold, which
        suits pictures; 0 keeps every instance, which average precision needs. The attribute
        `threshold` holds it.
    classes: keep instances of these classes only: one or several names or indices from 0. By
        default all.
    max_instances: keep the best instances of an image, at most this number.
    imgsz: pixels of the network's input, as the longest side or as (width, height); images are
        fitted in with their aspect ratio. By default the model's own. For models that run over
        images in tiles, it is the size of the tiles. The attribute `size` holds it.
    half: run the network in half precision, in the one of `precision` or the fastest.
    flip, scales: test-time augmentation, see `tta.py`; scales are relative to `size`, or to
        that of the image for models that run in tiles.
    protocol: for public models and published checkpoints: "published" tests as their authors do,
        with their flip, scales and decoder; "fast" uses the decoder of tagwise. By default "fast"
        for a public model, and for a checkpoint its decoder with `flip` and `scales` as given.
    batch_size: images per forward pass; by default 1 on a CPU, else 32. Images of different shapes
        are not padded to a common one, so only images of the same shape share a batch.
    precision: "fp32", or "bf16" or "fp16" to run the network in half precision; "auto" is bf16 on
        a CPU with bf16 instructions, nearly twice as fast and as accurate, the half precision of
        a CUDA GPU, and otherwise fp32.
    runtime: "torch", or "openvino" to run the network with OpenVINO, on a CPU; "auto" is OpenVINO
        if it is installed (the extra openvino), for a model file whose network runs faster there.
        The first time, it takes some seconds to convert the network, which then is in the cache.
        OpenVINO runs .onnx files too; without it, or with "torch", onnxruntime does.

    The older names `threshold` for `conf` and `size` for `imgsz` still work. Raises UserError for
    values that do not work, and for other names of arguments.

    >>> poses = Predictor("people")("photo.jpg")  # doctest: +SKIP
    >>> poses.plot().save("poses.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        weights: str | Path | nn.Module = "people",
        *,
        conf: float | None = None,
        classes: str | int | Sequence[str | int] = (),
        max_instances: int | None = None,
        imgsz: int | tuple[int, int] | None = None,
        device: str | torch.device = "auto",
        half: bool = False,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        protocol: Protocol | None = None,
        batch_size: int | None = None,
        precision: Precision = "auto",
        runtime: Runtime = "auto",
        **older: Unpack[OlderNames],
    ) -> None:
        named = options.with_older_names({**locals()}, older)
        size, threshold = named["imgsz"], named["conf"]
        if conf is not None:
            options.check_threshold(conf, "conf")
        options.check(
            size=size,
            flip=flip,
            scales=scales,
            threshold=threshold,
            batch_size=batch_size,
            precision=precision,
            runtime=runtime,
        )
        self.max_instances = options.check_max_instances(max_instances)
        self.flip, self.scales = bool(flip), tuple(map(float, scales))
        one_pass = not flip and self.scales == (1.0,) and protocol is None
        self.model, self.device, self.name = open_model(weights, device, one_pass, runtime)
        self.task, spec = self.model.task, self.model.spec
        self.classes = options.class_names(classes, self.task.class_names)
        given = options.input_size(size, spec.input_size)
        self.size = given or spec.input_size
        self.protocol = protocol or default_protocol(weights, measured=False)
        self._follow(published_test(self.protocol, weights, spec, self.name))
        self.fitting = choose_fitting(self.model, given, self.scales)
        self._base = self.fitting.base
        default = spec.decoder.get("threshold", DEFAULT_THRESHOLD)
        self.threshold = options.check_threshold(default if threshold is None else threshold)
        self.batch_size = batch_size or (1 if self._on_cpu else 32)
        exact = self.fitting.needs_fp32
        precision = options.precision_of(precision, half, self.device)
        self.precision = choose_precision(self.model, precision, self.device, exact)
        self._open(weights, runtime)

    def _open(self, weights: str | Path | nn.Module, runtime: Runtime) -> None:
        """Read the calibration of the model, and create the runner of its network."""
        self.calibration = Calibration.from_decoder(self.model.spec.decoder)
        common = (self.model, self.task, self.fitting, self.scales, self.flip)
        sizes = (self.size, self.batch_size)
        if isinstance(self.model, OnnxModel):
            self.model.use(self.precision)
            self.runner: Runner = ArrayRunner(*common, *sizes, self.model.parallel)
            self.runtime = self.model.runtime
        else:
            is_file = isinstance(weights, str | os.PathLike)
            exact = self.fitting.needs_fp32 and self.precision == "fp32"
            forward = open_forward(self.model, self.device, self.precision, runtime, is_file, exact)
            how = (forward.parallel, forward, self.device)
            self.runner = TensorRunner(*common, *sizes, *how)
            self.runtime = forward.runtime

    def _follow(self, test: PublishedTest | None) -> None:
        """Set what the protocol determines; test: of the published protocol."""
        if self.protocol == "fast":
            self.task = self.task.with_own_decoder()
        if test is not None:
            self.flip = self.flip or test.flip
            self.scales = test.scales if self.scales == (1.0,) else self.scales

    @property
    def _on_cpu(self) -> bool:
        return str(self.device) == "cpu"

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
            **({"classes": list(self.classes)} if self.classes else {}),
            **({"max_instances": self.max_instances} if self.max_instances else {}),
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

        Images are read, run through the network and decoded at the same time, in threads. On a CPU,
        a small network of a file runs on several images at the same time, one per core.
        Raises UserError at the first image that cannot be read.
        """
        for outcome in self.outcomes(images):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.result

    def outcomes(self, images: Iterable[Image]) -> Iterator[Outcome]:
        """Like `stream`, with the image of each result, and errors instead of exceptions."""
        threads = thread_counts(self._on_cpu, self.runner.most_networks)
        return Pipeline(self, self.batch_size, **threads).run_on(images)

    @lost_devices()
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
        passes = self.runner.raw_maps([[array] for array in outcome.inputs])
        maps = next(one.maps for one in passes if one.scale == base and not one.mirrored)
        return maps, outcome.affines[self._base]

    def calibrated(self, result: Result) -> Result:
        """Replace decoded scores by those of the model's calibration, if it has one.

        `result` must be decoded by `task`; results of this class are calibrated already.
        """
        return replace(result, scores=self._calibrated_scores(result))

    def _calibrated_scores(self, result: Result) -> np.ndarray:
        return result.scores if self.calibration is None else self.calibration(result.scores)

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

    def fetches(self, image: Image) -> bool:
        """Whether an image is fetched from a server, see `RemoteImage`."""
        return getattr(image, "remote", False)

    def shape(self, outcome: Outcome) -> tuple[Any, ...] | None:
        """The shapes of the inputs of an image, None if it could not be read."""
        if outcome.error is not None:
            return None
        return tuple(array.shape for array in outcome.inputs)

    def nbytes(self, outcome: Outcome) -> int:
        """The bytes that an image and its inputs take in memory."""
        return sum(array.nbytes for array in (outcome.image, *outcome.inputs) if array is not None)

    @lost_devices()
    def run(self, batch: Sequence[Outcome]) -> HostPasses:
        """Run the network on images whose inputs have the same shapes, see `runners`.

        Raises DeviceError if the GPU stops working.
        """
        return self.runner.run(list(zip(*(outcome.inputs for outcome in batch))))

    @lost_devices()
    def decode(self, part: Sequence[Outcome], computed: HostPasses, first: int = 0) -> None:
        """Fill in the results of some images of a batch, of which `first` is the first."""
        found = []
        for one in computed.passes(first, len(part)):
            placements = self._placements(part, one)
            found.append(self.task.decode(one.maps, self.stride, placements))
        for outcome, results in zip(part, zip(*found), strict=True):
            self._finish(outcome, results)

    # ---------------------------------------------- placements, outcome

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
        named = replace(
            result,
            scores=self._calibrated_scores(result),
            model=self.name,
            file=str(outcome.source) if outcome.is_file else None,
            # A file can be read again; results that keep their images would fill the memory.
            image=None if outcome.is_file else outcome.image,
        )
        outcome.result = self._selected(named)
        outcome.inputs.clear()

    def _selected(self, result: Result) -> Result:
        """The instances that `conf`, `classes` and `max_instances` leave."""
        result = result.above(self.threshold)
        if self.classes is not None:
            result = result[np.isin(result.category_names, self.classes)]
        return result if self.max_instances is None else result[: self.max_instances]


def choose_fitting(
    model: Network | OnnxModel, size: tuple[int, int] | None, scales: tuple[float, ...]
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
