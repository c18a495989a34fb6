"""The images of a large run, as paths and addresses, and how they are opened."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from tagwise.data.images import SUFFIXES, ImageSource
from tagwise.errors import UserError
from tagwise.files import is_address, open_store, read_address, with_attempts
from tagwise.prediction.folders import natural_key
from tagwise.prediction.given import STDIN, RemoteImage
from tagwise.prediction.live import is_live
from tagwise.prediction.sources import find_files
from tagwise.prediction.video import is_video_file
from tagwise.scale.manifest import is_manifest, read_manifest


class StoredImage:
    """An image at an address of a store or of http, read whole, with several attempts.

    It is a source for `read_image`. address: such as "s3://bucket/a.jpg".
    """

    remote = True  # so that many are fetched at the same time, see `Pipeline`

    def __init__(self, address: str) -> None:
        self.address = self.filename = address

    def seekable(self) -> bool:
        """False: the content is read as a whole."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Read the image. A size of 0 reads nothing. Raises UserError if it cannot be read."""
        if size == 0:
            return b""
        if not _is_http(self.address):
            return read_address(self.address)
        return with_attempts(RemoteImage(self.address).read, f"cannot fetch {self.address}")


def image_source(image: str) -> ImageSource:
    """What `read_image` reads for a path or an address."""
    return StoredImage(image) if is_address(image) else Path(image)


def list_images(sources: str | Path | Iterable[str | Path]) -> list[str]:
    """The images of a run, each once, in a fixed order.

    sources: one or several of: a photo, a folder, a pattern, a manifest (see `read_manifest`), and
        the same in a store of fsspec: "s3://bucket/photos", "s3://bucket/*.jpg". A folder is
        searched with its subfolders. An http address is a photo or a manifest.
    Raises UserError for a source that does not exist or may not be read, and for other sources.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    images: dict[str, None] = {}
    for source in given if isinstance(given, Iterable) else [given]:
        if not isinstance(source, str | os.PathLike):
            raise UserError(
                f"shards are made of files and addresses, not of a {type(source).__name__}; leave "
                "out workers and engine"
            )
        images |= dict.fromkeys(_images_of(os.fspath(source)))
    if not images:
        raise UserError("no image to predict from; give a file or a folder of photos")
    _check_access(images)
    return list(images)


def _images_of(source: str) -> list[str]:
    if source == STDIN or (is_live(source) and not os.path.exists(source)):
        raise UserError(f"shards are made of photos, and {source} is none; leave out --workers")
    if is_manifest(source):
        return read_manifest(source)
    if _is_http(source):
        return [source]
    if is_address(source):
        fs, path = open_store(source)
        if "file" not in fs.protocol:
            return _listed(source, fs, path)
        source = path
    found = [path for path, _ in find_files(source)]
    videos = [path for path in found if is_video_file(path)]
    if videos:
        raise UserError(
            f"{videos[0]} is a video, and shards are made of photos; leave out --workers"
        )
    return [str(path) for path in found]


def _listed(source: str, fs: Any, path: str) -> list[str]:
    """The photos that an address of a store names: a photo, a folder, or a pattern."""

    def listed() -> list[str]:
        if fs.isfile(path):
            return [path]
        found = fs.find(path)
        if not found and glob.has_magic(path):
            found = fs.glob(path)
        return [name for name in found if _is_photo(name)]

    names = with_attempts(listed, f"cannot list {source}")
    if not names:
        raise UserError(f"no image at {source}; check the address")
    scheme = source.partition("://")[0]
    found = [f"{scheme}://{str(name).lstrip('/')}" for name in names]
    return sorted(found, key=lambda name: natural_key(PurePath(name)))


def _is_photo(name: str) -> bool:
    path = PurePath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _is_http(source: str) -> bool:
    return is_address(source) and urlsplit(source).scheme.lower() in ("http", "https")


def _check_access(images: Iterable[str]) -> None:
    """Read the first image of each store, so that a missing right is found before the work."""
    checked = set()
    for image in images:
        store = "/".join(image.split("/")[:3])
        if is_address(image) and not _is_http(image) and store not in checked:
            checked.add(store)
            read_address(image)
