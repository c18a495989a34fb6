"""The programs that can run a network on a CPU: ms per photo on one thread, and the AP of each.

    python benchmarks/runtimes.py --weights people robots nuclei
    python benchmarks/runtimes.py --weights robots --labels val.json --images photos --limit 300

"AP" is that on a labelled set, if there is one. "difference" is the largest difference from the
maps of torch in fp32, relative to the largest value of a map. "plain loop" is what users write
without tagwise: read a photo, scale it, run the network as it was trained, in fp32; it finds no
instances. `tagwise predict` does, and writes JSON, and by default pictures too. Goals: 1.5 times
the images/s of the plain loop, and 2.5 times with OpenVINO. All times are CPU times of one thread.

int8 needs the package nncf; onnxruntime and OpenVINO need the extras export and openvino.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch
from _bench import arguments, at_size, report, timed, verdict
from _predict_runs import plain_loop

from tagwise import Predictor, load_model, predict
from tagwise.commands.export import export
from tagwise.models import OnnxNetwork, to_openvino
from tagwise.models.onnx_model import read_onnx_model
from tagwise.models.openvino_graph import need_openvino
from tagwise.prediction.labelled import predict_labelled
from tagwise.runtime import keep_freed_memory

PHOTOS = Path(__file__).parents[1] / "examples" / "photos"
GOAL, GOAL_OPENVINO = 1.5, 2.5
BF16 = torch.bfloat16

Forward = Callable[[torch.Tensor], dict[str, torch.Tensor]]
"""From images (B, 3, H, W) uint8 to maps, as `TensorRunner.forward`."""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", nargs="+", default=at_size(["people", "robots"], ["people"]))
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--labels", help="labels of a set, as for tagwise eval; for one model")
    parser.add_argument("--images", help="images of the set")
    parser.add_argument("--limit", type=int, help="only the first images of the set")
    parser.add_argument(
        "--count", type=int, default=40, help="photos of the short run of tagwise predict"
    )
    parser.add_argument("--no-compile", action="store_true", help="torch.compile takes minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_memory()
    photos = sorted(options.photos.glob("*.jpg"))
    if not photos:
        print(f"skipped: {options.photos} has no .jpg files", file=sys.stderr)
        return
    photos = (photos * options.count)[: at_size(options.count, 1)]
    report("runtimes", [row for w in options.weights for row in networks(w, photos[0], options)])
    print()
    report("predict_runtimes", [row for w in options.weights for row in whole(w, photos)])


# ---------------------------------------------------------------------- the network alone


@torch.inference_mode()
def networks(weights: str, photo: Path, options) -> list[dict]:
    """One row per program that runs the network."""
    predictor = Predictor(weights, device="cpu", precision="fp32", runtime="torch", threshold=0)
    (outcome,) = predictor.outcomes([photo])
    array, _ = predictor.fitting.fit(outcome.image, 1)
    images = torch.from_numpy(array)[None].permute(0, 3, 1, 2)
    if predictor.task.zoom is not None:  # models that run in tiles
        images = images[..., : predictor.size[1], : predictor.size[0]]
    reference, rows = predictor.runner.forward(images), []
    for name, forward in forwards(weights, calibration_photos(options)):
        row = {"model": weights, "program": name}
        if isinstance(forward, str):
            rows.append(row | {"note": forward})
            continue
        maps = forward(images)
        away = max(((maps[n] - m).abs().max() / m.abs().max()).item() for n, m in reference.items())
        row |= {"ms": timed(partial(forward, images), repeats=25), "difference": away}
        if options.labels:
            predictor.runner.forward = forward
            row["AP"] = 100 * average_precision(predictor, options)
        rows.append(row)
    return rows


def forwards(weights: str, calibration: list[Path]) -> Iterator[tuple[str, Forward | str]]:
    """The name of each program, and its forward pass, or why it was not measured."""

    def of(network, half=None) -> Forward:
        @torch.inference_mode()
        def forward(images):
            with torch.autocast("cpu", dtype=half or BF16, enabled=half is not None):
                return network(images.float().div_(255))

        return forward

    plain, fused = load_model(weights), load_model(weights, fuse=True)
    yield "torch fp32, as trained", of(plain)
    yield "torch fp32", of(fused)
    if "--quick" in sys.argv:
        yield "all others", "not measured with --quick"
        return
    yield "torch bf16, autocast", of(fused, BF16)
    yield "torch bf16, weights in bf16", of(load_model(weights, fuse=True).hold_weights(BF16), BF16)
    if "--no-compile" in sys.argv:
        yield "torch.compile", "not measured with --no-compile"
    else:
        yield "torch.compile fp32", of(torch.compile(plain))
        yield "torch.compile bf16", of(torch.compile(plain), BF16)
    for name, network in exported(weights):
        yield name, of(network) if network else "not measured: pip install 'tagwise[export]'"
    if find_spec("openvino") is None:
        yield "OpenVINO", "not measured: pip install 'tagwise[openvino]'"
        return
    for name, precision in (("fp32", "f32"), ("bf16", "bf16")):
        yield f"OpenVINO {name}", of(to_openvino(fused, precision))
    if find_spec("nncf") is None:
        yield "OpenVINO int8", "not measured: pip install nncf"
    else:
        yield "OpenVINO int8", of(quantised(to_openvino(fused, "f32"), weights, calibration))


def exported(weights: str) -> Iterator[tuple[str, OnnxNetwork | None]]:
    """The file of `tagwise export`, run by each program; None if a package is missing."""
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        yield "exported", None
        return
    with tempfile.TemporaryDirectory() as folder:
        file = export(weights, out=f"{folder}/model.onnx")
        yield "exported, onnxruntime fp32", OnnxNetwork(read_onnx_model(file))
        for precision in ("fp32", "bf16") if find_spec("openvino") else ():
            network = OnnxNetwork(read_onnx_model(file, runtime="openvino"))
            network.use(precision)
            yield f"exported, OpenVINO {precision}", network


def calibration_photos(options) -> list[Path]:
    """Photos that decide the ranges of values in int8: those of the set that have no labels."""
    if not options.labels:
        return sorted(PHOTOS.glob("*.jpg"))
    labelled = Path(options.labels).read_text()
    files = sorted(Path(options.images).glob("*.[jp][pn]g"))
    return [file for file in files if f'"{file.name}"' not in labelled][::8][:32]


def quantised(network, weights: str, photos: list[Path]):
    """A converted network in int8, calibrated with photos."""
    need_openvino()
    import nncf

    predictor = Predictor(weights, device="cpu", precision="fp32", runtime="torch")
    inputs = []
    for outcome in predictor.outcomes(photos):
        array, _ = predictor.fitting.fit(outcome.image, 1)
        height, width = (min(128 * 4, side) // 32 * 32 for side in array.shape[:2])
        inputs.append(array[:height, :width].transpose(2, 0, 1)[None].astype("float32") / 255)
    graph = network._graph
    graph._model = nncf.quantize(graph._model, nncf.Dataset(inputs))
    graph._compiled.clear()
    return network


def average_precision(predictor: Predictor, options) -> float:
    """AP of a predictor on the labelled set."""
    task = predictor.task
    labels, images = Path(options.labels), Path(options.images)
    dataset = task.open_dataset(labels, images, like=task, keep_missing=True)
    dataset.keep(range(len(dataset))[: at_size(options.limit, 2)])
    scorer = task.make_scorer(dataset)
    for index, result in enumerate(predict_labelled(predictor, dataset)):
        scorer.add(index, result)
    return scorer.figures()["AP"]


# ---------------------------------------------------------------------- tagwise predict


def whole(weights: str, photos: list[Path]) -> list[dict]:
    """Images per second of CPU time of `tagwise predict` and of a plain loop."""
    loop = loop_speed(weights, photos)
    rows = [{"model": weights, "what": "plain loop, torch fp32", "images/s": loop}]
    for runtime in at_size(("torch", "openvino"), ("torch",)):
        if runtime == "openvino" and find_spec("openvino") is None:
            continue
        for pictures in (False, True):
            speed = predicted(weights, photos, runtime, pictures)
            goal = GOAL_OPENVINO if runtime == "openvino" else GOAL
            name = f"tagwise predict, {runtime}, {'JSON and pictures' if pictures else 'JSON'}"
            row = {"model": weights, "what": name, "images/s": speed, "of the loop": speed / loop}
            rows.append(row | {"goal": goal, "": verdict(speed / loop, goal, at_least=True)})
    return rows


def loop_speed(weights: str, photos: list[Path]) -> float:
    """Images per second of CPU time of the plain loop."""
    run = plain_loop(weights)
    run(photos[:3])
    begun = time.process_time()
    run(photos)
    return len(photos) / (time.process_time() - begun)


def predicted(weights: str, photos: list[Path], runtime: str, pictures: bool) -> float:
    """Images per second of CPU time of `tagwise predict`, without its start.

    That is the difference between a short and a long run, which has to be long: both load or
    compile a graph, in times that vary. A first run compiles, and converts the network.
    """
    times, more = [], at_size(5, 2) * len(photos)
    for count in (1, len(photos), more):
        with tempfile.TemporaryDirectory() as folder:
            links = [Path(folder) / f"{number}.jpg" for number in range(count)]
            for link, photo in zip(links, cycle(photos)):
                link.symlink_to(photo.resolve())
            begun = time.process_time()
            options = {"device": "cpu", "runtime": runtime, "pictures": pictures}
            predict(links, weights, out=f"{folder}/found", **options).finish()
            times.append(time.process_time() - begun)
    return (more - len(photos)) / (times[2] - times[1])


if __name__ == "__main__":
    main()
