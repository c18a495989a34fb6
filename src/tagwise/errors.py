"""Errors that a user can fix, with messages that say how."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_LONGEST = 500  # characters of a name or of a list of names in an error


class UserError(Exception):
    """Bad input: one line that says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with its code. Line breaks, as names
    of files and messages of libraries may have, become spaces.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(str(message).splitlines()))


def optional(module: str, extra: str, need: str) -> ModuleType:
    """Import a module that an extra of tagwise installs.

    need: the start of the message if it is missing, such as "evaluation needs hotcoco". Raises
        UserError in that case.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{need}: pip install 'tagwise[{extra}]'") from error


def need_torch(what: str) -> None:
    """Raise UserError if torch is not installed. what: see `without_torch`."""
    if find_spec("torch") is None:
        raise without_torch(what)


def without_torch(what: str) -> UserError:
    """Return the error if torch is missing. what: what needs it, such as a verb or a file."""
    return UserError(
        f"{what} needs torch: pip install torch. Without it, `tagwise predict` runs files of "
        "`tagwise export`, with neither flip nor scales nor protocol"
    )


def brief(value: object, most: int = 60) -> str:
    """Format a value for an error, on one line of at most `most` characters.

    >>> brief([1] * 100, 12)
    '[1, 1, 1,...'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def unknown_name(
    what: str, name: str, known: Iterable[str], more: Iterable[str] = (), where: str = ""
) -> UserError:
    """Return the error for an unknown name, with the nearest known one.

    more: further known names, too many to list. where: what lists them.

    >>> str(unknown_name("weights", "peeple", ["people", "bees"]))
    "unknown weights 'peeple'; did you mean 'people'? Known: bees, people"
    """
    known = sorted(known)
    near = get_close_matches(name, [*known, *more], n=1) if len(name) <= _LONGEST else []
    hint = f"; did you mean {near[0]!r}?" if near else "."
    listed = ", ".join(known)
    listed = listed if len(listed) <= _LONGEST else f"{listed[:_LONGEST]}..."
    rest = f"; {where} lists more" if where else ""
    return UserError(f"unknown {what} {brief(name, _LONGEST)}{hint} Known: {listed}{rest}")
