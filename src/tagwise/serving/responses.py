"""Responses, and errors that have a status code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tagwise.errors import UserError

if TYPE_CHECKING:
    from starlette.responses import Response


class RequestError(Exception):
    """A request that is answered with a status code and one line of text.

    retry: seconds after which the client may try again, None if that does not help.
    """

    def __init__(self, status: int, message: str, retry: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry = status, message, retry


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as JSON; NaN is refused."""
    from starlette.responses import Response

    content = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return Response(content, status, headers, media_type="application/json")


def error_response(error: Exception) -> Response:
    """The answer to a request that failed: {"error": one line}."""
    if isinstance(error, RequestError):
        headers = {} if error.retry is None else {"Retry-After": str(error.retry)}
        return json_response({"error": error.message}, error.status, headers)
    if isinstance(error, UserError):
        return json_response({"error": str(error)}, 400)
    return json_response({"error": "the server failed; its log has the details"}, 500)


def busy(what: str) -> RequestError:
    """The error for a full queue."""
    return RequestError(503, f"the server is busy: {what}; try again in a second", retry=1)


def redirect(where: str, headers: dict[str, str]) -> Response:
    """An answer that sends the client to another address of this server."""
    from starlette.responses import RedirectResponse

    return RedirectResponse(where, 303, headers)
