"""Docstrings as Markdown: paragraphs, and one list entry per argument or field."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Shape|Reference|References|Example):$")


def described(text: str, names: Iterable[str]) -> dict[str, str]:
    """The description of each of `names` that a docstring explains: "lr: the learning rate."."""
    one = _either(names)
    out: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text) if one else ""):
        lines = ("\n" if is_title else line for line, is_title in _titled(block))
        joined = re.sub(r"[ \n]*\n[ \n]*", "\n", "\n".join(line.strip() for line in lines))
        parts = re.split(rf"(?:^|(?<=[.:)\n] ))({one}(?:, {one})*):\s", _spaced(joined, one))
        for keys, meaning in zip(parts[1::2], parts[2::2]):
            for key in keys.split(", "):
                out.setdefault(key, " ".join(meaning.split()))
    return out


def _either(names: Iterable[str]) -> str:
    """A pattern that matches one of the names; "" without names."""
    longest = sorted(set(names), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, longest))})" if longest else ""


def _spaced(text: str, one: str) -> str:
    """Text whose lines are joined, with a full stop before each name that begins a line."""
    return re.sub(rf"\n(?={one}(?:, {one})*:\s)", "\n ", text)


def _titled(block: str) -> Iterable[tuple[str, bool]]:
    """The lines of a block, and whether each is the title of the deeper lines below it."""
    lines = block.split("\n")
    for line, below in zip(lines, [*lines[1:], ""]):
        deeper = len(below) - len(below.lstrip()) > len(line) - len(line.lstrip())
        yield line, deeper and ":" not in line


def markdown(text: str, names: Iterable[str] = ()) -> str:
    """A docstring as Markdown; the arguments or fields called `names` become list entries."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(_block(block, _either(names)) for block in blocks)


def _block(block: str, one: str) -> str:
    if block.startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if block.startswith("    ") or block.lstrip().startswith(("- ", "| ")):
        return block
    out: list[str] = []
    for line, is_title in _titled(block):
        in_list = bool(out) and out[-1].startswith(("- ", "  "))
        if is_title and one:
            out += ["", f"*{line.strip()}*", ""]
        elif in_list and not line.startswith(" ") and not re.match(rf"{one or '$'}[,:]", line):
            out += ["", line]
        else:
            out += _line(line, one, in_list)
    return "\n".join(out).strip("\n")


def _line(line: str, one: str, in_list: bool) -> list[str]:
    """The lines of Markdown for one line of a docstring; in_list: it follows a list entry."""
    stripped = line.strip()
    if _SECTION.match(stripped):
        return ["", f"**{stripped[:-1]}**", ""]
    entries = re.split(rf"(?:^|(?<=[.] ))({one}(?:, {one})*): ", stripped) if one else [stripped]
    out = [] if not entries[0] else [("  " if in_list else "") + entries[0].strip()]
    for keys, meaning in zip(entries[1::2], entries[2::2]):
        marked = ", ".join(f"`{key}`" for key in keys.split(", "))
        out += [*([] if in_list or out else [""]), f"- {marked}: {meaning.strip()}"]
        in_list = True
    return out


def signature(value: Any, name: str) -> str:
    """The call of a function or class, one argument per line if it is long."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return f"{name}(...)"
    shown, marked = [], False
    for parameter in found.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not marked:
            shown.append("*")
            marked = True
        marked = marked or parameter.kind is parameter.VAR_POSITIONAL
        shown.append(_argument(parameter))
    text = f"{name}({', '.join(shown)})"
    if len(text) > 88:
        text = f"{name}(\n    " + ",\n    ".join(shown) + ",\n)"
    return text


def _argument(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return stars + parameter.name
    return f"{parameter.name}={default_text(parameter.default)}"


def default_text(value: Any) -> str:
    """A default value, short and the same on every machine."""
    text = repr(value)
    if "'" in text and '"' not in text:
        text = text.replace("'", '"')  # as the formatter writes them
    return text if len(text) < 60 and " at 0x" not in text else "..."
