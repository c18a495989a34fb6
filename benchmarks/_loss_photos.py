"""Photos for `losses.py`: recipes on a short schedule, with one network for all losses.

The tags have DIM components and do not start from the position of the pixel, because `contrastive`
and `cosine` compare directions, to which a position cannot be added. Losses of POSITIONED have the
position of the recipe.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _loss_points import DIM, POSITION, best_of

from tagwise.data.photos import Photos
from tagwise.grouping.settings import CornerSettings, PixelSettings
from tagwise.models.network import Network
from tagwise.prediction.cached import CachedImage, cached_images
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.tuning import Objective
from tagwise.settings import Settings
from tagwise.tasks.tag_terms import tag_weights
from tagwise.training.data import make_loader, open_datasets
from tagwise.training.model import make_model, network_input, stage_loss
from tagwise.training.optimizer import MovingAverage, make_optimizer, set_learning_rate
from tagwise.training.recipe import Recipe, load_recipe
from tagwise.training.validation import as_in_file

RECIPES = Path(__file__).parents[1] / "recipes"
MEASURED = (0.4, 0.7, 1.0)  # shares of the steps
SCALES = (0.15, 0.3, 0.6, 0.85, 1.2, 1.7, 2.4, 3.4, 5.0)  # bandwidths that the search tries
# The tag distance that separates instances during training, which the seed map and the spatial
# loss need: half the distance that the push term aims at. With a position, tags of an instance are
# farther apart than that at first, and all losses use the distance of `exp`.
APART = {"hinge": 0.5, "contrastive": 0.7, "cosine": 0.7}


@dataclass(frozen=True)
class PhotoTask:
    """A recipe on a short schedule.

    figure: the score. separates: the setting of the grouping that is the tag distance between
    instances. pull, push: usual weights. images: of the validation set; half of them choose the
    grouping. steps, batch, size: of the training, which takes square crops. overrides: of the
    recipe.
    """

    recipe: str
    figure: str
    separates: str
    pull: float
    push: float
    images: int
    steps: int = 240
    batch: int = 4
    size: int = 160
    overrides: tuple[str, ...] = ()


PHOTO_TASKS = {
    "nuclei": PhotoTask("nuclei.yaml", "F1@.5", "grouping.bandwidth", 0.5, 1.0, 20, size=128),
    "blood": PhotoTask("blood.yaml", "AP50", "pairing.tag_threshold", 0.2, 0.2, 30),
    "robots": PhotoTask(
        *("robots.yaml", "AP", "grouping.tag_threshold", 0.05, 0.05, 30),
        overrides=("data.augment.mosaic=0",),
    ),
}


def at_smallest_size(task: PhotoTask) -> PhotoTask:
    """The same with a small network, a few images and two steps."""
    overrides = ("model={name: small, pretrained: null, options: {width: 8, channels: 8}}",)
    overrides += ("data.input_size=[64, 64]", "data.val_size=[96, 96]", *task.overrides)
    return replace(task, images=2, steps=2, batch=2, size=64, overrides=overrides)


def run_photos(
    task: PhotoTask, data: Path, loss: str, seed: int, lr: float, weight: float
) -> dict[str, Any]:
    """Train with one loss and measure it; see `losses.Task` for the arguments and the result."""
    recipe = short_recipe(task, data, loss, seed, lr, weight)
    torch.manual_seed(seed)
    datasets, val, problem = open_datasets(recipe)
    val.keep(range(0, len(val), max(1, len(val) // task.images)))
    model = make_model(recipe, problem)
    average = MovingAverage(model, recipe.optim.ema)
    optimizer = make_optimizer(model, recipe.optim)
    measured_at = {max(1, round(share * task.steps)) for share in MEASURED}
    seconds, curve = 0.0, []
    model.train()
    for step, batch in enumerate(make_loader(recipe, datasets, model, 1, 0)):
        start = time.process_time()
        set_learning_rate(optimizer, recipe.optim, step)
        train_step(model, optimizer, batch, recipe.optim.clip)
        average.update_parameters(model)
        seconds += time.process_time() - start
        if step + 1 in measured_at:
            measured = measure(average.module, val, recipe, task.figure)
            curve.append([step + 1, measured["score"]])
    return {**measured, "curve": curve, "seconds": round(seconds, 3)}


def short_recipe(
    task: PhotoTask, data: Path, loss: str, seed: int, lr: float, weight: float
) -> Recipe:
    """The recipe of a task with the settings of a run."""
    placed, loss = loss.endswith(POSITION), loss.removesuffix(POSITION)
    position = () if placed else ("task_options.position=null",)
    apart = 1.5 if placed else APART.get(loss, 1.5)
    form = {"exp": "pull_push", "hinge": "pull_push"}
    weights = tag_weights(weight * task.pull, weight * task.push)
    overrides = (
        f"data.root={data.resolve()}",
        f"data.input_size=[{task.size}, {task.size}]",
        "data.workers=0",
        f"optim.steps={task.steps}",
        f"optim.batch={task.batch}",
        f"run.seed={seed}",
        *position,
        f"task_options.tag_dim={DIM}",
        f"task_options.tag_loss={form.get(loss, loss)}",
        f"task_options.push={loss if loss in form else 'exp'}",
        f"task_options.{task.separates}={apart}",
        *(f"task_options.weights.{term}={value}" for term, value in weights.items()),
        *task.overrides,
    )
    recipe = load_recipe(RECIPES / task.recipe, overrides).complete()
    return replace(recipe, optim=replace(recipe.optim, lr=lr * recipe.optim.lr))


def train_step(model: Network, optimizer: torch.optim.Optimizer, batch: tuple, clip: float) -> None:
    images, targets = batch
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(network_input(images))
    stage_loss(model, outputs, targets)["total"].backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()


def measure(model: Network, val: Photos, recipe: Recipe, figure: str) -> dict[str, Any]:
    """Choose the settings of the grouping on every other image, and score them on the rest."""
    network = as_in_file(model, torch.device("cpu"))
    size = recipe.data.val_size or recipe.data.input_size
    predictor = Predictor(network, device="cpu", size=size, threshold=0.0)
    images, _ = cached_images(predictor, val, range(len(val)))
    whole = Objective(predictor.task, predictor.stride, val, images, {})
    tune, test = (whole.part(range(first, len(images), 2)) for first in (0, 1))
    tried = readings(whole.start)
    best, tuned = best_of(tried, lambda settings: score(tune, settings, figure))
    return {
        "score": score(test, best, figure),
        "tuned": tuned,
        "bandwidth": SCALES[tried.index(best)],
        "extent": float(np.mean([tag_extent(predictor, image) for image in images])),
    }


def readings(settings: Settings) -> list[Settings]:
    """The settings of a grouping at each of SCALES, which are tag distances."""
    if isinstance(settings, PixelSettings):
        return [replace(settings, bandwidth=scale, join=scale) for scale in SCALES]
    if isinstance(settings, CornerSettings):  # the spread is that of one component
        return [
            replace(settings, tag_threshold=scale, tag_spread=scale / 3, tag_growth=0.0)
            for scale in SCALES
        ]
    return [replace(settings, tag_threshold=scale) for scale in SCALES]


def score(part: Objective, settings: Settings, figure: str) -> float:
    """A figure of the task on some images, grouped with these settings."""
    task = part.with_settings(settings)
    scorer = task.make_scorer(part.dataset)
    for image in part.images:
        scorer.add(image.index, image.decode(task, part.stride))
    return float(scorer.figures()[figure])


def tag_extent(predictor: Predictor, image: CachedImage) -> float:
    """The largest minus the smallest tag at true detections, in the widest component."""
    maps = {name: values.float() for name, values in image.maps.items()}
    found = predictor.task.true_tags(maps, predictor.stride, image.placement, image.sample)
    tags = found.tags.reshape(-1, found.tags.shape[-1])
    tags = tags[np.isfinite(tags).all(1)]
    return float(np.ptp(tags, axis=0).max()) if len(tags) else 0.0
