"""Recipes: what a training is, as frozen dataclasses that are read from and written to YAML."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from tagwise.data.augment import Augment
from tagwise.errors import UserError, unknown_name
from tagwise.files import read_text, whole_file

# What PyYAML raises of damaged files besides its own: by dates, nesting and tags.
_NO_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


@dataclass(frozen=True)
class ModelConfig:
    """The network: a name of the zoo, the weights it starts from, and its own options.

    freeze: prefixes of parameter names that stay as they are, their batch norms too.
    """

    name: str = "efficientnet_lite0"
    pretrained: str | None = "imagenet"
    options: dict[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetConfig:
    """One set of labelled images; paths are relative to `data.root`.

    weight: share of the training samples, relative to the other sets.
    category: the category with keypoints that is meant, where the set has several.
    mapping: name of a keypoint of the skeleton -> its name in this set, where they differ.
    ignore_results, fill_results: see `tagwise.data.coco.CocoKeypoints`; results of another model
        that say where people without labels are.
    """

    annotations: str
    images: str
    weight: float = 1.0
    category: str | None = None
    mapping: dict[str, str | None] = field(default_factory=dict)
    ignore_results: str | None = None
    fill_results: float | None = None


@dataclass(frozen=True)
class DataConfig:
    """Where the images are and how they are varied.

    input_size, val_size: width, height in pixels, in training and validation. cache_gib: memory
    that each loader may keep decoded images in. workers: processes that make samples.
    flip_pairs: keypoint types of the skeleton that change places in a mirror, in pairs, by name or
    number from 0; None takes what the first set or the names tell, and [] is none.
    """

    train: tuple[SetConfig, ...]
    val: SetConfig | None = None
    root: str = "."
    input_size: tuple[int, int] = (512, 512)
    val_size: tuple[int, int] | None = None
    augment: Augment = field(default_factory=Augment)
    cache_gib: float = 1.0
    workers: int = 1
    flip_pairs: tuple[tuple[str | int, str | int], ...] | None = None


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay, by steps of `batch` images a process.

    drops: shares of the steps at each of which the rate falls to a tenth, in place of the cosine.
    clip: largest norm of the gradient; .inf for none. ema: 0 keeps no moving average.
    """

    steps: int = 2000
    batch: int = 8
    lr: float = 2e-3
    backbone_scale: float = 0.35
    weight_decay: float = 0.01
    warmup: float = 0.05
    final_lr: float = 0.01
    drops: tuple[float, ...] = ()
    clip: float = 3.0
    ema: float = 0.998


@dataclass(frozen=True)
class RunConfig:
    """How the training runs.

    validate_every, save_every: in steps; 0 leaves only the one at the end.
    precision: "no" (float32) or "bf16" (mixed). device: "cpu", "cuda", or None for the best.
    best: the figure by which best.safetensors is chosen.
    """

    seed: int = 0
    precision: str = "no"
    validate_every: int = 500
    save_every: int = 100
    log_every: int = 20
    best: str = "AP"
    tensorboard: bool = False
    threads: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Recipe:
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
    sigmas: float | tuple[float, ...] | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
    decoder: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` such as "optim.lr=1e-3" replace single values.

    Raises UserError, naming the file, for what is no YAML mapping and for unknown keys.
    """
    path = Path(path)
    tree = _yaml(read_text(path, "recipe"), str(path))
    if not isinstance(tree, dict):
        raise UserError(f"{path} is no recipe: expected keys such as data, model, optim")
    for override in overrides:
        _override(tree, override)
    return parse(Recipe, tree, str(path))


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
    text = yaml.safe_dump(_plain(asdict(recipe)), sort_keys=False, allow_unicode=True)
    with whole_file(Path(path)) as file:
        file.write(text.encode())


def parse(kind: type, tree: Any, where: str) -> Any:
    """A mapping as the dataclass `kind`, checked key by key; `where` begins the errors."""
    if not isinstance(tree, Mapping):
        raise UserError(f"{where}: expected keys and values, found {tree!r}")
    hints = get_type_hints(kind)
    for key in tree:
        if key not in hints:
            raise UserError(f"{where}: {unknown_name('key', str(key), hints)}")
    for item in fields(kind):
        required = item.default is MISSING and item.default_factory is MISSING
        if required and item.name not in tree:
            raise UserError(f"{where}: the key {item.name!r} is missing")
    return kind(**{k: _value(hints[k], v, f"{where}: {k}") for k, v in tree.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, or a UserError that names both."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(args, value, where)
    if is_dataclass(hint):
        return parse(hint, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: expected a list, found {value!r}")
        if args[-1] is not Ellipsis and len(args) != len(value):
            raise UserError(f"{where}: expected {len(args)} values, found {len(value)}")
        item = args[0]
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: expected keys and values, found {value!r}")
        return dict(value)
    return _scalar(hint, value, where)


def _union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    choices = [a for a in args if a is not type(None)]
    for choice in choices[:-1]:
        try:
            return _value(choice, value, where)
        except UserError:
            continue
    return _value(choices[-1], value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    try:
        # YAML reads 1e-3, without a dot, as text.
        if hint is float and number:
            return float(value)
        if hint is int and number and float(value) == int(float(value)):
            return int(float(value))
    except ValueError:
        pass
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f"{where}: expected {hint.__name__}, found {value!r}")


def _yaml(text: str, where: str) -> Any:
    """The value of some YAML. Raises UserError, beginning with `where`, for anything else."""
    try:
        return yaml.safe_load(text)
    except _NO_YAML as error:
        raise UserError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from error


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
    node[last] = _yaml(text, f"override {override!r}")


def _item(node: list, part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"override {override!r}: no item {part!r} in a list of {len(node)}")
    return int(part)


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down, so that the YAML needs no tags of Python's own."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
