"""Writes the files of this folder with the version of tagwise that Python finds.

They were made by the commit that README.md names, and stay as they are: `python make.py FOLDER`.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import safetensors
import yaml
from safetensors.torch import load_file, save_file
from tagwise.export import export
from tagwise.grouping_settings import GroupingSettings
from tagwise.predictor import Predictor
from tagwise.train import train

SIDE = 64
PALETTE = [(255, 60, 60), (60, 220, 60), (90, 90, 255), (240, 220, 40), (230, 60, 230)]
KEYPOINTS = {"keypoints": ["head", "tail"], "skeleton": [[1, 2]]}
CATEGORIES = {"pose": [{"id": 1, "name": "pin", **KEYPOINTS}]}
CATEGORIES["corners"] = [{"id": 1, "name": "brick"}, {"id": 2, "name": "ring"}]

COMMON = {
    "model": {"name": "small", "pretrained": None, "options": {"width": 4, "channels": 8}},
    "optim": {"steps": 400, "batch": 8, "lr": 0.004, "backbone_scale": 1.0, "ema": 0.98},
    "run": {"validate_every": 0, "save_every": 0, "log_every": 50, "device": "cpu"},
}
DATA = {"root": "data", "input_size": [SIDE, SIDE], "workers": 0}
DATA["augment"] = {"rotate": 0, "scale": [1.0, 1.0], "shift": 0.0, "flip": 0.0}
GROUPING = {"method": "greedy", "use_score": False, "match_limit": 20, "fill_score": "one"}
TASKS = {
    "pose": {
        "task_options": {"tag_dim": 2, "position": 16, "offsets": True, "grouping": GROUPING},
        "sigmas": 0.2,
        "decoder": {"threshold": 0.3},
    },
    "corners": {
        "task_options": {"tag_dim": 2, "position": 16, "reach": 1, "centres": True},
        "decoder": {"threshold": 0.35},
    },
    "pixels": {"task_options": {"tag_dim": 2, "position": 8}, "run": {"best": "F1@.5"}},
}


def scene(rng, task):
    """An image (64, 64, 3) of two or three objects of their own colour, and their annotations."""
    image = np.full((SIDE, SIDE, 3), 30, np.uint8) + rng.integers(0, 20, (SIDE, SIDE, 1), np.uint8)
    labels, rows = np.zeros((SIDE, SIDE), np.uint16), []
    cells = rng.permutation(4)[: rng.integers(2, 4)]
    for number, cell in enumerate(cells, 1):
        x, y = 32 * (cell % 2) + rng.integers(6, 11), 32 * (cell // 2) + rng.integers(6, 11)
        w, h = rng.integers(10, 17, 2)
        colour = PALETTE[rng.integers(5)]
        row = {"image_id": 0, "iscrowd": 0, "area": int(w * h), "category_id": 1}
        if task == "pose":
            head, tail = (int(x), int(y)), (int(x + w), int(y + h))
            cv2.line(image, head, tail, colour, 2)
            cv2.circle(image, head, 4, (255, 255, 255), -1)
            cv2.circle(image, tail, 4, colour, -1)
            row |= {"keypoints": [*head, 2, *tail, 2], "num_keypoints": 2}
        else:
            brick = task == "pixels" or rng.random() < 0.5
            cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, -1 if brick else 2)
            labels[y : y + h, x : x + w] = number
            row["category_id"] = 1 if brick else 2
        rows.append(row | {"bbox": [int(x), int(y), int(w), int(h)]})
    return image, labels, rows


def write_set(folder, task, count, seed):
    """Images and labels as a lab has them."""
    rng, content = np.random.default_rng(seed), {"images": [], "annotations": []}
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        image, labels, rows = scene(rng, task)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), labels)
        entry = {"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE}
        content["images"].append(entry)
        for row in rows:
            identity = len(content["annotations"]) + 1
            content["annotations"].append(row | {"image_id": number, "id": identity})
    content["categories"] = CATEGORIES.get(task, [])
    (folder / "labels.json").write_text(json.dumps(content))


def make(task, work, out):
    """A recipe, what a run makes of it, a model, a photo, and what is found on the photo."""
    files = {}
    for name, count, seed in (("train", 400, 0), ("val", 16, 1)):
        write_set(work / task / name, task, count, seed)
        labels = f"{name}/labels" if task == "pixels" else f"{name}/labels.json"
        files[name] = {"annotations": labels, "images": f"{name}/images"}
    recipe = {"task": task, **COMMON, **TASKS[task]}
    recipe["run"] = COMMON["run"] | recipe["run"]
    recipe["data"] = DATA | {"train": [files["train"]], "val": files["val"]}
    (out / f"{task}.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    where = [f"data.root={work / task}"]
    folder = train(out / f"{task}.yaml", out=work / task / "run", overrides=where)
    resolved = (folder / "recipe.yaml").read_text().replace(str(work / task), "data")
    (out / f"{task}.resolved.yaml").write_text(resolved)
    shutil.copy(folder / "best.safetensors", out / f"{task}.safetensors")
    shutil.copy(work / task / "val" / "images" / "3.png", out / f"{task}.png")
    print(task, (folder / "log.jsonl").read_text().splitlines()[-1])
    found = Predictor(out / f"{task}.safetensors", device="cpu", precision="fp32")
    record = found(out / f"{task}.png").to_dict()
    record["image"]["file"] = f"{task}.png"
    (out / f"{task}.predictions.json").write_text(json.dumps(record))


def make_presets(out):
    """Headers of pose models with the published presets, and what these models find."""
    file = out / "pose.safetensors"
    with safetensors.safe_open(file, "pt") as content:
        header = json.loads(content.metadata()["tagwise"])
    presets = {}
    for name in ("higherhrnet", "poseae", "mmpose1"):
        options = {**header["task_options"], "grouping": asdict(GroupingSettings.preset(name))}
        changed = {**header, "task_options": options}
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "pose.safetensors"
            save_file(load_file(file), model, metadata={"tagwise": json.dumps(changed)})
            found = Predictor(model, device="cpu", precision="fp32")(out / "pose.png")
        presets[name] = {"header": changed, "instances": found.to_dict()["instances"]}
    (out / "pose.presets.json").write_text(json.dumps(presets))


if __name__ == "__main__":
    out = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for name in TASKS:
            make(name, Path(folder), out)
    make_presets(out)
    export(out / "pose.safetensors", out=out / "pose.onnx")
