"""Small data sets on disk, a recipe for them, and the log of a training run."""

import json

import cv2

from tagwise.data.augment import Augment
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.skeletons import Skeleton
from tagwise.training.recipe import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    SetConfig,
)

FIGURE = Skeleton("figure", ("head", "trunk", "left_foot", "right_foot"), ((0, 1), (1, 2), (1, 3)))


def write_scenes(folder, name, length, seed):
    """Write synthetic scenes as photos and COCO JSON."""
    scenes = SyntheticPoses(
        FIGURE, length=length, seed=seed, size=(96, 96), people=(1, 2), tallness=(0.4, 0.8)
    )
    content = scenes.to_coco()
    del content["categories"][0]["sigmas"]  # those of the recipe apply
    images = folder / name
    images.mkdir()
    for index, image in enumerate(content["images"]):
        image["file_name"] = f"{index:04d}.png"
        cv2.imwrite(str(images / image["file_name"]), scenes[index].image[..., ::-1])
    (folder / f"{name}.json").write_text(json.dumps(content))


def recipe_for(scenes, steps, **run):
    """Return a recipe for a small pose network on scenes of `write_scenes`; run: of RunConfig."""
    settings = {"validate_every": 0, "save_every": 2, "log_every": 1, "device": "cpu", **run}
    return Recipe(
        data=DataConfig(
            train=(SetConfig("train.json", "train"),),
            val=SetConfig("val.json", "val"),
            root=str(scenes),
            input_size=(96, 96),
            augment=Augment.none(),
            workers=0,
        ),
        task_options={"tag_dim": 2, "position": 16, "offsets": True},
        sigmas=0.25,
        model=ModelConfig("small", pretrained=None, options={"width": 16}),
        optim=OptimConfig(steps=steps, batch=8, lr=4e-3, backbone_scale=1.0, ema=0.98),
        run=RunConfig(**settings),
    )


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    return {row["step"]: row["total"] for row in rows(folder) if "total" in row}
