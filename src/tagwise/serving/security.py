"""Who may ask: this computer's own pages, or clients that know the token. Headers of answers."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tagwise.serving.metrics import Metrics
from tagwise.serving.options import ServeOptions, is_loopback
from tagwise.serving.responses import RequestError, error_response, redirect

_COOKIE = "tagwise_token"
_OPEN = ("/health",)  # for programs that only ask whether the server runs

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

Scope = dict[str, Any]
App = Callable[..., Awaitable[None]]


class Guard:
    """Checks each request before the application sees it, and counts it.

    On this computer alone, the name that a client uses must be this computer's: otherwise a page
    on the internet could reach the server under a name of its own. A request from a page of
    another address is refused. Elsewhere a token is needed.
    """

    def __init__(self, app: App, options: ServeOptions, metrics: Metrics) -> None:
        self.app, self.options, self.metrics = app, options, metrics

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, started = time.perf_counter(), 500, False

        async def send_guarded(message: dict[str, Any]) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                known = {name.lower() for name, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in added if pair[0] not in known),
                ]
            await send(message)

        try:
            answer = self._refusal(scope) or self.app
        except RequestError as error:
            answer = error_response(error)
        try:
            await answer(scope, receive, send_guarded)
        except Exception as error:
            if started:
                raise
            logging.getLogger("uvicorn.error").error("request failed", exc_info=error)
            await error_response(error)(scope, receive, send_guarded)
        finally:
            self.metrics.request(pattern(scope["path"]), status, time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> App | None:
        """An answer that replaces that of the application, None if the request may go on."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if not self.options.token and not is_loopback(name):
            raise RequestError(421, f"this server answers on localhost only, not as {name[:80]!r}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise RequestError(403, "requests from pages of other addresses are refused")
        if self.options.token and scope["path"] not in _OPEN:
            return self._check_token(scope, headers)
        return None

    def _check_token(self, scope: Scope, headers: dict[str, str]) -> App | None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.pop("token", [""])[0]
        if given and self._matches(given):
            if scope["path"] != "/":
                return None
            # A cookie instead of the address, which the browser would remember.
            where = "/" + (f"?{urlencode(query, doseq=True)}" if query else "")
            cookie = f"{_COOKIE}={given}; Path=/; HttpOnly; SameSite=Strict"
            return redirect(where, {"set-cookie": cookie})
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        if self._matches(bearer) or self._matches(_cookie(headers.get("cookie", ""))):
            return None
        message = "a token is needed: open the address that the server printed when it started"
        raise RequestError(401, f"{message}, or send Authorization: Bearer TOKEN")

    def _matches(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.options.token.encode())


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def pattern(path: str) -> str:
    """The address without its variable parts, for counting.

    >>> pattern("/api/images/Ab3/group"), pattern("/static/app.js"), pattern("/wp-login")
    ('/api/images/{id}/group', '/static', 'other')
    """
    parts = path.strip("/").split("/")
    if parts[0] == "static":
        return "/static"
    if parts[0] == "api" and len(parts) > 2:
        return "/".join(["", "api", parts[1], "{id}", *parts[3:4]])
    known = ("", "predict", "models", "health", "metrics", "openapi.json", "docs")
    return path if parts[0] in (*known, "api") and len(parts) < 3 else "other"
