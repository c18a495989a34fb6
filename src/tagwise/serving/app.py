"""The application: every address of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagwise.errors import UserError, optional
from tagwise.serving import explorer, program
from tagwise.serving.responses import RequestError, error_response
from tagwise.serving.security import Guard
from tagwise.serving.state import State

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

STATIC = Path(__file__).parent / "static"

_NEED = "serve needs starlette, uvicorn and python-multipart"


def require_packages() -> None:
    """Raise UserError unless the packages of the extra `serve` are installed."""
    for module in ("starlette", "uvicorn", "python_multipart"):
        optional(module, "serve", _NEED)


def create_app(state: State) -> Starlette:
    """The application of a server, for uvicorn or another ASGI server.

    Raises UserError if the extra `serve` is not installed.
    """
    require_packages()
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware

    handlers = dict.fromkeys((RequestError, UserError, HTTPException), _answer)
    app = Starlette(
        routes=_routes(),
        lifespan=_lifespan,
        exception_handlers=handlers,
        middleware=[Middleware(Guard, options=state.options, metrics=state.metrics)],
    )
    app.state.parts = state
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    engine = app.state.parts.engine
    await engine.start()
    try:
        yield
    finally:
        await engine.stop()


def _routes() -> list[Any]:
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    gets = {
        "/": _page("index.html"),
        "/docs": _page("docs.html"),
        "/models": program.models,
        "/health": program.health,
        "/metrics": program.metrics,
        "/openapi.json": program.openapi,
        "/api/info": explorer.info,
        "/api/images/{id}/layers/{head}": explorer.layer,
        "/api/labelled/{index:int}/picture": explorer.labelled_picture,
    }
    posts = {
        "/predict": program.predict,
        "/api/images": explorer.open_image,
        "/api/picture": explorer.picture,
        "/api/images/{id}/group": explorer.group,
        "/api/images/{id}/why": explorer.why,
        "/api/labelled/{index:int}": explorer.open_labelled,
    }
    return [
        *(Route(path, handler) for path, handler in gets.items()),
        *(Route(path, handler, methods=["POST"]) for path, handler in posts.items()),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        from starlette.responses import FileResponse

        return FileResponse(STATIC / name, headers={"cache-control": "no-cache"})

    return page


async def _answer(request: Request, error: Exception) -> Response:
    """The answer to a request that failed."""
    status = getattr(error, "status_code", None)
    if status is not None:  # of starlette: unknown address, wrong method
        headers = getattr(error, "headers", None) or {}
        known = RequestError(status, f"{request.method} {request.url.path}: {error.detail}")
        answer = error_response(known)
        answer.headers.update(headers)
        return answer
    return error_response(error)
