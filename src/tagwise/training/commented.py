"""A recipe as YAML text in which comments give the reason for each value."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_][\w./@-]*")
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # YAML 1.1


def commented_recipe(
    tree: Mapping[str, Any], reasons: Mapping[str, str], head: Sequence[str]
) -> str:
    """The YAML text of a recipe.

    tree: the values, as `Recipe.from_dict` takes them. reasons: comments, by the dotted name of the
    value or section. head: comments at the beginning, each on lines of its own.

    >>> print(commented_recipe({"optim": {"steps": 9}}, {"optim.steps": "few"}, ["Bees"]))
    # Bees
    optim:
      steps: 9  # few
    <BLANKLINE>
    """
    lines = [line for text in head for line in _comment(text, "")]
    return "\n".join([*lines, *_section(tree, reasons, "", "")]) + "\n"


def _section(
    tree: Mapping[str, Any], reasons: Mapping[str, str], path: str, indent: str
) -> Iterator[str]:
    for key, value in tree.items():
        name = f"{path}{key}"
        reason = _printable(reasons.get(name, ""))
        reasons_inside = any(each.startswith(f"{name}.") for each in reasons)
        if isinstance(value, Mapping) and value and (reasons_inside or key in _SECTIONS):
            line, below = f"{indent}{key}:", _section(value, reasons, f"{name}.", f"{indent}  ")
        elif key == "train" and isinstance(value, list):
            line, below = f"{indent}{key}:", (f"{indent}  - {_value(each)}" for each in value)
        else:
            line, below = f"{indent}{key}: {_value(value)}", ()
        beside = f"{line}  # {reason}" if reason else line
        if len(beside) <= _WIDTH:
            yield beside
        else:
            yield from _comment(reason, indent)
            yield line
        yield from below


_SECTIONS = ("task_options", "model", "data", "augment", "optim", "run", "info")


def _comment(text: str, indent: str) -> list[str]:
    """A text as lines of comments; a text that begins with spaces is not wrapped."""
    text = _printable(text)
    if text.startswith(" "):
        return [f"{indent}# {text.rstrip()}"]
    # Paths stay whole.
    whole = {"break_on_hyphens": False, "break_long_words": False}
    lines = textwrap.wrap(text, _WIDTH - len(indent) - 2, **whole)
    return [f"{indent}# {line}" for line in lines]


def _printable(text: str) -> str:
    """The text without characters that YAML forbids or that end a line."""
    return "".join(c if c.isprintable() else " " for c in text)


def _value(value: Any) -> str:
    """A value on one line. Text is quoted unless it is a word or a path."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_value(key)}: {_value(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if not isinstance(value, str):
        return yaml.safe_dump(value).splitlines()[0]
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    quoted = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)
    return quoted.rstrip("\n")
