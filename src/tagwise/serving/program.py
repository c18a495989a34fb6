"""The addresses for programs: predictions, models, health, metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tagwise.serving.engine import Job
from tagwise.serving.openapi import document
from tagwise.serving.responses import RequestError, json_response
from tagwise.serving.state import State

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def predict(request: Request) -> Response:
    """`POST /predict`: the same JSON as `NAME.predictions.json` for the image in the body."""
    state: State = request.app.state.parts
    query = request.query_params
    model, threshold = state.store.check(query.get("weights")), _threshold(query.get("threshold"))
    state.engine.require_room()  # before the body is read
    async with state.uploads.image(request) as upload:
        job = Job(model, upload.content, upload.name, threshold)
        return json_response(await state.engine.predict(job))


def _threshold(text: str | None) -> float | None:
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = math.nan
    if value is not None and not 0 <= value <= 1:
        raise RequestError(400, f"threshold is {text!r}; use a score from 0 to 1")
    return value


async def models(request: Request) -> Response:
    """`GET /models`: the models that `weights` can name, and the default."""
    state: State = request.app.state.parts
    return json_response({"default": state.store.first, "models": list(state.models)})


async def health(request: Request) -> Response:
    """`GET /health`: 200 while requests are answered."""
    state: State = request.app.state.parts
    return json_response({"status": "ok", "model": state.store.first})


async def metrics(request: Request) -> Response:
    """`GET /metrics`: figures in the text format of Prometheus."""
    from starlette.responses import PlainTextResponse

    state: State = request.app.state.parts
    gauges = {
        "tagwise_queue_length": ("Images that wait for the network.", state.engine.waiting),
        "tagwise_upload_bytes": ("Bytes of uploads in memory.", state.uploads.held),
        "tagwise_explorer_images": ("Images that the explorer keeps.", len(state.sessions)),
        "tagwise_explorer_bytes": ("Bytes of their maps.", state.sessions.bytes),
    }
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return PlainTextResponse(state.metrics.text(gauges), media_type=kind)


async def openapi(request: Request) -> Response:
    """`GET /openapi.json`: this interface as an OpenAPI document."""
    return json_response(document(request.app.state.parts.options))
