"""What a CUDA GPU makes of prediction, losses, corner pooling and training, in under three minutes.

    python benchmarks/gpu.py [--weights robots] [--batch 64] [--seconds 15] [--device cuda]

Needs only the project; images are drawn. `--device cpu --seconds 1` runs every part on a CPU, to
try the script. Goals: `Predictor.stream` gives 90 % of the images/s of the forward pass alone;
corner pooling of 8 x 128 x 128 x 128 takes .3 ms in each direction, forward and backward; pull and
push of 16 x 30 x 17 points take 1 ms; training waits for data for at most 10 % of the time.
"""

import json
import os
import tempfile
import time
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from _bench import arguments, report

from tagwise import Predictor, losses
from tagwise.commands.train import train
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.models.corner_pool import corner_pool
from tagwise.skeletons import Skeleton
from tagwise.training.recipe import Recipe

SIZE = (384, 288)
RECIPE = {
    "data": {
        "train": [{"annotations": "labels.json", "images": "images"}],
        "input_size": [384, 384],
    },
    "task_options": {"tag_dim": 2, "position": 24, "offsets": True},
    "model": {"name": "efficientnet_lite0", "pretrained": None},
    "run": {"log_every": 20, "validate_every": 0, "save_every": 0, "precision": "bf16"},
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", default="robots")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=15, help="for each throughput")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if on_gpu(options.device) and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use; --device cpu tries the script")
    print(describe(options.device))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for part in (prediction, corner_pooling, tag_loss, training):
            found = part(options, Path(folder))
            rows += found
            for row in found:
                print(row, flush=True)  # so that an end of the time loses nothing
    report("gpu", rows)


def on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def describe(device: str) -> str:
    name = torch.cuda.get_device_name(device) if on_gpu(device) else "CPU"
    return f"{name}, torch {torch.__version__}, {os.cpu_count()} cores"


def row(work: str, unit: str, value: float, goal: float | None = None, most: bool = True) -> dict:
    """A row of the table; most: the value may be at most the goal, else it must reach it."""
    met = None if goal is None else (value <= goal) == most or value == goal
    verdict = None if met is None else "met" if met else "missed"
    return {"work": work, "unit": unit, "value": value, "goal": goal, "": verdict}


def wait(device: str) -> None:
    if on_gpu(device):
        torch.cuda.synchronize(device)


# ---------------------------------------------------------------------- prediction


def prediction(options, folder: Path) -> list[dict]:
    """Images/s of the forward pass alone and of `stream` on JPEG files, for each precision."""
    files = write_images(folder / "photos", 256)
    table = []
    for precision in ("bf16",) if options.device == "cpu" else ("fp32", "bf16", "fp16"):
        predictor = Predictor(
            options.weights,
            device=options.device,
            batch_size=options.batch,
            precision=precision,
            size=SIZE,
        )
        alone = forward_speed(predictor, options)
        streamed, decoding = stream_speed(predictor, files, options.seconds)
        work = f"{options.weights}, {SIZE[0]} x {SIZE[1]}, batch {options.batch}, {precision}"
        table += [
            row(f"forward pass alone, {work}", "images/s", alone),
            row(f"stream, {work}", "images/s", streamed, 0.9 * alone, most=False),
            row(f"decoding, one thread, {work}", "ms per image", decoding),
        ]
    return table


