"""The plan of a run: which images its shards hold, and what their results depend on.

It is written to `plan.json` first, so that `--resume` can tell the folder of another run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from tagwise.errors import UserError, brief
from tagwise.files import Store

_NAME, _FORMAT = "plan.json", 1
_MOST = 1000  # images of a shard by default
_LEAST = 8  # a smaller shard is not worth its files
_PER_WORKER = 8  # shards for each worker, so that all end at about the same time


@dataclass(frozen=True)
class Shard:
    """A part of the list. number: from 0. first: the index of its first image in the list."""

    number: int
    first: int
    images: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What the results of a run depend on.

    images: their number. images_sha256: checksum of their list. shard_size: images of a shard.
    weights: the model, with a checksum. settings: of the `Predictor`. format: version of the files.
    """

    images: int
    images_sha256: str
    shard_size: int
    weights: str
    settings: dict[str, Any]
    format: int = _FORMAT

    def shards(self, images: Sequence[str]) -> Iterator[Shard]:
        """The list of images, cut into shards."""
        for number, first in enumerate(range(0, len(images), self.shard_size)):
            part = tuple(images[first : first + self.shard_size])
            yield Shard(number, first, part)


def make_plan(
    images: Sequence[str],
    shard_size: int | None,
    workers: int,
    weights: str,
    settings: dict[str, Any],
) -> Plan:
    """The plan of a run; shard_size: None chooses it by the number of images and workers."""
    if shard_size is None:
        shard_size = min(_MOST, max(_LEAST, len(images) // (_PER_WORKER * workers)))
    return Plan(len(images), list_checksum(images), shard_size, weights, settings)


def list_checksum(images: Sequence[str]) -> str:
    """The SHA-256 of a list of images, of which each is a line."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def open_plan(out: Store, plan: Plan, resume: bool, sized: bool) -> Plan:
    """Write the plan to an output folder, or continue the plan that is there.

    sized: whether the user gave the size of the shards; otherwise an earlier plan decides it.
    Raises UserError for a folder that has files already, unless `resume` continues the same run.
    """
    names = out.names()
    if not resume or not names:
        if _NAME in names:
            raise UserError(
                f"{out} has the results of an earlier run; continue it with --resume, or give "
                "another --out"
            )
        if names:
            raise UserError(f"{out} is not empty (it has {names[0]}); give another --out")
        out.write(_NAME, json.dumps(asdict(plan), indent=1).encode() + b"\n")
        return plan
    if _NAME not in names:
        raise UserError(f"{out} is no output of a run in shards (no {_NAME}); give another --out")
    before = _read(out)
    changes = _changes(before, plan, sized)
    if changes:
        raise UserError(
            f"{out} was made by another run ({'; '.join(changes)}); give the same images and "
            "options, or another --out"
        )
    return before


def _read(out: Store) -> Plan:
    try:
        values = json.loads(out.read(_NAME) or b"")
        plan = Plan(**{field.name: values[field.name] for field in fields(Plan)})
        if plan.format > _FORMAT:
            raise UserError(f"{out} was made by a newer version of tagwise; use that version")
        if not (isinstance(plan.settings, dict) and plan.shard_size >= 1):
            raise ValueError(plan)
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{out}/{_NAME} is damaged; give another --out") from error
    return plan


def _changes(before: Plan, plan: Plan, sized: bool) -> list[str]:
    now = json.loads(json.dumps(plan.settings))
    pairs = {key: (before.settings.get(key), now.get(key)) for key in {**before.settings, **now}}
    pairs |= {"weights": (before.weights, plan.weights), "images": (before.images, plan.images)}
    if sized:
        pairs["shard_size"] = (before.shard_size, plan.shard_size)
    found = [
        f"{key} was {brief(old, 100)}, is now {brief(new, 100)}"
        for key, (old, new) in pairs.items()
        if old != new
    ]
    if not found and before.images_sha256 != plan.images_sha256:
        found = ["it had other images"]
    return found
