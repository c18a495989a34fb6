"""`tagwise serve`: the tag explorer in a browser, and predictions for programs."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tagwise.commands.models import list_models
from tagwise.serving.app import require_packages
from tagwise.serving.models import ModelStore
from tagwise.serving.options import ServeOptions, check_labels
from tagwise.serving.server import bind, run_server
from tagwise.serving.state import State
from tagwise.serving.truth import LabelledSet


def serve(
    weights: str | Path = "people",
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    annotations: str | Path | None = None,
    images: str | Path | None = None,
    workers: int = 1,
    queue: int = 64,
    batch_size: int | None = None,
    device: str = "auto",
    open: bool = True,
) -> None:
    """Serve a page that explains how detections are grouped, and `POST /predict` beside it.

    Returns when a signal (Ctrl-C, SIGTERM) has ended the server; requests that run may finish.

    weights: the model that the page starts with, see `Predictor`. The page lists the others that
        are on this computer.
    host, port: the address. By default only this computer can reach it; elsewhere clients need a
        token: TAGWISE_TOKEN of the environment, or a new one, which is part of the printed
        address. Port 0 takes a free one.
    annotations, images: labels to compare with, as for `evaluate`.
    workers: processes that run predictions for programs. queue: images that may wait for the
        network. batch_size: images per forward pass at most; 1 on a CPU and 32 on a GPU by default.
    open: open the page in a browser.

    Needs tagwise[serve]. Raises UserError for a port in use and for bad arguments.
    """
    require_packages()
    check_labels(annotations, images)
    options = ServeOptions(
        host=host, port=port, workers=workers, queue=queue, batch_size=batch_size
    )
    if not options.is_local:
        options = ServeOptions(**{**asdict(options), "token": _token()})
    listener = bind(options)
    try:
        state = State(options, *_models(weights, device))
        loaded = state.store.load()
        if annotations is not None and images is not None:
            task = loaded.predictor.task
            state.labelled = LabelledSet(annotations, images, state.store.first, task)
        run_server(state, listener, open)
    finally:
        listener.close()


def _token() -> str:
    """The token of the environment, or a new one."""
    return os.environ.get("TAGWISE_TOKEN") or secrets.token_urlsafe(18)


def _models(weights: str | Path, device: str) -> tuple[ModelStore, list[dict[str, Any]]]:
    """The models that clients may name, and what the page says about each."""
    here = [model for model in list_models() if model.state in ("shipped", "cached")]
    store = ModelStore([weights], [model.name for model in here], device)
    finds = {model.name: model.finds for model in here}
    return store, [{"name": name, "finds": finds.get(name, "")} for name in store.names]
