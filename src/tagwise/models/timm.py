"""Convolutional backbones of timm with the feature pyramid; needs the extra "timm"."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import ModuleType

from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.network import Network
from tagwise.models.pyramid import pyramid_network
from tagwise.tasks.base import Head

STRIDES = (4, 8, 16, 32)


class TimmBackbone(nn.Module):
    """The backbone: images (B, 3, H, W) to features "c4", "c8", "c16", "c32"."""

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        timm = import_timm()
        # With "hf-hub:" and "local-dir:", a model file could fetch and unpickle any file.
        if not re.fullmatch(r"[\w.]+", name) or not timm.is_model(name.split(".")[0]):
            near = ", ".join(get_close_matches(name, timm.list_models()))
            raise UserError(f"timm has no model {name!r}; similar names: {near or 'none'}")
        self.body = _create(timm, name, pretrained)
        info = self.body.feature_info
        found = dict(zip(info.reduction(), info.channels(), strict=True))
        if not set(STRIDES) <= set(found):
            raise UserError(
                f"timm/{name} has features at strides {sorted(found)}; the pyramid needs 4, 8, 16 "
                "and 32: choose a convolutional backbone"
            )
        self.strides = list(info.reduction())
        self.channels = {f"c{stride}": found[stride] for stride in STRIDES}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised, to features by name, (B, C, H / stride, W / stride)."""
        features = zip(self.strides, self.body(x), strict=True)
        return {f"c{stride}": feature for stride, feature in features if stride in STRIDES}


def timm_network(
    name: str, heads: dict[str, Head], *, pretrained: str | None = None, **options: object
) -> Network:
    """A backbone of timm with a pyramid; options as in `pyramid_network`.

    pretrained: "imagenet" loads timm's own weights, from its cache or the internet.
    Raises UserError if timm cannot be imported, has no such model, or cannot load the weights.
    """
    if pretrained not in (None, "imagenet"):
        raise UserError(f"pretrained={pretrained!r} is neither 'imagenet' nor a tagwise model")
    backbone = TimmBackbone(name, pretrained == "imagenet")
    config = backbone.body.pretrained_cfg
    return pyramid_network(backbone, heads, mean=config["mean"], std=config["std"], **options)


def import_timm() -> ModuleType:
    """Import timm. Raises UserError that explains what is missing."""
    try:
        import timm
    except Exception as error:  # a torchvision of another build fails in many ways
        if isinstance(error, ModuleNotFoundError) and error.name == "timm":
            fix = "pip install 'tagwise[timm]'"
        else:
            fix = (
                "timm needs a torchvision of the same build as torch, so install both from one "
                "index, with the extra: pip install 'tagwise[timm]' torch torchvision"
            )
        raise UserError(f"timm backbones cannot be used ({error}); {fix}") from error
    return timm


def _create(timm: ModuleType, name: str, pretrained: bool) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True)
    except (RuntimeError, OSError, ValueError, AttributeError, AssertionError) as error:
        what = "its weights cannot be loaded" if pretrained else "it has no feature maps"
        raise UserError(f"timm/{name}: {what} ({' '.join(str(error).split())[:200]})") from error