def write_images(folder: Path, count: int) -> list[Path]:
    """Drawn scenes of figures as JPEG files of 640 x 480 pixels."""
    folder.mkdir()
    scenes = drawn(count)
    for number in range(count):
        name = str(folder / f"{number}.jpg")
        cv2.imwrite(name, scenes[number].image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return sorted(folder.iterdir())


def drawn(count: int) -> SyntheticPoses:
    figure = Skeleton("figure", ("head", "trunk", "left", "right"), ((0, 1), (1, 2), (1, 3)))
    return SyntheticPoses(figure, length=count, seed=0, size=(640, 480), people=(2, 8))


def forward_speed(predictor: Predictor, options) -> float:
    images = torch.randint(
        0, 256, (options.batch, 3, SIZE[1], SIZE[0]), dtype=torch.uint8, device=predictor.device
    ).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(3):
            predictor.runner.forward(images)
        wait(options.device)
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < options.seconds / 3:
            predictor.runner.forward(images)
            wait(options.device)
            done += options.batch
        return done / (time.perf_counter() - begun)


def stream_speed(predictor: Predictor, files: list[Path], seconds: float) -> tuple[float, float]:
    """Images/s of `stream`, and ms of one thread for decoding one image."""
    batch = [predictor.prepare(file) for file in files[: predictor.batch_size]]
    computed = predictor.run(batch)
    predictor.decode(batch, computed)  # compiles
    batch = [predictor.prepare(file) for file in files[: predictor.batch_size]]
    begun = time.perf_counter()
    predictor.decode(batch, computed)
    decoding = 1e3 * (time.perf_counter() - begun) / len(batch)

    def endless():
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            yield from files

    begun, done = time.perf_counter(), 0
    for _ in predictor.stream(endless()):
        done += 1
    return done / (time.perf_counter() - begun), decoding


# ---------------------------------------------------------------------- losses and pooling


def fastest(work, device: str, repeats: int = 30) -> float:
    """Milliseconds of a call, the median of several."""
    times = []
    for _ in range(repeats):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        times.append(1e3 * (time.perf_counter() - begun))
    return float(np.median(times[3:] or times))


def corner_pooling(options, folder: Path) -> list[dict]:
    table, repeats = [], 30 if on_gpu(options.device) else 4
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
    for direction, layout in product(("top", "bottom", "left", "right"), layouts):
        maps = torch.randn(8, 128, 128, 128, device=options.device)
        maps = maps.to(memory_format=layouts[layout]).requires_grad_()
        gradient = torch.randn_like(maps)

        def once(direction=direction, maps=maps, gradient=gradient):
            maps.grad = None
            corner_pool(maps, direction).backward(gradient)

        work = f"corner pooling, {direction}, 8 x 128 x 128 x 128, {layout}"
        table.append(row(work, "ms", fastest(once, options.device, repeats), 0.3))
    return table


def tag_loss(options, folder: Path) -> list[dict]:
    group = torch.arange(30).repeat_interleave(17).repeat(16).to(options.device)
    image = torch.arange(16).repeat_interleave(30 * 17).to(options.device)
    tags = torch.randn(len(group), 1, device=options.device, requires_grad=True)

    ahead = losses.layout_groups(group, image, batch=16)  # as the loader of training does
    table = []
    for work, layout in (("groups found ahead", ahead), ("groups found on the device", None)):

        def once(layout=layout):
            tags.grad = None
            sum(losses.pull_push(tags, group, image, batch=16, layout=layout)).backward()

        goal = 1.0 if layout else None
        ms = fastest(once, options.device)
        table.append(row(f"pull and push, 16 x 30 x 17, {work}", "ms", ms, goal))
    return table


# ---------------------------------------------------------------------- training


def training(options, folder: Path) -> list[dict]:
    """Images/s of `tagwise train` with the default loader, and its share of waiting."""
    scenes = drawn(64)
    content = scenes.to_coco()
    (folder / "images").mkdir()
    for number, image in enumerate(content["images"]):
        image["file_name"] = f"{number}.jpg"
        name = str(folder / "images" / image["file_name"])
        cv2.imwrite(name, scenes[number].image[..., ::-1])
    (folder / "labels.json").write_text(json.dumps(content))
    steps, batch = (160, options.batch) if on_gpu(options.device) else (4, 2)
    tree = {**RECIPE, "data": {**RECIPE["data"], "root": str(folder)}}
    tree["optim"] = {"steps": steps, "batch": batch}
    tree["run"] = {**RECIPE["run"], "device": options.device, "log_every": steps // 4}
    run = train(Recipe.from_dict(tree), out=folder / "run")
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    work = f"training, 384 x 384, batch {batch}"
    return [
        row(work, "images/s", last["images_per_second"]),
        row(f"{work}: share of waiting for data", "", last["share_waiting"], 0.1),
    ]


if __name__ == "__main__":
    main()
