"""Errors that are the user's to mend, and say how."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: one line that says what is wrong and how to mend it.

    The command line prints it without a traceback and exits with code 2.
    """


def unknown_name(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones, with the nearest of them.

    >>> str(unknown_name("weights", "peeple", ["people", "bees"]))
    "unknown weights 'peeple'; did you mean 'people'? Known: bees, people"
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UserError(f"unknown {what} {name!r}{hint} Known: {', '.join(known)}")
