"""The registry of networks, and model files: create, save, load.

A model file is safetensors; its header's entry "tagwise" holds the `ModelSpec` as JSON. Nothing in
it is ever executed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tagwise.errors import UserError, unknown_name
from tagwise.files import whole_file
from tagwise.models.efficientnet import efficientnet_lite
from tagwise.models.mobilenet import movenet
from tagwise.models.network import ModelSpec, Network
from tagwise.models.small import small
from tagwise.models.staged import cornernet, higherhrnet, hourglass, hrnet
from tagwise.tasks.base import Head, Task

if TYPE_CHECKING:
    from tagwise.models.exported import OnnxNetwork

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
    "hourglass": hourglass,
    "cornernet": partial(cornernet, False),
    "cornernet_squeeze": partial(cornernet, True),
}
"""Builders by name: (heads: dict[str, Head], *, pretrained=None, **options) -> Network."""

_MISFITS = (
    UserError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What building a network from a stranger's header may raise."""

HEADER = "tagwise"
FORMAT = 1


def create_model(
    name: str,
    task: Task,
    pretrained: str | None = None,
    input_size: tuple[int, int] = (512, 512),
    **options: Any,
) -> Network:
    """A network with the maps that a task asks for.

    name: an entry of `MODELS`, or "timm/NAME" for a backbone of timm.
    pretrained: "imagenet", or a file that the network knows how to read, or a tagwise model (a
    path or a shipped name) of which every tensor that fits is taken: all but the heads must.
    input_size: (width, height) in pixels, kept in the model file for prediction.
    options: of the network, see its builder.
    Raises UserError for unknown names and options and for weights that do not fit.

    >>> model = create_model("efficientnet_lite0", PoseTask(COCO17))  # doctest: +SKIP
    >>> model(torch.rand(1, 3, 512, 512))["heatmaps"].shape  # doctest: +SKIP
    torch.Size([1, 17, 128, 128])
    """
    own = pretrained is not None and _is_model_file(pretrained)
    model = _build(name, task.heads(), None if own else pretrained, options)
    info = {} if pretrained is None else {"pretrained": Path(pretrained).name}
    if own:
        _take_fitting(model, pretrained)
    model.task = task
    model.spec = ModelSpec(
        name=name,
        options=options,
        task=task.name,
        task_options=task.options(),
        input_size=tuple(input_size),
        info=info,
    )
    return model


def save_model(model: Network, path: str | Path, half: bool = True) -> None:
    """Writes a network and its `spec` to a safetensors file, whole or not at all.

    half: store weights as float16, half the size; those that it cannot hold stay float32, and so
    do buffers (normalisation, statistics), which are small.
    Raises UserError where the file cannot be written.
    """
    if model.fused:
        raise ValueError("a fused network cannot be saved: load it again without fuse")
    weights = dict(model.named_parameters()) if half else {}
    state = {name: _stored(value, name in weights) for name, value in model.state_dict().items()}
    with whole_file(Path(path), durable=True) as file:
        file.write(save(state, metadata={HEADER: header_of(model.spec)}))


def header_of(spec: ModelSpec, **more: Any) -> str:
    """A spec as the JSON that a model file carries, which `parse_spec` reads; more: other keys."""
    return json.dumps({"format": FORMAT, **asdict(spec), **more}, allow_nan=False)


def load_model(
    name: str | Path, device: str | torch.device = "cpu", fuse: bool = False
) -> Network | OnnxNetwork:
    """A network from a model file, or one that ships with the package by its name.

    name: a path may also be that of a published checkpoint, see `tagwise.models.published`, or of
        an ONNX file, which onnxruntime runs, see `tagwise.models.exported`.
    fuse: fold batch norms into the convolutions, for inference only. Weights are float32 on the
    device; the network is in evaluation mode and has `.spec` and `.task`.
    Raises UserError for an unknown name, an unreadable file, and a file of another program.
    """
    path = find_weights(name)
    if path.suffix == ".onnx":
        from tagwise.models.exported import read_onnx

        return read_onnx(path, device)
    return network_of(*_read(path), path, device, fuse)


def network_of(
    spec: ModelSpec,
    state: dict[str, Tensor],
    path: Path,
    device: str | torch.device = "cpu",
    fuse: bool = False,
) -> Network:
    """The network that a model file describes; path: of the file, for errors."""
    from tagwise.tasks import create_task

    try:
        task = create_task(spec.task, **spec.task_options)
        # On "meta" nothing is allocated before the shapes are known to agree with the file's.
        with torch.device("cpu" if spec.name.startswith("timm/") else "meta"), NoFirstValues():
            model = _build(spec.name, task.heads(), None, spec.options)
        model.load_state_dict(state, assign=True)
    except _MISFITS as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not describe a network that fits it: {reason}") from error
    model.spec, model.task = spec, task
    model = model.to(device=device, memory_format=torch.channels_last).eval()
    return model.fuse() if fuse else model


