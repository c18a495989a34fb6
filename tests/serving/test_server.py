"""The running server: its socket, slow clients, signals, worker processes, the disk."""

import asyncio
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import tagwise
from serving_pages import running_server
from tagwise import cli
from tagwise.commands import serve as command
from tagwise.errors import UserError
from tagwise.serving.models import ModelStore
from tagwise.serving.options import ServeOptions
from tagwise.serving.server import address_of, bind


def test_a_port_in_use_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tagwise", "serve", "--port", str(port), "--no-open"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert f"port {port} is in use" in ran.stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [({"port": 99999}, "port is 99999"), ({"workers": 0}, "workers is 0"), ({"queue": 0}, "queue")],
)
def test_bad_options_are_named(values, words):
    with pytest.raises(UserError, match=words):
        ServeOptions(**values)


def test_labels_need_both_arguments_and_hosts_must_exist():
    with pytest.raises(UserError, match="give images too"):
        tagwise.serve(annotations="val.json", port=0, open=False)
    with pytest.raises(UserError, match="unknown"):
        bind(ServeOptions(host="no.such.host.invalid", port=0))


def test_answers_are_sent_at_once():
    """asyncio sets TCP_NODELAY only where the socket names its protocol."""
    with bind(ServeOptions(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_other_hosts_get_a_token_in_their_address():
    with bind(ServeOptions(port=0)) as listener:
        options = ServeOptions(host="0.0.0.0", token="abc")
        port = listener.getsockname()[1]
        assert address_of(listener, options) == f"http://{socket.gethostname()}:{port}/?token=abc"


def test_running_requests_finish_after_sigterm(photo):
    """The second half of an image is sent after the signal."""
    with running_server("--weights", "robots") as (process, address):
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        connection = socket.create_connection((host, int(port)))
        head = f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(photo)}\r\n\r\n".encode())
        connection.sendall(photo[:1000])
        with socket.create_connection((host, int(port))) as other:  # the head has been read
            other.sendall(
                f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            assert b"200 OK" in other.recv(100)
        process.send_signal(signal.SIGTERM)
        for _ in range(500):  # until no new connection is accepted
            try:
                socket.create_connection((host, int(port)), 1).close()
            except OSError:
                break
            time.sleep(0.02)
        else:
            pytest.fail("the server still accepts connections")
        connection.sendall(photo[1000:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"200 OK" in answer.splitlines()[0]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["model"] == "robots"
        assert process.wait(20) == 0
        assert "stopped" in process.stderr.read()


def test_slow_clients_get_408(make_client, photo):
    client = make_client(seconds=0.05)
    sent, parts = [], [photo[:100], b""]

    async def receive():
        if len(parts) == 1:
            await asyncio.sleep(5)
        return {"type": "http.request", "body": parts.pop(0), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "server": ("localhost", 80),
    }
    client.portal.call(client.app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert client.app.state.parts.uploads.held == 0


def test_uploads_never_touch_the_disk(client, photo, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    padded = photo + bytes(3 << 20)  # beyond what would spill to a file by default
    answer = client.post(
        "/predict?weights=robots", files={"image": ("a.jpg", padded, "image/jpeg")}
    )
    assert answer.status_code == 200


def test_many_uploads_share_bounded_memory(make_client, photo):
    client = make_client(waiting_mb=0.06)
    uploads = client.app.state.parts.uploads
    uploads.held = 60_000  # as if another upload were in memory
    answer = client.post("/predict", content=photo)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    uploads.held = 0
    assert client.post("/predict?weights=robots", content=photo).status_code == 200


def test_worker_processes_answer_and_are_replaced(make_client, photo):
    client = make_client(workers=2, store=ModelStore(["robots"], device="cpu"))
    engine = client.app.state.parts.engine
    ask = lambda: client.post("/predict?weights=robots", content=photo)  # noqa: E731
    want = tagwise.Predictor("robots", device="cpu")(photo).to_dict()
    assert ask().json() == json.loads(json.dumps(want))
    assert os.getpid() not in engine._pool._processes
    os.kill(next(iter(engine._pool._processes)), signal.SIGKILL)
    codes = [ask().status_code for _ in range(3)]
    assert codes[-1] == 200
    assert set(codes) <= {200, 503}


def test_a_silent_connection_is_closed(monkeypatch):
    from tagwise.serving import server

    monkeypatch.setattr(server, "_HEADERS", 0.05)
    protocol = server.silent_closing_protocol()
    closed = threading.Event()

    async def run():
        import uvicorn

        config = uvicorn.Config(lambda: None, ws="none")
        config.load()
        loop = asyncio.get_running_loop()
        state = uvicorn.server.ServerState()
        listener = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"GET / HT")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        closed.set()
        writer.close()
        listener.close()

    asyncio.run(run())
    assert closed.is_set()


def test_the_container_file_fits_the_project():
    """What it copies exists, its user has no rights, and its arguments are known."""
    root = Path(__file__).parents[2]
    lines = (root / "examples" / "Containerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--)", line)]
    assert all((root / name).exists() for names in copied for name in names)
    assert "USER 10001" in lines
    (entry,) = (json.loads(line.partition(" ")[2]) for line in lines if "ENTRYPOINT" in line)
    known = inspect.signature(cli.VERBS[entry[1]]).parameters
    flags = [word.removeprefix("--no-").strip("-") for word in entry if word.startswith("--")]
    assert entry[:2] == ["tagwise", "serve"]
    assert set(flags) <= set(known)


def test_the_token_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("TAGWISE_TOKEN", "from-outside")
    seen = []
    monkeypatch.setattr(command, "run_server", lambda state, *_: seen.append(state.options))
    tagwise.serve("robots", host="0.0.0.0", port=0, device="cpu", open=False)
    assert seen[0].token == "from-outside"
    monkeypatch.delenv("TAGWISE_TOKEN")
    tagwise.serve("robots", host="0.0.0.0", port=0, device="cpu", open=False)
    assert len(seen[1].token) > 20
    tagwise.serve("robots", port=0, device="cpu", open=False)
    assert seen[2].token == ""
