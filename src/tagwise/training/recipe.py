"""Recipes: the settings of a training run, read from and written to YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from tagwise.data.augment import Augment
from tagwise.errors import UserError, brief
from tagwise.files import read_text, whole_file
from tagwise.grouping.settings import rules_among
from tagwise.settings import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Range,
    Settings,
    Share,
    merged,
)

_Side = Annotated[int, Range(1, 16384)]
_Size = tuple[_Side, _Side]

# PyYAML raises other errors than its own for invalid dates, nesting and tags.
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The network: its name in the zoo, its initial weights, and its options.

    name: of the network, one of `tagwise.models.NETWORKS`.
    pretrained: its initial weights: "imagenet", a model that comes with tagwise, or a file; None
        starts from random values.
    drop_head: initialise the output layers anew instead of taking them from `pretrained`, for other
        keypoint types or classes.
    options: further arguments of the network, such as its width.
    freeze: prefixes of the names of parameters that are not trained, nor are their batch norms.
    """

    name: str = "efficientnet_lite0"
    pretrained: str | None = "imagenet"
    drop_head: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetConfig(Settings):
    """One set of labelled images; paths are relative to `data.root`.

    annotations: a COCO JSON, or a folder of label maps for masks.
    images: the folder of its photos.
    weight: share of the training samples, relative to the other sets.
    category: the name of the category to read, if the set has several with keypoints.
    mapping: maps the name of a keypoint of the skeleton to its name in this set, if they differ.
    ignore_results, fill_results: see `tagwise.data.coco.CocoKeypoints`; results of another model
        that locate people without labels.
    """

    annotations: str
    images: str
    weight: NonNegative = 1.0
    category: str | None = None
    mapping: dict[str, str | None] = field(default_factory=dict)
    ignore_results: str | None = None
    fill_results: NonNegative | None = None


@dataclass(frozen=True)
class DataConfig(Settings):
    """The labelled images and their augmentation.

    train: the sets to train on. val: the set to validate on.
    root: the folder that all other paths are relative to.
    augment: random changes of the photos in training.
    input_size: (width, height) of the crops in training, in pixels.
    val_size: (width, height) in validation and in the model file; None is input_size.
    cache_gib: the memory in GiB in which all worker processes together may keep decoded images.
    workers: the number of processes that load samples. None chooses it: 1 on a CPU, and next to a
        GPU one per core, except one core, but at most 16.
    flip_pairs: pairs of keypoint types of the skeleton that a mirrored image swaps, by name or by
        number from 0; None takes them from the first set or from the names, [] means no pairs.
    fold: (k, K): part k of K of the first training set, counted from 1, is held out for validation
        instead of `val`; see `tagwise.training.folds`.
    """

    train: tuple[SetConfig, ...]
    val: SetConfig | None = None
    root: str = "."
    input_size: _Size = (512, 512)
    val_size: _Size | None = None
    augment: Augment = field(default_factory=Augment)
    cache_gib: NonNegative = 1.0
    workers: Annotated[int, Range(0, 256)] | None = None
    flip_pairs: tuple[tuple[str | int, str | int], ...] | None = None
    fold: tuple[Count, Count] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.train:
            raise UserError("train is empty; name at least one set")
        if self.fold is not None and not self.fold[0] <= self.fold[1] >= 2:
            raise UserError(
                f"fold is {list(self.fold)}; write [k, K], part k of K, with K at least 2 and k "
                "from 1 to K"
            )


@dataclass(frozen=True)
class OptimConfig(Settings):
    """AdamW with linear warm-up and cosine decay.

    steps: how many times the weights are changed.
    batch: the number of images that a process loads at once.
    accumulate: the number of such batches per step and process. Their gradients are added, which
        gives the step of a larger batch in the memory of one; batch norms see one at a time.
    lr: the highest learning rate. backbone_scale: the learning rate of the pretrained part of the
        network, relative to lr.
    weight_decay: how much each step shrinks the weights, relative to the learning rate.
    warmup: a share of the steps, in which the learning rate rises from 0.
    final_lr: the learning rate at the end, relative to lr.
    drops: shares of the steps at which the learning rate falls to a tenth, instead of the cosine.
    clip: the largest norm of the gradient; .inf for no clipping.
    ema: the decay of the moving average of the weights; 0 for no average.
    """

    steps: Annotated[int, Range(1, 10**9)] = 2000
    batch: Annotated[int, Range(1, 2**16)] = 8
    accumulate: Annotated[int, Range(1, 2**16)] = 1
    lr: Positive = 2e-3
    backbone_scale: NonNegative = 0.35
    weight_decay: NonNegative = 0.01
    warmup: Share = 0.05
    final_lr: NonNegative = 0.01
    drops: tuple[Share, ...] = ()
    clip: Annotated[float, Range(above=0, infinite=True)] = 3.0
    ema: Annotated[float, Range(least=0, below=1)] = 0.998


@dataclass(frozen=True)
class RunConfig(Settings):
    """The settings of the run itself.

    seed: the seed of all random choices; the same seed gives the same run on the same machine.
    validate_every, save_every: in steps; 0 means only once, at the end.
    log_every: steps between two rows of log.jsonl.
    tensorboard: also write events for TensorBoard.
    threads: threads of the network on a CPU. None uses all cores.
    precision: "fp32" or "bf16" (mixed). Earlier recipes call fp32 "no", which still works.
    device: None chooses the best available device.
    best: the name of the figure by which best.safetensors is chosen.
    sync_batch_norm: whether batch norms take their statistics from the images of all processes; on
        GPUs only. For batches of less than about 8 images per process.
    compile: whether `torch.compile` speeds up the network; the first steps then take minutes.
    patience: training ends after this many validations in a row without a better `best`; 0 means
        that it never ends early.
    """

    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    precision: Literal["fp32", "no", "bf16"] = "fp32"
    validate_every: NonNegativeInt = 500
    save_every: NonNegativeInt = 100
    log_every: Count = 20
    best: str = "AP"
    tensorboard: bool = False
    threads: Count | None = None
    device: Literal["cpu", "cuda"] | None = None
    sync_batch_norm: bool = False
    compile: bool = False
    patience: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision == "no":
            object.__setattr__(self, "precision", "fp32")


