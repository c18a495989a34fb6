"""Fetching the files of public models, with pooch's downloader.

A file gets its name in the cache only after its checksum was compared; nothing opens it before. A
download that breaks off leaves NAME.part, which the next one continues. A file with the wrong
checksum is kept as NAME.wrong, and is never opened.

A redirect to another host, or from https to http, is only followed if the checksum is whole. The
first eight digits, which mmpose and mmdetection publish, reveal damage, but whoever wants to can
make another file with the same digits.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from tqdm import tqdm

from tagwise.errors import UserError
from tagwise.files import SNIFFED, growing_file, kind_of, open_regular
from tagwise.published.cache import INSTEAD, cache_folder, is_set, mirrored
from tagwise.published.registry import RemoteFile

if TYPE_CHECKING:
    import requests

_TIMEOUT = 30  # seconds without any answer
_CHUNK = 1 << 16  # bytes; what is broken off in one is lost
_PARTIAL, _NO_SUCH_RANGE = 206, 416  # answers to a request for the rest of a file
_MOST = 4 << 30  # bytes of a file whose size is not published


def fetch(remote: RemoteFile, model: str) -> tuple[Path, bool]:
    """The file in the cache, and whether it was downloaded now; the caller holds the lock.

    model: whose file it is, for messages. A file that is there already, for example because it was
    downloaded by hand, is taken if its checksum is right.
    Raises UserError; see the text of this module.
    """
    path = cache_folder() / remote.name
    if path.exists():
        if not has_checksum(path, remote.checksum):
            raise UserError(
                f"{path} is not the file of {model}: its checksum does not begin with "
                f"{remote.checksum}; remove it to download the file again"
            )
        return path, False
    if is_set("TAGWISE_OFFLINE"):
        raise UserError(
            f"{model} is not in the cache, and --offline or TAGWISE_OFFLINE forbids the network; "
            f"download {remote.url} elsewhere and put it into {path.parent}"
        )
    part = path.with_name(f"{path.name}.part")
    while not _download(remote, part, model):
        pass
    if not has_checksum(part, remote.checksum):
        raise _set_aside(part, path, remote)
    os.replace(part, path)
    return path, True


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether the checksum of a file begins with these digits; checksum: see `RemoteFile`."""
    algorithm, _, digits = checksum.partition(":")
    with open_regular(path, "download") as file:
        return hashlib.file_digest(file, algorithm).hexdigest().startswith(digits)


class _RestartError(Exception):
    """The server does not continue the file; it must be sent from its beginning."""


def _download(remote: RemoteFile, part: Path, model: str) -> bool:
    """Download a file, or the rest of it. Returns False if it must be started again."""
    import pooch  # these two take a quarter of a second to import
    import requests

    url = mirrored(remote.url)
    with growing_file(part, INSTEAD) as file:
        transfer = _Transfer(file, remote)
        start = transfer.size
        if remote.size is not None and start == remote.size:
            return True
        wanted = {"Range": f"bytes={start}-"} if start else {}
        # pooch sets the total of the bar to the number of bytes.
        total = remote.size or 1
        bar = tqdm(desc=model, total=total, unit="B", unit_scale=True, disable=None, leave=False)
        downloader = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=_CHUNK,
            timeout=_TIMEOUT,
            headers={"Accept-Encoding": "identity", **wanted},
            hooks={"response": transfer.check},
        )
        try:
            with bar:
                downloader(url, transfer, None)
        except _RestartError:
            file.truncate(0)
            if start:
                return False
            raise UserError(f"{url} sends no content; {_by_hand(remote)}") from None
        except requests.RequestException as error:
            raise _network_error(error, url, remote, transfer.size) from error
        if remote.size is not None and transfer.size < remote.size and transfer.ends_unknown:
            raise _broken_off(remote, transfer.size, "the server ended it")
    return True


