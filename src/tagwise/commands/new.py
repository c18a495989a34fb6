"""`tagwise new`: a starting point for a problem of one's own, copied from a template."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagwise.errors import UserError, brief, unknown_name
from tagwise.files import make_folder, read_text, removed_on_failure, whole_file

_TEMPLATES = Path(__file__).parent / "templates"
_PLACEHOLDER = "my_task"  # the name of the package in the files of a template
_COPIED = (".py", ".md")


@dataclass(frozen=True)
class NewReport:
    """What `new` wrote.

    folder: the new package. files: all files written. replaced: those that existed before.
    """

    folder: Path
    files: tuple[Path, ...]
    replaced: tuple[Path, ...]

    def __str__(self) -> str:
        name, parent = self.folder.name, self.folder.parent
        names = ", ".join(path.name for path in self.files)
        lines = [f"wrote {self.folder}: {names}"]
        if self.replaced:
            lines.append(f"replaced {', '.join(path.name for path in self.replaced)}")
        where = "" if parent == Path() else f" in {parent}"
        lines += [f"next{where}:", f"  python -m {name}.train", f"  python -m pytest {name}"]
        return "\n".join([*lines, f"then change the five places that {name}/README.md lists"])


def new(
    what: Literal["ingredient"],
    name: str,
    *,
    out: str | Path = Path(),
    overwrite: bool = False,
) -> NewReport:
    """Write a small, complete program into a new folder, as a starting point for one of your own.

    "ingredient" groups the points of synthetic scenes by tags. It has a data set, a network, the
    loss and the grouping, figures, a picture and tests, and needs torch, matplotlib and tagwise.
    `docs/new_ingredient.md` says which five places to change for another problem.

    what: the template; there is one, "ingredient".
    name: of the new package and its folder, OUT/NAME: letters, digits and _.
    out: the folder that gets the package.
    overwrite: replace the files of an earlier call; other files in the folder stay.

    Raises UserError for a name that Python cannot import, or that would hide another module, and if
    the folder exists.

    >>> print(new("ingredient", "my_task"))  # doctest: +SKIP
    """
    known = [path.name for path in _TEMPLATES.iterdir() if path.is_dir()]
    if what not in known:
        raise unknown_name("template", str(what), known)
    folder = Path(out) / _checked_name(name, Path(out))
    if folder.exists() and not overwrite:
        raise UserError(f"{folder} exists; add --overwrite to replace its files, or name another")
    texts = {
        folder / path.name.replace(_PLACEHOLDER, name): read_text(path, "template")
        for path in sorted((_TEMPLATES / what).iterdir())
        if path.suffix in _COPIED
    }
    replaced = tuple(path for path in texts if path.exists())
    with removed_on_failure(folder):
        make_folder(folder)
        for path, text in texts.items():
            with whole_file(path) as file:
                file.write(text.replace(_PLACEHOLDER, name).encode())
    return NewReport(folder, tuple(texts), replaced)


def _checked_name(name: str, out: Path) -> str:
    """Return the name. Raises UserError if Python could not import a package of that name."""
    if not isinstance(name, str) or not (name.isidentifier() and name.isascii()):
        raise UserError(
            f"{brief(name)} is not a name of a Python package; use letters, digits and _, and no "
            "digit first, such as my_task"
        )
    if keyword.iskeyword(name):
        raise UserError(f"{name} is a word of the Python language; give another name")
    if name in sys.stdlib_module_names or name.startswith("__"):
        raise UserError(f"{name} is the name of a module of Python; give another name")
    found = importlib.util.find_spec(name)
    if found and found.origin and Path(found.origin).parent != (out / name).resolve():
        raise UserError(f"{name} is the name of a package that is installed; give another name")
    return name
