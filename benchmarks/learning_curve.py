"""AP of robots against the number of labelled photos that they were trained on.

    OMP_NUM_THREADS=1 python benchmarks/learning_curve.py DATA [--steps 400 1600] [--out FOLDER]

DATA holds robots/. Every run uses recipes/robots.yaml with a number of steps, from ImageNet, on
photos that are evenly spaced in the training set, and is measured on all of its validation photos.
An interrupted run continues, and finished ones are kept. Each thousand steps take about ten minutes
of one core. Writes a table, a JSON file and a picture, learning_curve.png, to --out.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from _bench import arguments, at_size, report
from matplotlib.figure import Figure

from tagwise.commands.evaluate import evaluate
from tagwise.commands.train import train

RECIPE = Path(__file__).parents[1] / "recipes" / "robots.yaml"
COUNTS = (25, 50, 100, 250, 1004)
SIGMAS = (0.4, 0.1)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--steps", type=int, nargs="+", default=[400, 1600])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="labelled photos")
    parser.add_argument("--out", type=Path, default=Path("runs/learning_curve"))
    options = parser.parse_args()
    if not (options.data / "robots" / "train.json").is_file():
        parser.error(f"there is no {options.data}/robots/train.json; give the folder of the data")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    steps, counts = at_size((options.steps, options.counts), ([1], [2]))
    rows = [measured(count, number, options) for number in steps for count in counts]
    report("learning_curve", rows)
    draw(rows, options.out / "learning_curve.png")


def measured(count: int, steps: int, options) -> dict[str, float]:
    """Train on some photos, unless that is done already, and measure the model."""
    folder = options.out / f"{steps}" / f"{count}"
    labels = subset(options.data / "robots" / "train.json", count, options.out / f"{count}.json")
    weights = folder / "last.safetensors"
    if not weights.is_file():
        train(
            RECIPE,
            out=folder,
            resume=True,
            overrides=(
                f"data.root={options.data.resolve()}",
                f"data.train=[{{annotations: {labels.resolve()}, images: robots/images}}]",
                f"optim.steps={steps}",
                "run.validate_every=0",
            ),
        )
    data = options.data / "robots"
    found = evaluate(weights, data / "val.json", data / "images", sigmas=SIGMAS, quiet=True)
    return {
        "steps": steps,
        "photos": count,
        **{key: 100 * found["metrics"][key] for key in ("AP@.4", "AP@.1")},
    }


def subset(annotations: Path, count: int, target: Path) -> Path:
    """Evenly spaced images of a COCO file, by file name, as a file."""
    content = json.loads(annotations.read_text())
    images = sorted(content["images"], key=lambda image: image["file_name"])
    kept = [images[index * len(images) // count] for index in range(min(count, len(images)))]
    ids = {image["id"] for image in kept}
    labels = [label for label in content["annotations"] if label["image_id"] in ids]
    target.write_text(json.dumps({**content, "images": kept, "annotations": labels}))
    return target


def draw(rows: list[dict[str, float]], path: Path) -> None:
    figure = Figure((6, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    colours = {sigma: f"C{number}" for number, sigma in enumerate(SIGMAS)}
    styles = dict(zip(sorted({row["steps"] for row in rows}), (":", "-", "--", "-."), strict=False))
    for steps, style in styles.items():
        line = [row for row in rows if row["steps"] == steps]
        counts = [row["photos"] for row in line]
        for sigma, colour in colours.items():
            name = f"AP@{sigma:g}".replace("0.", ".")
            axes.plot(
                counts,
                [row[name] for row in line],
                style,
                marker="o",
                color=colour,
                label=f"{name}, {steps:,} steps",
            )
    axes.set(xscale="log", xlabel="labelled photos", ylabel="AP in %", ylim=(0, 100))
    counts = sorted({row["photos"] for row in rows})
    axes.set_xticks(counts, counts)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path)


if __name__ == "__main__":
    main()
