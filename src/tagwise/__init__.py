"""Associative embedding for PyTorch: detect everything at once, then group it by tag.

Find the people in photos, with a model that comes with the package:

    import tagwise

    for poses in tagwise.predict("photos", weights="people"):
        print(poses.file, len(poses), poses.scores)

Keep a model for many images:

    predictor = tagwise.Predictor("blood", threshold=0.5)
    boxes = predictor("photo.jpg")
    boxes.plot().save("boxes.png")

Use the loss and the grouping in your own network:

    from tagwise import grouping, losses

    pull, push = losses.pull_push(tags, group, image)
    people = grouping.decode_keypoints(heatmaps, tag_maps)

Public names are imported on first use, so that `import tagwise` takes milliseconds. The
command line has the same verbs, see `tagwise --help`.
"""

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagwise import grouping, losses, plot, scale
    from tagwise.commands.calibrate import calibrate
    from tagwise.commands.convert import convert
    from tagwise.commands.diagnose import diagnose
    from tagwise.commands.evaluate import evaluate
    from tagwise.commands.export import export
    from tagwise.commands.init import init
    from tagwise.commands.label import label
    from tagwise.commands.models import list_models
    from tagwise.commands.new import new
    from tagwise.commands.predict import predict
    from tagwise.commands.serve import serve
    from tagwise.commands.suggest import suggest
    from tagwise.commands.track import track
    from tagwise.commands.train import train
    from tagwise.commands.tune import tune
    from tagwise.errors import UserError
    from tagwise.grouping import peaks
    from tagwise.models.create import create_model
    from tagwise.models.load import load_model
    from tagwise.models.model_file import save_model
    from tagwise.prediction.predictor import Predictor
    from tagwise.results import Boxes, Masks, Poses, Result
    from tagwise.skeletons import Skeleton
    from tagwise.tracking.tracker import Tracker, TrackSettings

__version__ = "0.1.0"

__all__ = [
    "Boxes",
    "Masks",
    "Poses",
    "Predictor",
    "Result",
    "Skeleton",
    "TrackSettings",
    "Tracker",
    "UserError",
    "calibrate",
    "convert",
    "create_model",
    "diagnose",
    "evaluate",
    "export",
    "grouping",
    "init",
    "label",
    "list_models",
    "load_model",
    "losses",
    "new",
    "peaks",
    "plot",
    "predict",
    "save_model",
    "scale",
    "serve",
    "suggest",
    "track",
    "train",
    "tune",
]

# The module that defines each public name, and public modules.
_MODULES = {
    "grouping": "tagwise.grouping",
    "losses": "tagwise.losses",
    "peaks": "tagwise.grouping.peaks",
    "plot": "tagwise.plot",
    "scale": "tagwise.scale",
}
_NAMES = {
    "Boxes": "tagwise.results",
    "Masks": "tagwise.results",
    "Poses": "tagwise.results",
    "Result": "tagwise.results",
    "Predictor": "tagwise.prediction.predictor",
    "Skeleton": "tagwise.skeletons",
    "TrackSettings": "tagwise.tracking.tracker",
    "Tracker": "tagwise.tracking.tracker",
    "UserError": "tagwise.errors",
    "calibrate": "tagwise.commands.calibrate",
    "convert": "tagwise.commands.convert",
    "create_model": "tagwise.models.create",
    "diagnose": "tagwise.commands.diagnose",
    "evaluate": "tagwise.commands.evaluate",
    "export": "tagwise.commands.export",
    "init": "tagwise.commands.init",
    "label": "tagwise.commands.label",
    "list_models": "tagwise.commands.models",
    "load_model": "tagwise.models.load",
    "new": "tagwise.commands.new",
    "predict": "tagwise.commands.predict",
    "save_model": "tagwise.models.model_file",
    "suggest": "tagwise.commands.suggest",
    "serve": "tagwise.commands.serve",
    "track": "tagwise.commands.track",
    "train": "tagwise.commands.train",
    "tune": "tagwise.commands.tune",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse any other name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES and name not in _NAMES:
            raise AttributeError(f"module 'tagwise' has no attribute {name!r}")
        # Imports create hundreds of thousands of objects that stay: searching them for garbage
        # again and again would take a fifth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            module = import_module(_MODULES.get(name) or _NAMES[name])
        finally:
            if collecting:
                gc.enable()
        value = module if name in _MODULES else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
