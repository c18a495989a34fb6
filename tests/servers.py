"""A local web server that sends one file well or badly, and a registry that names it."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tagwise.published.registry import PublicModel, Registry, RemoteFile

URL = "https://models.example.org/pose/tiny.pth"  # the mirror replaces the host


class FileServer(ThreadingHTTPServer):
    """Serves `content` at every path; requests: (path, Range) of each.

    cut: bytes after which the next answer ends without a word. ranges: whether parts are sent.
    tells_length: whether an answer says how long it is. status, kind: of the answer. location:
    where paths that do not begin with /moved are redirected to.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.requests = content, []
        self.cut = self.location = None
        self.ranges = self.tells_length = True
        self.status, self.kind = 200, "application/octet-stream"

    def handle_error(self, *_):
        """Print nothing: clients end connections early."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.location and not self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        content = server.content[start:]
        if start >= len(server.content) > 0:
            self.send_response(416)
            content = b""
        elif start:
            self.send_response(206)
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        else:
            self.send_response(server.status)
        self.send_header("Content-Type", server.kind)
        if server.tells_length:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        cut, server.cut = server.cut, None
        self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(content):
    """A running FileServer."""
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def digest(content, digits=None, algorithm="sha256"):
    """A checksum as the registry has it."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()[:digits]}"


def tiny_registry(checksum, size=None, family="higherhrnet", **more):
    """A registry with one public model, "tiny-hrnet"."""
    facts = {
        "source": "a test",
        "citation": "A. Author, 2026",
        "about": "HigherHRNet",
        "decoder": "higherhrnet",
        "input_size": (128, 128),
        "ap": 67.1,
    }
    facts["files"] = (RemoteFile(URL, checksum, size),)
    model = PublicModel(name="tiny-hrnet", family=family, **(facts | more))
    return Registry({"tiny-hrnet": model}, {})
