"""The registry of networks, and their creation without initial weights of model files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from tagwise.errors import UserError, brief, unknown_name
from tagwise.models.checks import BUILD_ERRORS
from tagwise.models.deconvolved import mobilenetv2, resnet
from tagwise.models.efficientnet import efficientnet_lite
from tagwise.models.mobilenet import movenet
from tagwise.models.network import Network
from tagwise.models.pyramid import pyramid_network
from tagwise.models.small import small
from tagwise.models.spec import ModelSpec
from tagwise.models.staged import cornernet, higherhrnet, hourglass, hrnet
from tagwise.models.timm import timm_network
from tagwise.tasks import Head, Task

MODELS: dict[str, Callable[..., Network]] = {
    "efficientnet_lite0": partial(efficientnet_lite, 0),
    "efficientnet_lite1": partial(efficientnet_lite, 1),
    "efficientnet_lite2": partial(efficientnet_lite, 2),
    "movenet": movenet,
    "small": small,
    "hrnet_w32": partial(hrnet, 32),
    "hrnet_w48": partial(hrnet, 48),
    "higherhrnet_w32": partial(higherhrnet, 32),
    "higherhrnet_w48": partial(higherhrnet, 48),
    "hourglass": partial(hourglass, False),
    "hourglass_ae": partial(hourglass, True),
    "resnet50": partial(resnet, 50),
    "resnet101": partial(resnet, 101),
    "resnet152": partial(resnet, 152),
    "mobilenetv2": mobilenetv2,
    "cornernet": partial(cornernet, False),
    "cornernet_squeeze": partial(cornernet, True),
}
"""Builders by name: (heads: dict[str, Head], *, pretrained=None, **options) -> Network."""


def new_model(
    name: str,
    task: Task,
    pretrained: str | None = None,
    input_size: tuple[int, int] = (512, 512),
    **options: Any,
) -> Network:
    """Create a network with the maps of a task.

    pretrained: as the network's builder takes it. `create_model` takes model files too, and
        explains the other arguments.
    """
    model = build_network(name, task.heads(), pretrained, options)
    model.task = task
    model.spec = ModelSpec(
        name=name,
        options=options,
        task=task.name,
        task_options=task.to_dict(),
        input_size=tuple(input_size),
        info={} if pretrained is None else {"pretrained": Path(pretrained).name},
    )
    return model


class SkipInit(TorchFunctionMode):
    """Skips the initialisation of weights that will be replaced by those of a file.

    On the "meta" device, initialisation would import torch's compiler, which takes a second.

    most: number of initialisations after which ValueError is raised; None for no limit. A damaged
        header can specify a million layers, which take minutes to build.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most, self._skipped = most, 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        drawing = getattr(function, "__module__", None) == "torch.nn.init"
        if drawing or function in (Tensor.normal_, Tensor.uniform_):
            self._skipped += 1
            if self._most is not None and self._skipped > self._most:
                raise ValueError("it specifies far more layers than the file contains")
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def build_network(
    name: str, heads: dict[str, Head], pretrained: str | None, options: dict[str, Any]
) -> Network:
    """The network of a registry name. Raises UserError for unknown names and options."""
    if name.startswith("timm/"):
        builder: Callable[..., Network] = partial(timm_network, name.removeprefix("timm/"))
    elif name in MODELS:
        builder = MODELS[name]
    else:
        raise unknown_name("model", name, [*MODELS, "timm/NAME"])
    known = option_names(builder)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
    try:
        return builder(heads, pretrained=pretrained, **options)
    except BUILD_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the network {name} cannot be built with the options {brief(options, 200)}: {reason}"
        ) from error


def option_names(builder: Callable[..., Network]) -> set[str]:
    """Keyword options of a builder, including those of the pyramid if it passes them on."""
    parameters = inspect.signature(builder).parameters.values()
    names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        passed = inspect.signature(pyramid_network).parameters.values()
        names |= {p.name for p in passed if p.kind is p.KEYWORD_ONLY} - {"mean", "std"}
    return names - {"pretrained"}
