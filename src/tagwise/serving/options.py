"""The options of a server, checked before it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tagwise.errors import UserError
from tagwise.settings import Count, Positive, Range, Settings

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ServeOptions(Settings):
    """What a server allows, and where it listens.

    host, port: the address; port 0 takes a free one. workers: processes that run `POST /predict`;
        1 runs it in the server's own process.
    queue: requests for the network that may wait; more are refused with 503.
    batch_size: images per forward pass at most, of those that wait. None: that of `Predictor`.
    upload_mb: the largest image file. megapixels: the largest image.
    waiting_mb: bytes of all uploads together that may be in memory.
    maps_mb, images: the maps that the explorer keeps in memory, and of how many images.
    seconds: the longest time that a client may take to send a request.
    token: required from clients if not empty.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8000
    workers: Annotated[int, Range(1, 256)] = 1
    queue: Count = 64
    batch_size: Count | None = None
    upload_mb: Positive = 32.0
    megapixels: Positive = 60.0
    waiting_mb: Positive = 256.0
    maps_mb: Positive = 512.0
    images: Count = 32
    seconds: Positive = 30.0
    token: str = ""

    @property
    def upload_bytes(self) -> int:
        """The largest upload in bytes."""
        return int(self.upload_mb * MEBIBYTE)

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this computer's own.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_labels(annotations: str | Path | None, images: str | Path | None) -> None:
    """Raise UserError if only one of the two is given."""
    if (annotations is None) != (images is None):
        missing = "images" if images is None else "annotations"
        raise UserError(f"labels need both annotations and images; give {missing} too")
