"""The base of all networks in the registry: normalisation, a trunk, a branch for each head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, unknown_name
from tagwise.models.corner_pool import CornerPooling
from tagwise.models.heads import Features, finish_tags
from tagwise.models.layers import ConvNorm
from tagwise.models.spec import ModelSpec
from tagwise.tasks.base import Head, Task


class Network(nn.Module):
    """A network from images to the maps of a task.

    trunk: (B, 3, H, W) normalised images to features by name (`tagwise.models.heads.Features`).
    branches: for each head of the task, features to (B, channels, H / stride, W / stride).
    corners: the corner pooling modules, by the name of their output feature; their input is the
        finest feature of the pyramid.
    mean, std: normalisation of the input in [0, 1], 3 values each.
    tag_scale: factor of the prediction if a head adds the position to its tags.

    Some networks predict in several stages. In training, they return a list of dicts, one per
    stage. `strides` has the stride of each stage; here, there is only one.
    """

    spec: ModelSpec
    task: Task

    def __init__(
        self,
        trunk: nn.Module,
        branches: dict[str, nn.Module],
        heads: dict[str, Head],
        *,
        corners: Mapping[str, CornerPooling] | None = None,
        mean: Sequence[float],
        std: Sequence[float],
        tag_scale: float = 2.0,
        stride: int = 4,
        multiple: int = 32,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.corners = nn.ModuleDict(corners or {})
        self.heads = nn.ModuleDict(branches)
        self.outputs = heads
        self.tag_scale, self.stride, self.multiple = tag_scale, stride, multiple
        self.strides: tuple[int, ...] = (stride,)
        self.head_prefixes: tuple[str, ...] = ("heads.", "corners.")
        for name, values in (
            ("mean", mean),
            ("std", std),
        ):  # these have values even in a network on the "meta" device
            each = torch.tensor(values, dtype=torch.float32, device="cpu")
            self.register_buffer(name, each.view(3, 1, 1))
        self.fused = self.turned = False
        self._frozen: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to maps by head name.

        H and W must be multiples of `multiple`. Maps are (B, channels, H / stride, W / stride),
        float32 even under autocast: heatmaps as logits, tags with their position added, offsets
        in cells.
        """
        images = self.normalised(images)
        if self.turned:
            images = images.flip(-2, -1)
        features = self.trunk(images.contiguous(memory_format=torch.channels_last))
        for name, pooling in self.corners.items():
            features[name] = pooling(features[f"p{self.stride}"])
        return {name: self._output(name, features) for name in self.outputs}

    def normalised(self, images: Tensor) -> Tensor:
        """Normalise images in [0, 1] for the trunk. Raises ValueError for unsupported sides."""
        height, width = images.shape[-2:]
        if not (self.takes(height) and self.takes(width)):
            raise ValueError(
                f"image sides must be multiples of {self.multiple}, not {width} × {height}"
            )
        return ((images.float() - self.mean) / self.std).to(self.mean.dtype)

    def takes(self, side: int) -> bool:
        """Whether the side of an image may have this number of pixels."""
        return side > 0 and side % self.multiple == 0

    def _output(self, name: str, features: Features) -> Tensor:
        head, prediction = self.outputs[name], self.heads[name](features)
        if self.turned:
            prediction = prediction.flip(-2, -1)
        if head.kind == "tag":
            prediction = finish_tags(prediction, head, self.tag_scale, self.stride)
        return prediction.float().contiguous()

    def freeze(self, prefixes: str | Iterable[str]) -> Network:
        """Freeze the named modules ("trunk", "trunk.backbone", "heads.heatmaps").

        Their parameters get no gradient, and their batch norms stay in evaluation mode, even after
        `train()`. Each call replaces the previous one; an empty list unfreezes all modules. Returns
        the network. Raises UserError for a name that is not a module.
        """
        prefixes = (prefixes,) if isinstance(prefixes, str) else tuple(prefixes)
        modules = dict(self.named_modules())
        for prefix in prefixes:
            if prefix not in modules or prefix == "":
                known = [name for name in modules if name.count(".") <= 1 and name]
                raise unknown_name("module to freeze", prefix, known)
        self._frozen = prefixes
        self.requires_grad_(True)
        for prefix in prefixes:
            modules[prefix].requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        """As `nn.Module.train`, but frozen modules stay in evaluation mode."""
        super().train(mode)
        for prefix in self._frozen:
            self.get_submodule(prefix).eval()
        return self

    def fuse(self) -> Network:
        """Make inference faster, in place. The outputs stay the same up to rounding.

        Batch norms are folded into their convolutions, and the network works on images rotated by
        180° if that avoids copies (see `ConvNorm.fuse`). A fused network can neither be saved nor
        trained; load it again for that. Returns the network in evaluation mode.
        """
        if self.fused:
            return self.eval()
        ours = [module for module in self.modules() if isinstance(module, ConvNorm)]
        known = {id(module.conv) for module in ours}
        # Networks with other convolutions, such as timm backbones, have other padding and are not
        # rotated.
        self.turned = all(
            (id(module) in known) if module.kernel_size != (1, 1) else module.stride == (1, 1)
            for module in self.modules()
            if isinstance(module, nn.Conv2d)
        )
        for module in ours:
            module.fuse(self.turned)
        if self.turned:
            for pooling in self.corners.values():
                pooling.turn()
        self.fused = True
        return self.requires_grad_(False).eval()

    def hold_weights(self, dtype: torch.dtype) -> Network:
        """Convert the weights of convolutions, in place, for inference under autocast.

        Autocast converts them in every forward pass otherwise; the maps are the same to the bit.
        dtype: the type that autocast uses. Returns the network.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.to(dtype)
        return self


def parameter_groups(
    model: nn.Module,
    lr: float,
    backbone_lr_scale: float = 1.0,
    weight_decay: float = 0.01,
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the backbone has lr · backbone_lr_scale.

    Biases and norms (parameters of one dimension) have no weight decay; frozen parameters are left
    out. Raises UserError if every parameter is frozen.

    >>> torch.optim.AdamW(parameter_groups(model, 2e-3, 0.35))  # doctest: +SKIP
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = name.startswith("trunk.backbone."), parameter.ndim > 1
            groups.setdefault(key, []).append(parameter)
    if not groups:
        raise UserError("every parameter is frozen; unfreeze a part of the network to train it")
    return [
        {
            "params": parameters,
            "lr": lr * (backbone_lr_scale if backbone else 1.0),
            "weight_decay": weight_decay if decay else 0.0,
        }
        for (backbone, decay), parameters in groups.items()
    ]