def shipped_models() -> list[str]:
    """Names of the models that ship with the package."""
    folder = resources.files("tagwise") / "weights"
    if not folder.is_dir():
        return []
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".safetensors")
    )


def find_weights(name: str | Path) -> Path:
    """The file of a shipped model by name, or the path as given. Raises UserError if neither."""
    path = Path(name)
    if str(name) in shipped_models():
        return Path(str(resources.files("tagwise") / "weights" / f"{name}.safetensors"))
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        what = "is a folder, not a model file" if path.is_dir() else "does not exist"
        raise UserError(f"weights file {path} {what}; shipped: {', '.join(shipped_models())}")
    raise unknown_name("weights", str(name), shipped_models())


def _read(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    if path.suffix == ".safetensors":
        return read_model_file(path)
    from tagwise.models.published import read_published

    return read_published(path)


def read_model_file(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """What a model file says and holds, floats as float32. Raises UserError if it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is no readable safetensors file ({error}); it may be cut short: get it again"
        ) from error
    if header is None:
        raise UserError(
            f"{path} was not saved by tagwise: its header has no {HEADER!r} entry; "
            "`tagwise convert` reads the files of some other programs"
        )
    floats = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }
    return parse_spec(header, path), floats


class NoFirstValues(TorchFunctionMode):
    """Leaves out the drawing of first weights, which a file is about to replace.

    On "meta" it would import torch's compiler, a second of every start.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        drawing = getattr(function, "__module__", None) == "torch.nn.init"
        if drawing or function in (Tensor.normal_, Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def _build(
    name: str, heads: dict[str, Head], pretrained: str | None, options: dict[str, Any]
) -> Network:
    """The network of a registry name. Raises UserError for unknown names and options."""
    if name.startswith("timm/"):
        from tagwise.models.timm import timm_network

        builder: Callable[..., Network] = partial(timm_network, name.removeprefix("timm/"))
    elif name in MODELS:
        builder = MODELS[name]
    else:
        raise unknown_name("model", name, [*MODELS, "timm/NAME"])
    known = option_names(builder)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, known)
    return builder(heads, pretrained=pretrained, **options)


def option_names(builder: Callable[..., Network]) -> set[str]:
    """Keyword options of a builder, those of the pyramid with it where it passes them on."""
    from tagwise.models.pyramid import pyramid_network

    parameters = inspect.signature(builder).parameters.values()
    names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        passed = inspect.signature(pyramid_network).parameters.values()
        names |= {p.name for p in passed if p.kind is p.KEYWORD_ONLY} - {"mean", "std"}
    return names - {"pretrained"}


def _is_model_file(source: str) -> bool:
    return str(source).endswith(".safetensors") or source in shipped_models()


def _take_fitting(model: Network, source: str) -> None:
    """Tensors of a model file of the same name and shape; what belongs to heads may differ."""
    path = find_weights(source)
    _, state = read_model_file(path)
    own = model.state_dict()
    fits = {
        key: value for key, value in state.items() if key in own and value.shape == own[key].shape
    }
    of_heads = model.head_prefixes
    missing = [key for key in own if key not in fits and not key.startswith(of_heads)]
    if missing:
        raise UserError(
            f"{path} holds another network: {len(missing)} tensors do not fit, {missing[0]} first"
        )
    model.load_state_dict(fits, strict=False)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """A tensor as it goes into the file: contiguous, on the CPU, float16 where that can hold it."""
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.dtype == torch.float32:
        small = tensor.half()
        if torch.isfinite(small).all():
            return small
    return tensor


def parse_spec(header: str, path: Path) -> ModelSpec:
    """The header's JSON as a spec, every field of the type that it must have."""
    try:
        values = json.loads(header)
        if values.pop("format") != FORMAT:
            raise UserError(f"{path} is of another version of tagwise; update tagwise to read it")
        values["input_size"] = width, height = tuple(values["input_size"])
        spec = ModelSpec(**{entry.name: values[entry.name] for entry in fields(ModelSpec)})
        sizes = all(isinstance(side, int) and 0 < side <= 16384 for side in (width, height))
        names = isinstance(spec.name, str) and isinstance(spec.task, str)
        plain = (spec.options, spec.task_options, spec.decoder, spec.info)
        if not (sizes and names and all(isinstance(value, dict) for value in plain)):
            raise ValueError("a field is of the wrong type")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has a damaged tagwise header ({error}); get it again") from error
    return spec
