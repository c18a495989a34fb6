"""`tagwise models`: which models there are, shipped and public, and the facts about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagwise.errors import unknown_name
from tagwise.models.find import cached_file, is_cached
from tagwise.models.shipped import shipped_file, shipped_models
from tagwise.published.cache import cache_folder
from tagwise.published.registry import PublicModel, ShippedFacts, public_models, registry


@dataclass(frozen=True)
class ModelInfo:
    """A model that `weights` can name.

    state: "shipped" with the package, "cached" on this computer, "available" for download, or
        "unreadable" by this version of tagwise.
    megabytes: of the file to download, or of the one that ships; None if unknown.
    ap, measured_on: AP in %, and the photos and the test; of public models as their authors publish
        it. None and empty if unknown.
    ms: measured CPU milliseconds of one thread per photo, None if unknown.
    path: the file on this computer, None if there is none.
    source: where the facts about a public model are from. addresses: of its files.
    """

    name: str
    state: Literal["shipped", "cached", "available", "unreadable"]
    finds: str
    family: str
    megabytes: float | None
    ap: float | None
    measured_on: str
    licence: str
    ms: int | None
    path: Path | None
    note: str = ""
    citation: str = ""
    source: str = ""
    addresses: tuple[str, ...] = ()
    checksums: tuple[str, ...] = ()


def list_models(name: str | None = None) -> list[ModelInfo]:
    """List the models that `weights` can name: those that ship, then the public ones.

    name: only this model. Nothing is downloaded. Raises UserError for an unknown name.

    >>> [model.name for model in list_models() if model.state == "shipped"]  # doctest: +SKIP
    ['bees', 'blood', 'nuclei', 'people', 'robots']
    """
    known = [*shipped_models(), *public_models()]
    if name is not None and name not in known:
        raise unknown_name("model", name, shipped_models(), public_models(), "`tagwise models`")
    return [_info(each) for each in known if name in (None, each)]


def _info(name: str) -> ModelInfo:
    if name in public_models():
        return _of_public(public_models()[name])
    facts = registry().shipped.get(name, ShippedFacts(finds=""))
    path = shipped_file(name)
    return ModelInfo(
        name=name,
        state="shipped",
        finds=facts.finds,
        family="tagwise",
        megabytes=path.stat().st_size / 1e6,
        ap=facts.ap,
        measured_on=facts.set,
        licence="Apache-2.0",
        ms=facts.ms,
        path=path,
        note=facts.note,
        source=f"the card {path.with_suffix('.md').name} next to the file",
    )


def _of_public(model: PublicModel) -> ModelInfo:
    cached = is_cached(model)
    state = "cached" if cached else "available"
    return ModelInfo(
        name=model.name,
        state=state if model.is_readable else "unreadable",
        finds=model.finds,
        family=model.about,
        megabytes=None if model.size is None else model.size / 1e6,
        ap=model.ap,
        measured_on="" if model.ap is None else f"{model.set}, {model.test}",
        licence=model.licence,
        ms=model.ms,
        path=cached_file(model) if cached else None,
        note=model.note,
        citation=model.citation,
        source=model.source,
        addresses=tuple(file.url for file in model.files),
        checksums=tuple(file.checksum for file in model.files),
    )


# ---------------------------------------------------------------------- as text


def format_models(models: Sequence[ModelInfo]) -> str:
    """Format several models as a table, and one with all that is known about it."""
    return _facts(models[0]) if len(models) == 1 else _table(models)


def _table(models: Sequence[ModelInfo]) -> str:
    rows = [("name", "state", "finds", "MB", "AP", "measured on", "licence", "ms")]
    rows += [
        (
            model.name,
            model.state,
            model.finds,
            _number(model.megabytes, 1),
            _number(model.ap, 1),
            model.measured_on,
            model.licence,
            _number(model.ms, 0),
        )
        for model in models
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    right = {"MB", "AP", "ms"}
    lines = [
        "  ".join(
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, rows[0])
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", _LEGEND.format(folder=cache_folder())])


_LEGEND = """\
AP in %: of public models as published, of shipped models as measured by tagwise. ms: CPU, one
thread, fp32, one photo. Available models are downloaded when --weights names them, into
{folder}. `tagwise models NAME` tells more."""


def _facts(model: ModelInfo) -> str:
    state = model.state if model.path is None else f"{model.state}, {model.path}"
    ap = "" if model.ap is None else f"{model.ap:.1f} on {model.measured_on}"
    facts = {
        "state": state,
        "finds": model.finds,
        "family": model.family,
        "MB": _number(model.megabytes, 1, ""),
        "AP in %": ap,
        "note": model.note,
        "ms": "" if model.ms is None else f"{model.ms} (CPU, one thread, one photo)",
        "licence": model.licence,
        "citation": model.citation,
        "source": model.source,
    }
    lines = [f"{title:<10}{text}" for title, text in facts.items() if text]
    for address, checksum in zip(model.addresses, model.checksums):
        lines += [f"{'address':<10}{address}", f"{'checksum':<10}{checksum}"]
    if model.addresses and model.path is None:
        lines.append(f"{'by hand':<10}put the file into {cache_folder()}")
    return "\n".join([model.name, *lines])


def _number(value: float | None, digits: int, missing: str = "–") -> str:
    return missing if value is None else f"{value:.{digits}f}"
