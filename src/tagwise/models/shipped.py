"""The model files that ship with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_file(name: str) -> Path:
    """The file of a model that ships with the package."""
    return Path(str(resources.files("tagwise") / "weights" / f"{name}.safetensors"))


def shipped_models() -> list[str]:
    """Names of the models that ship with the package."""
    folder = resources.files("tagwise") / "weights"
    if not folder.is_dir():
        return []
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".safetensors")
    )


def is_shipped(path: Path) -> bool:
    """Whether a file is one of the models that ship with the package."""
    return path.parent == Path(str(resources.files("tagwise"))) / "weights"
