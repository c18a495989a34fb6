"""Running the server: its socket, its limits on connections, and its end."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import webbrowser
from threading import Timer
from typing import Any

from tagwise.errors import UserError
from tagwise.serving.app import create_app
from tagwise.serving.options import ServeOptions
from tagwise.serving.state import State

_CONNECTIONS = 512
_GRACE = 30  # seconds that running requests have to finish after SIGTERM
_HEADERS = 20.0  # seconds that a client has to send the head of a request


def bind(options: ServeOptions) -> socket.socket:
    """The socket of a server. Raises UserError for a port in use and an unknown host."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"host {options.host!r} is unknown; use an address of this computer"
        ) from None
    # With the protocol named, asyncio sends at once; otherwise answers may wait for 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {options.port} is in use; stop that program, or give another --port "
                "(0 takes a free one)"
            ) from None
        reason = error.strerror or error
        raise UserError(f"cannot listen on {options.host}:{options.port}: {reason}") from None
    return listener


def address_of(listener: socket.socket, options: ServeOptions) -> str:
    """The address to open, with the token if one is needed."""
    host, port = options.host, listener.getsockname()[1]
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={options.token}" if options.token else "")


def run_server(state: State, listener: socket.socket, open_page: bool = False) -> None:
    """Serve until a signal arrives; running requests may finish first.

    open_page: open the address in a browser.
    """
    import uvicorn

    app = create_app(state)
    logging.getLogger("uvicorn.access").disabled = True
    config = uvicorn.Config(
        app,
        http=silent_closing_protocol(),
        ws="none",
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE,
    )
    address = address_of(listener, state.options)
    print(f"tagwise: {address}   (Ctrl-C stops)", file=sys.stderr, flush=True)
    if open_page:
        opener = Timer(0.8, webbrowser.open, [address])
        opener.daemon = True
        opener.start()
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn repeats the signal once it has ended
        print("tagwise: stopped", file=sys.stderr)
    finally:
        listener.close()


def silent_closing_protocol() -> type:
    """uvicorn's protocol, which also closes connections that send no complete request."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        """Closes a connection whose first request has not begun after some seconds."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(_HEADERS, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Patient
