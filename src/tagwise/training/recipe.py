"""Recipes: what a training is, as frozen dataclasses that are read from and written to YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from tagwise.data.augment import Augment
from tagwise.errors import UserError
from tagwise.files import read_text
from tagwise.settings import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Range,
    Settings,
    Share,
)


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The network: a name of the zoo, the weights it starts from, and its own options.

    freeze: prefixes of parameter names that stay as they are, their batch norms too.
    """

    name: str = "efficientnet_lite0"
    pretrained: str | None = "imagenet"
    options: dict[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetConfig(Settings):
    """One set of labelled images; paths are relative to `data.root`.

    weight: share of the training samples, relative to the other sets.
    category: the category with keypoints that is meant, where the set has several.
    mapping: name of a keypoint of the skeleton -> its name in this set, where they differ.
    ignore_results, fill_results: see `tagwise.data.coco.CocoKeypoints`; results of another model
        that say where people without labels are.
    """

    annotations: str
    images: str
    weight: NonNegative = 1.0
    category: str | None = None
    mapping: dict[str, str | None] = field(default_factory=dict)
    ignore_results: str | None = None
    fill_results: Share | None = None


@dataclass(frozen=True)
class DataConfig(Settings):
    """Where the images are and how they are varied.

    input_size, val_size: width, height in pixels, in training and validation. cache_gib: memory
    that each loader may keep decoded images in. workers: processes that make samples.
    """

    train: tuple[SetConfig, ...]
    val: SetConfig | None = None
    root: str = "."
    input_size: tuple[Count, Count] = (512, 512)
    val_size: tuple[Count, Count] | None = None
    augment: Augment = field(default_factory=Augment)
    cache_gib: NonNegative = 1.0
    workers: NonNegativeInt = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.train:
            raise UserError("train is empty; name at least one set")


@dataclass(frozen=True)
class OptimConfig(Settings):
    """AdamW with linear warm-up and cosine decay, by steps of `batch` images a process.

    drops: shares of the steps at each of which the rate falls to a tenth, in place of the cosine.
    clip: largest norm of the gradient; .inf for none. ema: 0 keeps no moving average.
    """

    steps: Count = 2000
    batch: Count = 8
    lr: Positive = 2e-3
    backbone_scale: NonNegative = 0.35
    weight_decay: NonNegative = 0.01
    warmup: Share = 0.05
    final_lr: Share = 0.01
    drops: tuple[Share, ...] = ()
    clip: Annotated[float, Range(above=0, infinite=True)] = 3.0
    ema: Annotated[float, Range(least=0, below=1)] = 0.998


@dataclass(frozen=True)
class RunConfig(Settings):
    """How the training runs.

    validate_every, save_every: in steps; 0 leaves only the one at the end.
    precision: "no" (float32) or "bf16" (mixed). device: "cpu", "cuda", or None for the best.
    best: the figure by which best.safetensors is chosen.
    """

    seed: NonNegativeInt = 0
    precision: Literal["no", "bf16"] = "no"
    validate_every: NonNegativeInt = 500
    save_every: NonNegativeInt = 100
    log_every: NonNegativeInt = 20
    best: str = "AP"
    tensorboard: bool = False
    threads: NonNegativeInt | None = None
    device: Literal["cpu", "cuda"] | None = None


@dataclass(frozen=True)
class Recipe(Settings):
    """One trained model.

    task_options: of the task; the skeleton is left out, it comes from the first set.
    sigmas: of the OKS, one for all keypoint types or one each; None takes the skeleton's.
    decoder: kept in the model file for prediction; `threshold` is the least score of an instance
        that pictures show.
    info: free facts, kept in the model file.
    """

    data: DataConfig
    task: str = "pose"
    task_options: dict[str, Any] = field(default_factory=dict)
    sigmas: Positive | tuple[Positive, ...] | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    decoder: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` such as "optim.lr=1e-3" replace single values.

    Raises UserError, which names the file, where it is not a YAML mapping, and for unknown keys and
    values that do not fit.
    """
    path = Path(path)
    try:
        tree = _yaml(read_text(path, "recipe"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} is not a recipe: expected keys such as data, model, optim")
    for override in overrides:
        _override(tree, override)
    return Recipe.from_dict(tree, str(path))


def gather_overrides(argv: Sequence[str]) -> list[str]:
    """Flags with a dot in their name, which are values of a recipe, as items of one --set.

    >>> gather_overrides(["train", "r.yaml", "--optim.lr", "1e-3", "--run.tensorboard", "--resume"])
    ['train', 'r.yaml', '--resume', '--set', 'optim.lr=1e-3', 'run.tensorboard=true']
    """
    rest, overrides, waiting = [], [], list(argv)
    while waiting:
        argument = waiting.pop(0)
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") or "." not in flag:
            rest.append(argument)
            continue
        if not equals:
            value = "true" if not waiting or waiting[0].startswith("--") else waiting.pop(0)
        overrides.append(f"{flag[2:].replace('-', '_')}={value}")
    return [*rest, "--set", *overrides] if overrides else rest


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write the recipe with every default spelled out."""
    text = yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """A safe loader that reads 1e-3 as a number, as JSON and YAML 1.2 do. YAML 1.1 has 1.0e-3."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key, `key.sub=value`; list items go by their number."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"override {override!r}: write key.sub=value, such as optim.lr=1e-3")
    *path, last = key.split(".")
    node: Any = tree
    for part in path:
        if isinstance(node, list):
            node = node[_item(node, part, override)]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, (dict, list)):
            raise UserError(f"override {override!r}: {part!r} holds a single value")
    if isinstance(node, list):
        last = _item(node, last, override)
    node[last] = _yaml(text)


def _item(node: list, part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"override {override!r}: no item {part!r} in a list of {len(node)}")
    return int(part)
