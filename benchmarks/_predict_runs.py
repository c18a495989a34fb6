"""What benchmarks of whole predictions share: a run of `tagwise predict`, and a loop without it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch

from tagwise import Predictor, load_model
from tagwise.prediction.outputs import Predictions
from tagwise.prediction.run import PredictRun
from tagwise.prediction.sources import Source


def predict_run(
    predictor: Predictor, sources: list[Source], folder: str, pictures: bool
) -> PredictRun:
    """What the verb does with photos; iterating over it writes the files."""
    settings = {**predictor.settings(), "weights": "benchmark"}
    files = Predictions(folder, settings, pictures=pictures, resume=False)
    return PredictRun(predictor, sources, files, coco=None, progress=False)


def plain_loop(weights: str) -> Callable[[Sequence[Path]], None]:
    """A function that reads each photo, fits it, and runs the network as it was trained."""
    predictor = Predictor(load_model(weights), device="cpu", precision="fp32")

    @torch.inference_mode()
    def run(files: Sequence[Path]) -> None:
        for file in files:
            image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            array, _ = predictor.fitting.fit(image, 1)
            images = torch.from_numpy(array)[None].permute(0, 3, 1, 2)
            predictor.fitting.run(predictor.runner.forward, images)

    return run
