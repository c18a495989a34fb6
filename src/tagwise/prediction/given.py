"""Images that are given in other ways than files: tensors, http addresses and standard input."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.files import FetchError
from tagwise.published.cache import is_set

STDIN = "-"
"""The source that stands for the standard input."""

_MOST_BYTES = 100 << 20  # of an image from an address or standard input
_TIMEOUT = (10, 30)  # seconds to connect, and between two parts of an answer
_LONGEST = 120.0  # seconds for the whole answer
_CHUNK = 1 << 16


class RemoteImage:
    """An image at an http or https address, fetched when it is read.

    address: the address. filename: the same, for error messages.

    It is a source for `read_image`, which needs `read` and `seekable`. The image is fetched anew
    for each `read`. Raises UserError for other addresses.
    """

    remote = True  # so that many are fetched at the same time, see `Pipeline`

    def __init__(self, address: str) -> None:
        scheme = urlsplit(address).scheme.lower()
        if scheme not in ("http", "https"):
            raise UserError(
                f"{address} is an address of {scheme}; give an http or https address of an image"
            )
        self.address = self.filename = address

    @property
    def stem(self) -> str:
        """The name of the file in the address without its suffix, safe as a file name."""
        name = PurePosixPath(unquote(urlsplit(self.address).path)).stem
        return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "image"

    def seekable(self) -> bool:
        """False: the content is read as a whole."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Fetch the image. A size of 0 fetches nothing.

        Raises UserError for an answer that is not an image, is larger than 100 MB, or does not
        come within 30 s, and if TAGWISE_OFFLINE forbids to fetch anything; FetchError if the
        network or the server failed.
        """
        if size == 0:
            return b""
        import requests  # slow to import

        if is_set("TAGWISE_OFFLINE"):
            raise UserError(
                f"cannot fetch {self.address}: --offline or TAGWISE_OFFLINE forbids the network; "
                "give a file"
            )
        try:
            with requests.get(self.address, stream=True, timeout=_TIMEOUT) as answer:
                if answer.status_code != 200:
                    passing = answer.status_code == 429 or answer.status_code >= 500
                    raise (FetchError if passing else UserError)(
                        f"cannot fetch {self.address}: the server answered {answer.status_code} "
                        f"{answer.reason}; check the address"
                    )
                return _bounded(answer.iter_content(_CHUNK), self.address, _LONGEST)
        except (requests.RequestException, ValueError) as error:
            reason = brief(_innermost(error), 200)
            raise FetchError(f"cannot fetch {self.address} ({reason}); check it") from error


class StandardInput:
    """The image that a program sends to the standard input, read when it is needed."""

    filename, stem = "from standard input", "stdin"

    def seekable(self) -> bool:
        """False: the content is read as a whole."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Read the standard input to its end. Raises UserError if it is a terminal, or too long."""
        if size == 0:
            return b""
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("there is no image on standard input; send one: `cat photo.jpg | ...`")
        return _bounded(iter(lambda: sys.stdin.buffer.read(_CHUNK), b""), "standard input")


def images_of_tensor(tensor: Any) -> list[np.ndarray]:
    """Convert a torch tensor to images (H, W, 3) uint8 RGB.

    tensor: (3, H, W) or (1, H, W), or a batch (B, 3, H, W) or (B, 1, H, W); uint8 from 0 to 255, or
        floats from 0 to 1. Raises UserError for other shapes, types and values.
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3) or not all(shape[-2:]):
        raise UserError(
            f"a tensor of images has the shape (3, H, W) or (B, 3, H, W), not {shape}; for "
            "(H, W, 3), give tensor.permute(2, 0, 1)"
        )
    tensor = tensor.detach().cpu()
    values = (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()
    if tensor.dtype.is_floating_point:
        if not ((values >= 0) & (values <= 1)).all():
            raise UserError("a tensor of floats has values outside of 0 to 1; scale them")
        values = np.rint(values * 255).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise UserError(f"a tensor of images is uint8 or floats, not {tensor.dtype}; convert it")
    batch = values.reshape(-1, *shape[-3:]).transpose(0, 2, 3, 1)
    return [np.ascontiguousarray(np.broadcast_to(i, (*i.shape[:2], 3))) for i in batch]


def is_tensor(source: Any) -> bool:
    """Whether a source is a torch tensor; does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def _bounded(parts: Iterator[bytes], name: str, seconds: float = float("inf")) -> bytes:
    """Join parts. Raises UserError for more than 100 MB, and if they take longer than `seconds`."""
    content, end = io.BytesIO(), monotonic() + seconds
    for part in parts:
        content.write(part)
        if monotonic() > end:
            raise UserError(f"{name} did not arrive within {seconds:.0f} s; download it first")
        if content.tell() > _MOST_BYTES:
            raise UserError(
                f"{name} has more than {_MOST_BYTES >> 20} MB; save it to a file and give the file"
            )
    return content.getvalue()


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of an error of requests, which wraps several others."""
    while (inner := getattr(error, "reason", None) or (error.args or [None])[0]) and isinstance(
        inner, BaseException
    ):
        error = inner
    return str(error)
