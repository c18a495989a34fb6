"""Errors that a user can fix, with messages that say how."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class UserError(Exception):
    """Bad input: one line that says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with code 2.
    """


def optional(module: str, extra: str, need: str) -> ModuleType:
    """Import a module that an extra of tagwise installs.

    need: the start of the message if it is missing, such as "evaluation needs hotcoco". Raises
        UserError in that case.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{need}: pip install 'tagwise[{extra}]'") from error


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known one.

    >>> str(unknown_name("weights", "peeple", ["people", "bees"]))
    "unknown weights 'peeple'; did you mean 'people'? Known: bees, people"
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {what} {name!r}{hint} Known: {', '.join(known)}")
