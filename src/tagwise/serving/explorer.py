"""The addresses of the page: open an image, regroup it, ask why, and look at its maps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, brief
from tagwise.plot import PALETTE
from tagwise.results.pictures import encode_jpeg
from tagwise.serving.layers import layer_png, list_layers
from tagwise.serving.models import Loaded
from tagwise.serving.responses import RequestError, json_response
from tagwise.serving.sessions import Session
from tagwise.serving.state import State
from tagwise.serving.views import View, view_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

Handler = Callable[["Request"], Awaitable["Response"]]

_MOST_JSON = 64_000  # bytes of a request with settings


async def info(request: Request) -> Response:
    """`GET /api/info`: models, limits, colours and labelled photos."""
    state: State = request.app.state.parts
    labelled = [] if state.labelled is None else state.labelled.names
    return json_response(
        {
            "default": state.store.first,
            "models": list(state.models),
            "palette": [list(colour) for colour in PALETTE],
            "labelled": labelled[:2000],
            "upload_mb": state.options.upload_mb,
        }
    )


async def open_image(request: Request) -> Response:
    """`POST /api/images?weights=&name=`: run the network on an upload, and keep its maps."""
    state: State = request.app.state.parts
    model = state.store.check(request.query_params.get("weights"))
    async with state.uploads.image(request) as upload:
        work = lambda: explore(state, model, upload.content, upload.name)  # noqa: E731
        return json_response(await state.engine.run(work))


async def picture(request: Request) -> Response:
    """`POST /api/picture`: an image as JPEG, for formats that browsers do not show."""
    state: State = request.app.state.parts
    async with state.uploads.image(request) as upload:
        return _binary(await state.engine.run(lambda: _jpeg(upload.content)), "image/jpeg")


async def open_labelled(request: Request) -> Response:
    """`POST /api/labelled/{index}?weights=`: the same for a photo of the labelled set."""
    state: State = request.app.state.parts
    model = state.store.check(request.query_params.get("weights"))
    path = _labelled_path(request)
    return json_response(await state.engine.run(lambda: explore(state, model, path, path.name)))


async def labelled_picture(request: Request) -> Response:
    """`GET /api/labelled/{index}/picture`: a photo of the labelled set as JPEG."""
    path = _labelled_path(request)
    return _binary(await asyncio.to_thread(_jpeg, path), "image/jpeg")


def _labelled_path(request: Request) -> Path:
    state: State = request.app.state.parts
    if state.labelled is None:
        raise RequestError(404, "no labels are loaded; start with --annotations and --images")
    return state.labelled.path(request.path_params["index"])


async def group(request: Request) -> Response:
    """`POST /api/images/{id}/group` with {"settings": {...}}: group the cached maps again."""
    session = _session(request)
    settings = _mapping(await _json(request), "settings")
    start = time.perf_counter()
    found = await asyncio.to_thread(_grouped, session, session.view.with_settings(settings))
    return json_response({**found, "ms": round((time.perf_counter() - start) * 1000, 2)})


async def why(request: Request) -> Response:
    """`POST /api/images/{id}/why` with {"settings", "a", "b"}: why two detections are together."""
    session, asked = _session(request), await _json(request)
    a, b = asked.get("a"), asked.get("b")
    if type(a) is not int or type(b) is not int:
        raise UserError(f"a and b are {brief((a, b))}; use the indices of two detections")
    view = session.view.with_settings(_mapping(asked, "settings"))
    return json_response((await asyncio.to_thread(view.why, a, b)).to_dict())


async def layer(request: Request) -> Response:
    """`GET /api/images/{id}/layers/{head}?channel=`: a map as PNG, one pixel per cell."""
    session, text = _session(request), request.query_params.get("channel", "")
    if text and not text.isdecimal():
        raise UserError(f"channel is {brief(text)}; use a whole number from 0")
    channel, head = int(text) if text else None, request.path_params["head"]
    return _binary(await asyncio.to_thread(layer_png, session.view, head, channel), "image/png")


# ---------------------------------------------------------------------- the work


def explore(state: State, model: str, source: bytes | Path, name: str | None) -> dict[str, Any]:
    """Run the network on an image, keep its maps, and return all that the page shows of it."""
    loaded = state.store.load(model)
    view = run_network(loaded, source)
    truth = None
    if state.labelled is not None:
        truth = state.labelled.truth(model, view.task, name, view.placement.size)
    session = Session(model, name, view, truth)
    state.sessions.add(session)
    return {"id": session.id, **_described(session), "group": _grouped(session, view)}


def run_network(loaded: Loaded, source: bytes | Path) -> View:
    """The view of an image. Raises UserError if it cannot be read."""
    predictor = loaded.predictor
    outcome = predictor.prepare(source)
    if outcome.error is not None:
        raise outcome.error
    maps = predictor.run([outcome]).passes(0, 1)[0].maps
    return view_of(predictor, outcome, maps, loaded.threshold)


def _described(session: Session) -> dict[str, Any]:
    view = session.view
    width, height = view.placement.size
    to_image = view.placement.affine.inverse() @ Affine.scaling(view.stride)
    skeleton = getattr(view.task, "skeleton", None)
    return {
        "model": session.model,
        "task": view.task.name,
        "name": session.name,
        "width": width,
        "height": height,
        "keypoints": list(skeleton.keypoints) if skeleton else [],
        "skeleton": [list(edge) for edge in skeleton.edges] if skeleton else [],
        "settings_name": view.settings_name,
        "sliders": [
            {**vars(slider), "value": view.settings()[slider.name]}
            for slider in view.sliders(view.task)
        ],
        "layers": list_layers(view.task),
        "to_image": to_image.matrix.tolist(),
        "truth": None if session.truth is None else session.truth.to_dict(),
    }


def _grouped(session: Session, view: View) -> dict[str, Any]:
    found = view.group()
    plain = found.to_dict()
    plain["result"] |= {"model": session.model}
    plain["result"]["image"]["file"] = session.name
    truth = session.truth
    return {**plain, "compared": None if truth is None else truth.compare(found.result)}


def _jpeg(source: bytes | Path) -> bytes:
    return encode_jpeg(read_image(source))


# ---------------------------------------------------------------------- requests


def _session(request: Request) -> Session:
    return request.app.state.parts.sessions.get(request.path_params["id"])


async def _json(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises RequestError: 400, 408, 413."""
    seconds, body = request.app.state.parts.options.seconds, b""
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_JSON:
                    raise RequestError(413, "the settings are too long")
        value = json.loads(body or b"{}")
    except TimeoutError:
        raise RequestError(408, f"the request did not arrive within {seconds:g} seconds") from None
    except (ValueError, RecursionError):
        raise RequestError(400, "the request is not JSON") from None
    if not isinstance(value, dict):
        raise RequestError(400, "the request is not a JSON object")
    return value


def _mapping(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise UserError(f"{name} is {brief(found)}; use names and numbers")
    return found


def _binary(content: bytes, kind: str) -> Response:
    from starlette.responses import Response

    return Response(content, media_type=kind)