class _Transfer:
    """A file that is downloaded, with checks of the server's answer.

    ends_unknown: whether the server did not say how much it sends.
    """

    def __init__(self, file: BinaryIO, remote: RemoteFile) -> None:
        self._file, self._remote = file, remote
        self.flush, self.ends_unknown = file.flush, False

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def write(self, data: bytes) -> int:
        """Append to the file. Raises UserError for more bytes than a model can have."""
        most = _MOST if self._remote.size is None else self._remote.size
        if self.size + len(data) > most:
            self._file.truncate(0)
            raise UserError(
                f"{self._remote.url} sends more than the {most} bytes of {self._remote.name}; "
                f"nothing was kept; {_by_hand(self._remote)}"
            )
        return self._file.write(data)

    def check(self, answer: requests.Response, **_: Any) -> None:
        """Check the head of an answer before its content is read; requests calls this."""
        if answer.is_redirect:
            check_redirect(answer, self._remote)
        elif answer.status_code == _NO_SUCH_RANGE:
            raise _RestartError
        elif answer.ok:
            self._check_file(answer)

    def _check_file(self, answer: requests.Response) -> None:
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise UserError(
                f"{answer.url} is an HTML page (a sign-in or an error?), not the file; it was not "
                f"kept; {_by_hand(self._remote)}"
            )
        if answer.status_code != _PARTIAL:
            self._file.truncate(0)  # the server sends the whole file, from its beginning
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {self.size}-"):
            raise _RestartError
        self.ends_unknown = "Content-Length" not in answer.headers


def check_redirect(answer: requests.Response, remote: RemoteFile) -> None:
    """Raise UserError for a redirect to another host, unless the checksum is whole."""
    before = urlsplit(answer.url)
    after = urlsplit(urljoin(answer.url, answer.headers["Location"]))
    safer = before.scheme == after.scheme or after.scheme == "https"
    if (before.hostname == after.hostname and safer) or remote.is_proven:
        return
    raise UserError(
        f"{answer.url} leads to another host, {after.scheme}://{after.netloc}, which is not "
        f"followed, since only a part of the checksum of {remote.name} is published; "
        f"{_by_hand(remote)}"
    )


# ---------------------------------------------------------------------- what went wrong


def _network_error(
    error: requests.RequestException, url: str, remote: RemoteFile, size: int
) -> UserError:
    """The error for a failed request; size: bytes that the partial file has."""
    host = urlsplit(url).netloc
    if error.response is not None:
        answer = error.response
        return UserError(
            f"{host} answers {answer.status_code} {answer.reason} to {answer.url}; was the file "
            f"moved? {_by_hand(remote)}"
        )
    reason = " ".join(_innermost(error).split())[:150]
    if size:
        return _broken_off(remote, size, reason)
    return UserError(
        f"cannot download from {host} ({reason}); check the network, set HTTPS_PROXY or "
        f"TAGWISE_MIRROR, or {_by_hand(remote)}"
    )


def _broken_off(remote: RemoteFile, size: int, reason: str) -> UserError:
    whole = "" if remote.size is None else f" of {remote.size / 1e6:.1f}"
    return UserError(
        f"the download of {remote.name} broke off after {size / 1e6:.1f}{whole} MB ({reason}); "
        "the same command continues it"
    )


def _innermost(error: BaseException) -> str:
    """The cause at the bottom of a chain of errors of requests and urllib3."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _innermost(inner)
    text = inner if isinstance(inner, str) else str(error)
    return re.sub(r"^<?HTTPS?Connection.*?[)>]: ", "", text)


def _by_hand(remote: RemoteFile) -> str:
    return f"download {remote.url} by hand and put it into {cache_folder()}"


def _set_aside(part: Path, path: Path, remote: RemoteFile) -> UserError:
    """Rename a download with the wrong checksum, and return the error that names it."""
    aside = path.with_name(f"{path.name}.wrong")
    with open_regular(part, "download") as file:
        kind = kind_of(file.read(SNIFFED))
    os.replace(part, aside)
    is_a = f", but {kind}" if kind is not None and kind != "a ZIP archive" else ""
    return UserError(
        f"what was downloaded is not {remote.name}{is_a}: its checksum does not begin with "
        f"{remote.checksum}; it was not opened, and is kept as {aside}"
    )
