"""torchvision's Faster R-CNN as a network and a task of tagwise, for `faster_rcnn.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tagwise.data import CocoBoxes, Sample
from tagwise.evaluation.scoring import BoxScorer
from tagwise.geometry import to_xywh, to_xyxy
from tagwise.models.efficientnet import MEAN, STD, EfficientNetLite, load_imagenet
from tagwise.models.network import Network
from tagwise.results import Boxes
from tagwise.tasks import Head, Task

STRIDES = (4, 8, 16, 32)
FEATURES = tuple(f"c{stride}" for stride in STRIDES)


class PyramidOfTorchvision(nn.Module):
    """The backbone of tagwise with torchvision's FeaturePyramidNetwork.

    Maps images (B, 3, H, W) to features by name.
    """

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__()
        self.backbone, self.out_channels = backbone, channels
        self.pyramid = FeaturePyramidNetwork([backbone.channels[f] for f in FEATURES], channels)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.backbone(x)
        return self.pyramid({name: features[name] for name in FEATURES})


class FasterRCNN(Network):
    """torchvision's Faster R-CNN as a `Network`, so that tagwise can train it and predict with it.

    Settings are those of torchvision with two exceptions. Its fifth level, with stride 64 and boxes
    of 512 pixels, is left out, because inputs are not larger. To halve the time of training on a
    CPU, the first stage gives 1,000 proposals instead of 2,000, and the second learns from 128 of
    them per image instead of 512 (Fast R-CNN used 128 from two images: Girshick 2015, section 2.3).
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
        # Its third part resizes and normalises images, which tagwise does itself.
        self.rpn, self.roi_heads = whole.rpn, whole.roi_heads
        # Box arithmetic needs float32, also where the layers before it run in half precision.
        self.rpn.head.register_forward_hook(_float32)
        self.roi_heads.box_predictor.register_forward_hook(_float32)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Features of RGB images (B, 3, H, W) in [0, 1], and what `detect` needs.

        `detect` is separate because it needs the true boxes in training, which the task has.
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
        """Proposals and their classification, from the outputs of `forward`.

        Returns a list and a dict. In evaluation, the list has for each image "boxes" (N, 4) x1, y1,
        x2, y2 in pixels, "scores" (N,) and "labels" (N,) from 1, best first. In training, the dict
        has the loss terms by name.
        """
        from torchvision.models.detection.image_list import ImageList

        features = outputs["features"]
        batch, _, height, width = features["c4"].shape
        size = (height * self.stride, width * self.stride)
        # Only the size of the images is used.
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
    """A builder for the registry of networks; channels: of the pyramid."""
    backbone = EfficientNetLite(variant)
    if pretrained == "imagenet":
        load_imagenet(backbone, variant)
    return FasterRCNN(backbone, heads["classes"].channels, channels)


@dataclass(frozen=True)
class FasterRCNNTask(Task):
    """Boxes from proposals, as a task of tagwise. Regions to ignore count as background."""

    classes: tuple[str, ...]

    name: ClassVar[str] = "faster_rcnn"
    result: ClassVar[type[Boxes]] = Boxes
    # The data and the figures are the same as for paired corners.
    dataset: ClassVar[type[CocoBoxes]] = CocoBoxes
    scorer: ClassVar[type[BoxScorer]] = BoxScorer
    merges: ClassVar[str] = "results"

    def labels(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def make_scorer(self, dataset: CocoBoxes, **options: Any) -> BoxScorer:
        return BoxScorer(dataset, self.classes, **options)

    def heads(self) -> dict[str, Head]:
        return {"classes": Head(len(self.classes), "heatmap")}

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Boxes (N, 4) x1, y1, x2, y2 and labels (N,) from 1, of boxes of at least one pixel."""
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
