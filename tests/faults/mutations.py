"""Mutations of JSON and YAML: valid content with damage by chance, reproducible by its seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

Tree = dict[str, Any] | list[Any]

# Texts that stand for what `json.dumps` cannot write; they are replaced in the text.
_DEEP, _LONG_NUMBER, _TWICE = "@deep@", "@number@", "@twice@"
_REPLACED = {
    f'"{_DEEP}"': "[" * 10_000 + "]" * 10_000,
    f'"{_LONG_NUMBER}"': "9" * 5_000,
    f'"{_TWICE}"': '{"id": 1, "id": 2}',
}
_SCALARS = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 7, 255, 10**6, 2**31, 2**63, 2**70, -(2**70)),
    *(1e308, -1e308, 1e-300, float("nan"), float("inf"), float("-inf")),
    *("", "0", "1", "-1", " ", "nan", "inf", "1e400", "yes", "null", "\ud800", "\0", "a\nb"),
    *("x" * 3000, "٣", "²", "../../../etc/passwd", "/", ".", "CON", "left", "🐝"),
    *(_DEEP, _LONG_NUMBER, _TWICE),
)


def value(rng: np.random.Generator) -> Any:
    """A value that does not belong where it is put."""
    if rng.integers(3):
        return _SCALARS[rng.integers(len(_SCALARS))]
    some = [_SCALARS[n] for n in rng.integers(len(_SCALARS), size=rng.integers(1, 5))]
    choices: list[Callable[[], Any]] = [
        list,
        dict,
        lambda: [[]],
        lambda: [[[[]]], {}],
        lambda: some,
        lambda: [some, some],
        lambda: {str(n): each for n, each in enumerate(some)},
        lambda: {"size": some[:2], "counts": some[0]},
        lambda: [0] * 20_000,
        lambda: ["a"] * 2_000,
        lambda: [float(n) for n in rng.normal(0, 100, rng.integers(1, 60))],
        lambda: [int(n) for n in rng.integers(-9, 99, rng.integers(1, 60))],
    ]
    return choices[rng.integers(len(choices))]()


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree, from the outside to the inside."""
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    found = [(node, key) for key in keys]
    for key in keys:
        if isinstance(node[key], dict | list):
            found += _places(node[key])
    return found


def _place(tree: Tree, rng: np.random.Generator) -> tuple[Any, Any] | None:
    """A random place of a tree, at any depth; places near the outside stop most files at once."""
    if rng.integers(2):
        every = _places(tree)
        return every[rng.integers(len(every))] if every else None
    node, found, depth = tree, None, 0
    while isinstance(node, dict | list) and node and (depth < 2 or rng.integers(3)):
        keys = list(node) if isinstance(node, dict) else range(len(node))
        found = node, keys[rng.integers(len(keys))]
        node, depth = found[0][found[1]], depth + 1
        if depth == 1 and rng.integers(16) == 0:
            break
    return found


def _change(tree: Tree, rng: np.random.Generator) -> str:
    """Change one place of a tree; returns what was done."""
    place = _place(tree, rng)
    if place is None:
        return "nothing"
    node, key = place
    old = node[key]
    way = int(rng.integers(10))
    if way == 0:
        del node[key]
        return f"{key!r} deleted"
    if way == 1 and isinstance(node, dict):
        new = ["", "ID", f"{key}s", "id", "name", "\ud800"][rng.integers(6)]
        node[new] = node.pop(key)
        return f"{key!r} renamed to {new!r}"
    if way == 2 and isinstance(node, list):
        node += copy.deepcopy([old] * int(rng.choice([1, 2, 300])))
        return f"{key!r} repeated"
    if way == 3:
        node[key] = [old] if rng.integers(2) else {"0": old}
        return f"{key!r} wrapped"
    if way == 4:
        node[key] = _other_type(old)
        return f"{key!r} of another type"
    if way == 5:
        other, there = _place(tree, rng) or place
        node[key] = copy.deepcopy(other[there])
        return f"{key!r} replaced by {there!r}"
    if way == 6 and isinstance(old, list):
        del old[int(rng.integers(len(old) + 1)) :]
        return f"{key!r} cut off"
    node[key] = value(rng)
    return f"{key!r} set to {repr(node[key])[:60]}"


def _other_type(old: Any) -> Any:
    """The same value in another type."""
    if isinstance(old, bool) or old is None:
        return str(old)
    if isinstance(old, int | float):
        return str(old)
    if isinstance(old, str):
        return {"text": old}
    if isinstance(old, list):
        return {str(n): each for n, each in enumerate(old)}
    return [list(pair) for pair in old.items()] if len(old) % 2 else list(old.values())


def mutate(tree: Tree, rng: np.random.Generator) -> tuple[Tree, str]:
    """A copy of a tree with one to four changes, and what was done."""
    tree = copy.deepcopy(tree)
    done = [_change(tree, rng) for _ in range(int(rng.choice([1, 1, 1, 2, 2, 4])))]
    return tree, ", ".join(done)


def mutated_bytes(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Text with damage: cut off, bytes changed or added, or a part of it missing or there twice."""
    way, place = int(rng.integers(5)), int(rng.integers(len(data) + 1))
    if way == 0:
        return data[:place], f"cut off after {place} bytes"
    if way == 1:
        put = bytes(rng.integers(0, 256, int(rng.integers(1, 4)), np.uint8))
        return data[:place] + put + data[place:], f"bytes {put!r} put in at {place}"
    if way == 2:
        put = [b"\0", b"\xff", b"[" * 10_000, b'"', b"{", b",", b"\n", b"}"][rng.integers(8)]
        return data[:place] + put + data[place:], f"{put[:9]!r} put in at {place}"
    end = min(len(data), place + int(rng.integers(1, 40)))
    if way == 3:
        return data[:place] + data[end:], f"bytes {place} to {end} missing"
    return data[:end] + data[place:], f"bytes {place} to {end} twice"


def as_json(tree: Tree) -> bytes:
    """JSON of a tree, with numbers and nesting that `json.dumps` would not write."""
    text = json.dumps(tree)
    for short, long in _REPLACED.items():
        text = text.replace(short, long)
    return text.encode()


def as_yaml(tree: Tree) -> bytes:
    """YAML of a tree; that of long or deep values is written in JSON's style."""
    text = yaml.safe_dump(tree, sort_keys=False)
    for short, long in _REPLACED.items():
        text = text.replace(f"'{short[1:-1]}'", long)
    return text.encode("utf-8", "surrogatepass")


def mutated_json(tree: Tree, rng: np.random.Generator) -> tuple[bytes, str]:
    """A JSON file with damage by chance, mostly of its values, and what was done."""
    if rng.integers(8) == 0:
        return mutated_bytes(as_json(tree), rng)
    changed, done = mutate(tree, rng)
    return as_json(changed), done


def mutated_yaml(tree: Tree, rng: np.random.Generator) -> tuple[bytes, str]:
    """A YAML file with damage by chance, mostly of its values, and what was done."""
    way = int(rng.integers(12))
    if way == 0:
        return mutated_bytes(as_yaml(tree), rng)
    if way == 1:
        odd = ["&a [*a]", "!!python/name:os.system", "2001-99-99", "!!binary 0", "{? [a] : 1}"]
        text = as_yaml(mutate({**tree, "odd": None}, rng)[0]) + b"\nother: "
        return text + odd[rng.integers(len(odd))].encode(), "YAML of a rare kind"
    changed, done = mutate(tree, rng)
    return (as_json if way == 2 else as_yaml)(changed), done
