"""Associative embedding for PyTorch: detect everything at once, group it by tag.

Public names are imported on first use, so that `import tagwise` stays quick.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_PUBLIC = {
    "losses": "tagwise.losses",
    "peaks": "tagwise.peaks",
    "grouping": "tagwise.grouping",
    "Skeleton": "tagwise.skeletons",
    "Poses": "tagwise.results",
    "Boxes": "tagwise.results",
    "create_model": "tagwise.models.zoo",
    "load_model": "tagwise.models.zoo",
    "save_model": "tagwise.models.zoo",
    "Predictor": "tagwise.predict",
    "predict": "tagwise.predict",
    "train": "tagwise.train",
    "evaluate": "tagwise.evaluate",
    "track": "tagwise.track",
    "convert": "tagwise.convert",
    "export": "tagwise.export",
    "Tracker": "tagwise.tracker",
    "TrackSettings": "tagwise.tracker",
}
_MODULES = {"losses", "peaks", "grouping"}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tagwise' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    """Keeps `tagwise.predict` the function, although a module has the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        # The import system calls this with every module of the package that it has loaded.
        if name in _PUBLIC and name not in _MODULES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
