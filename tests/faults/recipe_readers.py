"""Recipes, what they state of skeletons, and the log of a training, each with its use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from label_readers import NAMES, Reader
from mutations import as_json, as_yaml, mutate, mutated_json, mutated_yaml, value

from tagwise.training.data import make_loader, open_datasets
from tagwise.training.log import TrainingLog
from tagwise.training.model import make_model
from tagwise.training.optimizer import learning_rate, make_optimizer
from tagwise.training.recipe import load_recipe, save_recipe
from tagwise.training.validation import check_best


def recipe() -> dict[str, Any]:
    """A recipe of a small network on the photos of `make_photos`, with every part."""
    labelled = {"annotations": "keypoints.json", "images": "."}
    return {
        "task": "pose",
        "task_options": {"tag_dim": 2, "position": 16, "weights": {"pull": 0.1}, "grouping": {}},
        "sigmas": [0.1, 0.2, 0.2],
        "data": {
            "train": [{**labelled, "weight": 1.0, "mapping": {"nose": "nose"}}],
            "val": labelled,
            "input_size": [64, 64],
            "augment": {"flip": 0.5},
            "workers": 0,
            "flip_pairs": [["left_hip", "right_hip"]],
        },
        "model": {"name": "small", "pretrained": None, "options": {"width": 8}, "freeze": []},
        "optim": {"steps": 4, "batch": 2, "drops": [0.5], "clip": 3.0},
        "run": {"device": "cpu", "best": "AP", "seed": 1},
        "decoder": {"threshold": 0.3},
        "info": {"from": "foxes"},
        "tuned": {"annotations": "keypoints.json", "info": {"tuned": 1}, "decoder": {}},
    }


def _start(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """All that a training does with its recipe before its first step."""
    found = load_recipe(path, overrides)
    found.notes()
    save_recipe(found, path.with_name("saved.yaml"))
    again = load_recipe(path.with_name("saved.yaml"))
    if again.to_dict() != found.to_dict():
        raise AssertionError("the saved recipe is another one")
    found = found.complete()
    # Many workers are what the recipe asks for, but here they take the time of all other files.
    found = replace(found, data=replace(found.data, workers=0))
    sets, val, task = open_datasets(found)
    if val is not None:
        check_best(found.run.best, task, val)
    model = make_model(found, task)
    make_optimizer(model, found.optim)
    learning_rate(found.optim, 1)
    images, _ = next(iter(make_loader(found, sets, model, 1, 0)))
    model(images.permute(0, 3, 1, 2).float().div(255))


def _skeleton_recipe(rng: np.random.Generator) -> tuple[bytes, str]:
    """A recipe whose skeleton or mirror pairs are damaged."""
    tree = recipe()
    skeleton = {"name": "fox", "keypoints": NAMES, "edges": [[0, 1]], "sigmas": [0.1] * 3}
    stated: dict[str, Any] = {"skeleton": {**skeleton, "flip": [0, 2, 1]}}
    stated |= {"flip_pairs": [["left_hip", 2]], "mapping": {"nose": "nose"}, "sigmas": [0.1] * 3}
    stated, done = mutate(stated, rng)
    for key in set(stated) - {"skeleton"}:
        if key in ("flip_pairs", "mapping", "sigmas"):
            holder = tree["data"] if key == "flip_pairs" else tree
            holder = tree["data"]["train"][0] if key == "mapping" else holder
            holder[key] = stated[key]
    tree["task_options"]["skeleton"] = stated.get("skeleton")
    return (as_yaml if rng.integers(2) else as_json)(tree), done


def _override(path: Path) -> None:
    """A valid recipe with a value given on the command line, which is the damaged text."""
    text = path.read_bytes().decode(errors="surrogateescape")
    path.with_name("recipe.yaml").write_text(yaml.safe_dump(recipe()))
    _start(path.with_name("recipe.yaml"), (text,))


def _damaged_override(rng: np.random.Generator) -> tuple[bytes, str]:
    names = ["optim.lr", "data.train.0.weight", "data.input_size", "run.best", "model.options", "x"]
    names += ["data.train.7.x", "optim", "sigmas", "", ".", "data..x", "optim.lr.x", "task"]
    name = names[rng.integers(len(names))]
    text = f"{name}={json.dumps(value(rng))}"[: None if rng.integers(9) else 4]
    return text.encode("utf-8", "surrogatepass"), text[:80]


def _damaged_log(rng: np.random.Generator) -> tuple[bytes, str]:
    lines = [json.dumps({"step": n, "total": 0.5 / n, "lr": 1e-3}).encode() for n in (1, 2, 3)]
    which = int(rng.integers(3))
    lines[which], done = mutated_json({"step": which + 1, "total": 0.5, "lr": 1e-3}, rng)
    return b"\n".join([*lines, b""]), f"line {which + 1}: {done}"


def _resume(path: Path) -> None:
    """Go on with a log as `train --resume` does."""
    path.with_name("recipe.yaml").write_text(yaml.safe_dump(recipe()))
    log = TrainingLog(path.parent, load_recipe(path.with_name("recipe.yaml")), 2, quiet=False)
    log.close()
    for line in path.read_bytes().splitlines():
        json.loads(line)


def recipe_readers() -> list[Reader]:
    """Every reader of recipes and training logs."""
    damaged: Callable = lambda rng: mutated_yaml(recipe(), rng)  # noqa: E731
    return [
        Reader("recipe", "recipe.yaml", damaged, _start, named=False),
        Reader("skeleton in a recipe", "recipe.yaml", _skeleton_recipe, _start, named=False),
        Reader("recipe, overrides", "override.txt", _damaged_override, _override, named=False),
        Reader("log, train --resume", "log.jsonl", _damaged_log, _resume),
    ]
