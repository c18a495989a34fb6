"""The initial weights that suit a data set: the nearest of the models that ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tagwise.errors import UserError, unknown_name
from tagwise.models.model_file import read_header
from tagwise.models.shipped import shipped_file, shipped_models
from tagwise.models.spec import ModelSpec, parse_spec
from tagwise.skeletons import match_names
from tagwise.skeletons.names import name_key

NETWORK = "efficientnet_lite0"
_RELATED = 0.75  # share of the keypoint types that a model of another network must have

# Options of the task that the output layers of a model depend on.
_OF_HEADS = ("tag_dim", "position", "sigma", "offsets", "heatmap_loss", "centres", "seeds")


@dataclass(frozen=True)
class Start:
    """Where training starts.

    pretrained: as in a recipe. network, options: of the model. drop_head: whether the output layers
        are new. task_options: those that kept output layers need. why: in words.
    """

    pretrained: str | None
    network: str = NETWORK
    options: dict[str, Any] = field(default_factory=dict)
    drop_head: bool = False
    task_options: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def choose_start(task: str, names: Sequence[str], asked: str | None = None) -> Start:
    """Choose the initial weights for a task.

    names: the keypoint types or classes. asked: "imagenet", "none", the name of a shipped model or
        a tagwise model file; None chooses the shipped model of the task with the most names in
        common, and among equals that with the nearest number of them. A model of another network
        than the usual one is chosen only if it has three quarters of the keypoint types.
    Raises UserError for an unknown name and for a model of another task.
    """
    if asked == "imagenet":
        return Start("imagenet", why="ImageNet, as asked for")
    if asked == "none":
        return Start(None, why="random values, as asked for")
    if asked is not None:
        spec = _spec(asked)
        if spec.task != task:
            raise UserError(f"{asked} is a model of the task {spec.task}, not {task}; use another")
        return _start(asked, spec, names, "as asked for")
    specs = {name: _spec(name) for name in shipped_models()}
    known = {name: spec for name, spec in specs.items() if _fits(spec, task, names)}
    if not known:
        return Start("imagenet", why="ImageNet: no model of this task ships")
    best = max(known, key=lambda name: _nearness(known[name], names))
    shared = _shared(known[best], names)
    common = f"{shared} of {len(names)} names in common" if names else "the same task"
    return _start(best, known[best], names, f"the nearest model that ships: {common}")


def _spec(source: str) -> ModelSpec:
    if source in shipped_models():
        path = shipped_file(source)
    elif source.endswith(".safetensors"):
        path = Path(source)
    else:
        raise unknown_name("start", source, ["imagenet", "none", *shipped_models()])
    header = read_header(path)
    if header is None:
        raise UserError(f"{source} was not saved by tagwise; start from another model")
    return parse_spec(header, path)


def _fits(spec: ModelSpec, task: str, names: Sequence[str]) -> bool:
    if spec.task != task:
        return False
    return spec.name == NETWORK or _shared(spec, names) >= _RELATED * len(names)


def _nearness(spec: ModelSpec, names: Sequence[str]) -> tuple[float, int]:
    theirs = _names(spec)
    return _shared(spec, names) / max(len(names), 1), -abs(len(theirs) - len(names))


def _shared(spec: ModelSpec, names: Sequence[str]) -> int:
    return sum(k >= 0 for k in match_names(list(names), _names(spec)))


def _names(spec: ModelSpec) -> list[str]:
    """The keypoint types or classes of a model."""
    options = spec.task_options
    return list(options.get("skeleton", {}).get("keypoints", options.get("classes", ())))


def _start(source: str, spec: ModelSpec, names: Sequence[str], why: str) -> Start:
    same = list(map(name_key, _names(spec))) == list(map(name_key, names))
    kept = {key: spec.task_options[key] for key in _OF_HEADS if key in spec.task_options}
    heads = "its output layers are kept" if same else "new output layers"
    return Start(
        source,
        spec.name,
        dict(spec.options),
        drop_head=not same,
        task_options=kept if same else {},
        why=f"{why}; {heads}",
    )
