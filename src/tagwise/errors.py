"""Errors that are the user's to mend, and say how."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """Bad input: one line that says what is wrong and how to mend it.

    The command line prints it without a traceback and exits with code 2.
    """


def optional(module: str, extra: str, need: str) -> ModuleType:
    """A module that comes with an extra of tagwise.

    need: what needs it, such as "evaluation needs hotcoco", for the UserError where it is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{need}: pip install 'tagwise[{extra}]'") from error


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones, with the nearest of them.

    >>> str(unknown_name("weights", "peeple", ["people", "bees"]))
    "unknown weights 'peeple'; did you mean 'people'? Known: bees, people"
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {what} {name!r}{hint} Known: {', '.join(known)}")
