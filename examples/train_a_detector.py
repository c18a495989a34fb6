"""Train a detector of paired corners in a few minutes, on data that this script generates.

    python examples/train_a_detector.py --out out/detector

It writes scenes of touching discs, stars and rectangles as photos and COCO JSON, trains a small
network on them as on any box set, measures it, and draws its results and maps. To train on your own
photos, change the folders in the recipe that it leaves in OUT/run/recipe.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import tagwise
from tagwise.commands.plot import plot
from tagwise.data import Augment
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.training.recipe import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    SetConfig,
)

SIZE = (192, 192)
CLASSES = ("disc", "rectangle", "star")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--out", type=Path, default=Path("out/detector"))
    options.add_argument("--scenes", type=int, default=1000, help="number of training scenes")
    options.add_argument("--steps", type=int, default=1200, help="training steps of 8 scenes each")
    arguments = options.parse_args()
    data = arguments.out / "data"
    for name, length, seed in (("train", arguments.scenes, 0), ("val", 60, 1)):
        if not (data / name).exists():
            scenes = SyntheticShapes(CLASSES, length, seed, SIZE, count=(3, 9), radius=(10, 36))
            scenes.save(data / name)
    weights = train(arguments, data) / "best.safetensors"
    labels, photos = data / "val/annotations.json", data / "val/images"
    tagwise.evaluate(weights, labels, photos, out=arguments.out / "metrics.json")
    photo = enlarged(sorted(photos.iterdir())[6], arguments.out / "scene.png")
    for what in ("instances", "maps", "tags"):
        picture = arguments.out / f"{what}.png"
        print(plot(photo, what, weights=weights, out=picture, conf=0.3))


def enlarged(photo: Path, out: Path) -> Path:
    """A copy of a scene at three times its size, on which boxes are easier to see."""
    with Image.open(photo) as image:
        image.resize((3 * image.width, 3 * image.height), Image.Resampling.BICUBIC).save(out)
    return out


def train(arguments: argparse.Namespace, data: Path) -> Path:
    """Train on the generated scenes; returns the folder of the run."""
    recipe = Recipe(
        task="corners",
        data=DataConfig(
            train=(SetConfig("train/annotations.json", "train/images"),),
            val=SetConfig("val/annotations.json", "val/images"),
            root=str(data),
            input_size=SIZE,
            augment=Augment(scale=(0.8, 1.2), rotate=0, quarter=0.75, shift=0.1),
        ),
        task_options={"tag_dim": 2, "position": 24, "reach": 1},
        model=ModelConfig("small", pretrained=None, options={"width": 24}),
        optim=OptimConfig(steps=arguments.steps, lr=4e-3, backbone_scale=1.0, ema=0.99),
        run=RunConfig(validate_every=300),
    )
    return tagwise.train(recipe, out=arguments.out / "run", resume=True)


if __name__ == "__main__":
    main()
