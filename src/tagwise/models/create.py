"""Creating networks, with initial weights from any source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tagwise.errors import UserError
from tagwise.models.checks import check_weights
from tagwise.models.find import find_weights
from tagwise.models.model_file import read_model_file
from tagwise.models.network import Network
from tagwise.models.shipped import shipped_models
from tagwise.models.spec import ModelSpec
from tagwise.models.zoo import new_model
from tagwise.published.registry import public_models
from tagwise.skeletons.names import name_key
from tagwise.tasks import Task, create_task


def create_model(
    name: str,
    task: Task,
    pretrained: str | None = None,
    input_size: tuple[int, int] = (512, 512),
    drop_head: bool = False,
    **options: Any,
) -> Network:
    """Create a network with the maps of a task.

    name: an entry of `MODELS`, or "timm/NAME" for a backbone of timm.
    pretrained: "imagenet", or a file in a format that the network supports, or a tagwise model (a
        path or the name of a shipped model), from which all tensors that fit are copied; tensors
        outside the heads must fit. Or the name of a public model, see `list_models`, which is
        fetched if it is not in the cache; its heads must fit too.
    input_size: (width, height) in pixels, stored in the model file for prediction.
    drop_head: initialise the heads anew instead of taking them from `pretrained`, for other
        keypoint types or classes.
    options: of the network, see its builder.
    Raises UserError for unknown names and options and for weights that do not fit.

    >>> model = create_model("efficientnet_lite0", PoseTask(COCO17))  # doctest: +SKIP
    >>> model(torch.rand(1, 3, 512, 512))["heatmaps"].shape  # doctest: +SKIP
    torch.Size([1, 17, 128, 128])
    """
    if pretrained is None or not _is_model_file(pretrained):
        model = new_model(name, task, pretrained, input_size, **options)
        if drop_head and pretrained is not None:
            fresh = new_model(name, task, None, input_size, **options).state_dict()
            heads = {key: fresh[key] for key in fresh if key.startswith(model.head_prefixes)}
            model.load_state_dict(heads, strict=False)
        return model
    path = find_weights(pretrained)
    if path.suffix != ".safetensors":
        raise UserError(f"{pretrained} is not a network that training can start from")
    spec, state = read_model_file(path)
    if pretrained in public_models():
        _check_same_network(pretrained, spec, name)
        if not drop_head:
            _check_same_types(pretrained, spec, task)
    model = new_model(name, task, None, input_size, **options)
    if drop_head:
        heads = model.head_prefixes
        state = {key: value for key, value in state.items() if not key.startswith(heads)}
    _take_fitting(model, state, path)
    model.spec = replace(model.spec, info={"pretrained": Path(pretrained).name})
    return model


def _is_model_file(source: str) -> bool:
    named = source in shipped_models() or source in public_models()
    return str(source).endswith(".safetensors") or named


def _check_same_network(source: str, spec: ModelSpec, name: str) -> None:
    """Raise UserError if a public model is another network than the one to create."""
    if spec.name != name:
        raise UserError(f"{source} is a {spec.name}, not a {name}; use model.name: {spec.name}")


def _check_same_types(source: str, spec: ModelSpec, task: Task) -> None:
    """Raise UserError if a public model finds other keypoint types or classes than the task."""
    theirs, ours = _types(create_task(spec.task, **spec.task_options)), _types(task)
    if list(map(name_key, theirs)) == list(map(name_key, ours)):
        return
    other = [name for name in ours if name not in theirs]
    named = f", such as {other[0]}" if other else ", in another order"
    raise UserError(
        f"{source} has {len(theirs)} keypoint types or classes, and the {len(ours)} of the task "
        f"differ{named}; set model.drop_head: true to start with new output layers"
    )


def _types(task: Task) -> tuple[str, ...]:
    """Names of the keypoint types or classes of a task."""
    skeleton = getattr(task, "skeleton", None)
    return getattr(task, "classes", ()) if skeleton is None else skeleton.keypoints


def _take_fitting(model: Network, state: dict[str, Any], path: Path) -> None:
    """Copy the tensors of a model file with the same name and shape; only heads may differ."""
    check_weights(state, path)
    expected = model.state_dict()
    fits = {
        key: value
        for key, value in state.items()
        if key in expected and value.shape == expected[key].shape
    }
    of_heads = model.head_prefixes
    missing = [key for key in expected if key not in fits and not key.startswith(of_heads)]
    if missing:
        raise UserError(
            f"{path} is from another network: {len(missing)} tensors do not fit, such as "
            f"{missing[0]}"
        )
    model.load_state_dict(fits, strict=False)
