"""The recipes that come with tagwise: of its own models, and of published ones."""

from __future__ import annotations

from pathlib import Path

from tagwise.errors import UserError, unknown_name
from tagwise.files import read_text, whole_file


def shipped_recipes() -> dict[str, Path]:
    """The files of all recipes that come with tagwise, by name, such as "robots.yaml".

    They are in the package; in a clone of the source, they are in the folder recipes beside it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.rglob("*.yaml"))}
    return {}


def copy_shipped_recipe(name: object) -> Path:
    """Copy the recipe of this name into the current folder, and return the path of the copy.

    name: with or without folders and ".yaml". Raises UserError if there is no such recipe, or if
    the current folder has a file of that name.
    """
    asked = Path(str(name)).name
    asked = asked if asked.endswith(".yaml") else f"{asked}.yaml"
    known = shipped_recipes()
    if asked not in known:
        raise unknown_name("recipe", asked, known)
    copy = Path(asked)
    if copy.exists():
        raise UserError(f"{copy} exists in this folder already; rename it, or train with it")
    text = read_text(known[asked], "recipe")
    with whole_file(copy) as file:
        file.write(text.encode())
    return copy


def existing_recipe(path: str | Path) -> str | Path:
    """Return the path; raise UserError if it does not exist, but a shipped recipe has its name."""
    name = Path(path).name
    if not Path(path).exists() and name in shipped_recipes():
        raise UserError(
            f"{path} does not exist; a recipe of this name comes with tagwise: "
            f"`tagwise train {name} --copy` copies it here"
        )
    return path
