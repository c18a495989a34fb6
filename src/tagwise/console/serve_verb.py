"""The verb `serve` of the command line; the others are in `cli.py`."""

from __future__ import annotations

from pathlib import Path

import tagwise
from tagwise.console.arguments import BatchSize, Device, Weights


def serve(
    weights: Weights = "people",
    host: str = "127.0.0.1",
    port: int = 8000,
    annotations: Path | None = None,
    images: Path | None = None,
    workers: int = 1,
    queue: int = 64,
    batch_size: BatchSize = None,
    device: Device = "auto",
    open: bool = True,
) -> int:
    """Open the tag explorer: a page that shows, and lets you change, how detections are grouped.

    Beside the page, POST /predict answers programs; /docs explains how. Only this computer can
    reach the server, unless --host is given; then a token is needed, which is printed. Needs
    tagwise[serve].

    $ tagwise serve
    $ tagwise serve --weights bees --annotations val.json --images photos
    $ tagwise serve --host 0.0.0.0 --port 80 --workers 4 --no-open

    Args:
        host: Address to listen on; 0.0.0.0 is every network of this computer.
        port: Port to listen on; 0 takes a free one.
        annotations: Labels to compare with: COCO JSON, or a folder of label maps.
        images: Folder of the labelled photos.
        workers: Processes that answer POST /predict.
        queue: Images that may wait for the network; more are refused with status 503.
        open: Open the page in a browser.
    """
    tagwise.serve(**locals())
    return 0