@dataclass(frozen=True)
class TunedConfig(Settings):
    """Values that were chosen for one dataset, and are not used for other data.

    annotations: the dataset, written as in the first entry of `data.train`.
    sigmas: the OKS sigmas, unless the recipe states its own.
    task_options: options of the task, for those that the recipe does not state.
    decoder: settings of prediction, for those that the recipe does not state.
    info: further information to store in the model file.
    """

    annotations: str
    sigmas: Positive | tuple[Positive, ...] | None = None
    task_options: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(Settings):
    """Everything that a training run depends on.

    data: the labelled images. task: what is learned: "pose", "corners" (boxes) or "pixels" (masks).
    model: the network. optim: how it learns. run: the settings of the run itself.
    task_options: the options of the task, except the skeleton, which comes from the first set.
    sigmas: the OKS sigmas, one for all keypoint types or one for each; None uses the skeleton's.
    decoder: settings of prediction, stored in the model file; `threshold` is the lowest score of
        an instance in pictures.
    info: further information to store in the model file.
    tuned: further values, which are used for one dataset only.
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
    tuned: TunedConfig | None = None

    def complete(self) -> Recipe:
        """Return the recipe with the values of `tuned`, or without them for another dataset."""
        if self.tuned is None:
            return self
        if not self._is_tuned():
            return replace(self, tuned=None)
        names = ("task_options", "decoder", "info")
        filled = {name: merged(getattr(self.tuned, name), getattr(self, name)) for name in names}
        sigmas = self.tuned.sigmas if self.sigmas is None else self.sigmas
        return replace(self, sigmas=sigmas, tuned=None, **filled)

    def notes(self) -> list[str]:
        """Messages for the author: settings with a new name, and values that are not used."""
        grouping = self.task_options.get("grouping")
        notes = [
            f"task_options.grouping.{name} is now called task_options.grouping.published.{name}; "
            "the value is used"
            for name in rules_among(grouping if isinstance(grouping, Mapping) else {})
        ]
        if self.tuned is not None and not self._is_tuned():
            values = self.tuned.to_dict()
            names = [name for name in values if values[name] and name != "annotations"]
            notes.append(
                f"tuned ({', '.join(names)}) was chosen for {self.tuned.annotations} and is not "
                f"used for {self.data.train[0].annotations}; the defaults apply"
            )
        return notes

    def _is_tuned(self) -> bool:
        return self.tuned is not None and self.tuned.annotations == self.data.train[0].annotations


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; `overrides` such as "optim.lr=1e-3" replace single values.

    Raises UserError, naming the file, for text that is not a YAML mapping, unknown keys and invalid
    values.
    """
    tree = _read_yaml(read_text(path, "recipe"), str(path))
    if not isinstance(tree, dict):
        raise UserError(f"{path} is not a recipe: expected keys such as data, model, optim")
    for override in overrides:
        _override(tree, override)
    return Recipe.from_dict(tree, str(path))


def gather_overrides(argv: Sequence[str]) -> list[str]:
    """Collect flags with a dot in their name, which are values of a recipe, into one --set.

    >>> gather_overrides(["train", "r.yaml", "--optim.lr", "1e-3", "--run.tensorboard", "--resume"])
    ['train', 'r.yaml', '--resume', '--set', 'optim.lr=1e-3', 'run.tensorboard=true']
    """
    rest, overrides, queue = [], [], list(argv)
    while queue:
        argument = queue.pop(0)
        flag, equals, value = argument.partition("=")
        if not flag.startswith("--") or "." not in flag:
            rest.append(argument)
            continue
        if not equals:
            value = "true" if not queue or queue[0].startswith("--") else queue.pop(0)
        overrides.append(f"{flag[2:].replace('-', '_')}={value}")
    return [*rest, "--set", *overrides] if overrides else rest


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write the recipe, including all default values."""
    text = yaml.dump(recipe.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    with whole_file(Path(path)) as file:
        file.write(text.encode())


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as in YAML 1.2; PyYAML follows YAML 1.1, where it is text."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: text such as "1e-3" is quoted."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def _read_yaml(text: str, where: str) -> Any:
    """The value of a YAML text. Raises UserError, beginning with `where`, if it is not valid."""
    try:
        return yaml.load(text, _Loader)
    except _YAML_ERRORS as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key, `key.sub=value`; list items are selected by their number."""
    key, equals, text = override.partition("=")
    where = f"override {brief(override, 200)}"
    if not equals:
        raise UserError(f"{where}: write key.sub=value, such as optim.lr=1e-3")
    *path, last = key.split(".")
    node: Any = tree
    for part in path:
        if isinstance(node, list):
            node = node[_item(node, part, where)]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, (dict, list)):
            raise UserError(f"{where}: {brief(part)} holds a single value")
    if isinstance(node, list):
        last = _item(node, last, where)
    node[last] = _read_yaml(text, where)


def _item(node: list, part: str, where: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"{where}: no item {brief(part)} in a list of {len(node)}")
    return int(part)
