"""Manifests: CSV, Parquet or JSON lines that list images, one per row."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from tagwise.data.images import SUFFIXES
from tagwise.errors import UserError, brief, optional
from tagwise.files import is_address, open_regular, open_store, read_address, with_attempts

SUFFIXES_OF_MANIFESTS = (".csv", ".parquet", ".jsonl", ".ndjson")
COLUMNS = ("image", "path", "file", "file_name", "filename", "filepath", "url", "uri", "address")
"""Names of the column with the images, in order of preference."""

_FOLDERS = 1000  # of stores that are searched for missing images


def is_manifest(source: str) -> bool:
    """Whether a source is a manifest, by its suffix."""
    return PurePath(source).suffix.lower() in SUFFIXES_OF_MANIFESTS


def read_manifest(source: str) -> list[str]:
    """The images that a manifest lists, in its order.

    source: a file or the address of one. Its images are addresses, or paths relative to its folder.
    Raises UserError if it cannot be read, lists no images or one twice, and for missing files.
    Images at http addresses are not looked for, nor those in more than 1,000 folders of stores.
    """
    content = read_address(source) if is_address(source) else _content(source)
    read = {".csv": _csv, ".parquet": _parquet}.get(PurePath(source).suffix.lower(), _json_lines)
    entries = read(content, source)
    if not entries:
        raise UserError(f"{source} lists no images; it has no rows")
    for row, entry in enumerate(entries, 1):
        if not isinstance(entry, str) or not entry.strip():
            raise UserError(f"{source}: row {row} names no image but {brief(entry)}; give a path")
    folder = source.rpartition("/")[0] if is_address(source) else str(Path(source).parent)
    images = [_placed(entry.strip(), folder) for entry in entries]
    _refuse_duplicates(images, source)
    _refuse_missing(images, source)
    return images


def _content(source: str) -> bytes:
    with open_regular(source, "manifest") as file:
        return file.read()


def _placed(entry: str, folder: str) -> str:
    """A path relative to the folder of the manifest, or an address as it is."""
    if is_address(entry):
        return entry
    return f"{folder}/{entry}" if is_address(folder) else os.path.normpath(Path(folder, entry))


# ---------------------------------------------------------------------- formats


def _csv(content: bytes, source: str) -> list[Any]:
    rows = [row for row in csv.reader(io.StringIO(_text(content, source))) if row]
    if not rows:
        return []
    first = rows[0]
    if len(first) == 1 and PurePath(first[0]).suffix.lower() in SUFFIXES:  # it has no header
        return [row[0] for row in rows]
    number = first.index(_column([name.strip() for name in first], source))
    return [row[number] if number < len(row) else None for row in rows[1:]]


def _parquet(content: bytes, source: str) -> list[Any]:
    parquet = optional("pyarrow.parquet", "scale", f"{source} needs pyarrow")
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        column = _column(file.schema_arrow.names, source)
        return file.read([column]).column(column).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's errors are of both types
        raise UserError(f"{source} is not Parquet: {brief(str(error), 200)}") from error


def _json_lines(content: bytes, source: str) -> list[Any]:
    found = []
    for number, line in enumerate(_text(content, source).splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(
                f"{source}: line {number} is not JSON; write one object or string per line"
            ) from None
        found.append(entry.get(_column(list(entry), source)) if isinstance(entry, dict) else entry)
    return found


def _text(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{source} is not UTF-8 text; save it as UTF-8") from None


def _column(names: Sequence[str], source: str) -> str:
    """The column with the images."""
    known = next((name for name in COLUMNS if name in names), None)
    if known is None and len(names) == 1:
        return names[0]
    if known is None:
        raise UserError(
            f"{source} has the columns {brief(list(names), 200)}; name the one with the images "
            "image, path or url"
        )
    return known


# ---------------------------------------------------------------------- checks


def _refuse_duplicates(images: Sequence[str], source: str) -> None:
    rows: dict[str, int] = {}
    for row, image in enumerate(images, 1):
        before = rows.setdefault(image if is_address(image) else os.path.abspath(image), row)
        if before != row:
            count = len(images) - len(set(images))
            more = f", the first of {count} duplicates" if count > 1 else ""
            raise UserError(
                f"{source} lists {image} twice, in rows {before} and {row}{more}; keep one of them"
            )


def _refuse_missing(images: Sequence[str], source: str) -> None:
    there = _in_stores([image for image in images if is_address(image)])
    missing = [
        row
        for row, image in enumerate(images, 1)
        if not (there.get(image, True) if is_address(image) else os.path.exists(image))
    ]
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(images)} images of {source} do not exist; the first is "
            f"{images[missing[0] - 1]}, in row {missing[0]}: correct or remove these rows"
        )


def _in_stores(images: Sequence[str]) -> dict[str, bool]:
    """Whether images of stores exist, by address; without those that were not looked for."""
    folders: dict[str, list[str]] = {}
    for image in images:
        if not image.lower().startswith(("http://", "https://")):
            folders.setdefault(image.rpartition("/")[0], []).append(image)
    if len(folders) > _FOLDERS:
        return {}
    there = {}
    for folder, inside in folders.items():
        fs, path = open_store(folder)
        try:
            listed = with_attempts(
                lambda fs=fs, path=path: _names(fs, path), f"cannot list {folder}"
            )
        except UserError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            listed = set()
        there |= {image: image.rpartition("/")[2] in listed for image in inside}
    return there


def _names(fs: Any, path: str) -> set[str]:
    return {str(each).rstrip("/").rpartition("/")[2] for each in fs.ls(path, detail=False)}
