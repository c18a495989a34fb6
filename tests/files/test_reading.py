"""Only regular files are read, and errors describe files of other types."""

import io
import json
import os
import socket
import stat
import threading
from functools import partial

import pytest

from tagwise.errors import UserError
from tagwise.files import check_regular, kind_of, open_regular, read_json, read_text, refuse_address


def test_regular_file_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\r\nabc")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"\0\r\nabc"
    (tmp_path / "link").symlink_to("a")
    assert check_regular(str(tmp_path / "link")).st_size == 6


@pytest.mark.parametrize(("length", "in_memory"), [(0, False), (1, True), (9, True), (10, False)])
def test_small_files_are_read_whole(tmp_path, length, in_memory):
    content = bytes(range(length))
    (tmp_path / "a").write_bytes(content)
    with open_regular(tmp_path / "a", small=9) as file:
        assert isinstance(file, io.BytesIO) == in_memory
        (tmp_path / "a").unlink()
        assert file.read() == content


def test_a_file_that_shrinks_while_it_is_read_is_opened_as_usual(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    status = os.stat_result([stat.S_IFREG, 0, 0, 0, 0, 0, 5, 0, 0, 0])
    with monkeypatch.context() as patch:
        patch.setattr("tagwise.files.reading.os.fstat", lambda descriptor: status)
        with open_regular(tmp_path / "a", small=9) as file:
            assert not isinstance(file, io.BytesIO)
            assert file.read() == b"abc"


def special(tmp_path, kind):
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pipe", "image .*pipe is a pipe, not a file"),
        ("socket", "is a socket, not a file"),
        ("folder", "is a folder; give a file"),
        ("device", "is a device, not a file"),
        ("loop", "cannot read image .*loop: "),
        ("missing", "no such image: .*missing"),
    ],
)
def test_only_regular_files_are_opened(tmp_path, kind, words):
    path = special(tmp_path, kind)
    for read in (check_regular, open_regular, partial(open_regular, small=9)):
        with pytest.raises(UserError, match=words):
            read(path, "image")


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000, "a/" * 3000 + "b", "\ud800", ""])
def test_invalid_file_names_are_refused(name):
    for read in (check_regular, open_regular, read_text, read_json):
        with pytest.raises(UserError) as caught:
            read(name)
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("small", [0, 9])
def test_pipe_that_replaces_a_file_does_not_block(tmp_path, monkeypatch, small):
    """Between its check and its opening, a file may be replaced by a pipe without a writer."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("tagwise.files.reading.check_regular", lambda *_: None)
    found = []

    def read():
        with pytest.raises(UserError, match="no longer a regular file") as caught:
            open_regular(tmp_path / "pipe", small=small)
        found.append(caught)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert found


def test_missing_read_permission_is_named(tmp_path):
    path = tmp_path / "secret"
    path.write_text("a")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UserError, match=r"cannot read file .*secret: Permission denied"):
        open_regular(path)


def test_text_and_json_are_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('\ufeff{"Fuß": [1]}'.encode())
    assert read_json(path) == {"Fuß": [1]}
    assert read_text(path).startswith("{")
    path.write_text('{\n"a": }')
    with pytest.raises(UserError, match=r"a\.json is not JSON: .* in line 2"):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02}q\x00.", "labels .* is a pickle; give another file"),
        (b"\xff\xfe{\0}\0", "is not UTF-8 text"),
        (b"<!DOCTYPE html><p>Sign in", "is not JSON but an HTML page"),
        (b"[" * 200_000, "cannot be read as JSON"),
        (b"[" + b"9" * 9999 + b"]", "cannot be read as JSON"),
        (b"", "is not JSON but empty"),
    ],
)
def test_content_that_is_not_json_is_refused(tmp_path, content, words):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_json(tmp_path / "a", "labels")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"  <!doctype HTML>\n<html>", "an HTML page"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (b"<?xml version='1.0'?><svg/>", "an XML file"),
        (json.dumps({"a": 1}).encode(), "a JSON file"),
        (b"epochs: 3\n", "a text file"),
        ("näher".encode()[:2], "a text file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image (convert it to JPEG)"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", "an AVIF image"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41avif", "an MP4 or MOV video"),
        (b"\x1f\x8b\x08", "a gzip archive (unpack it first)"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x80\x02}q", "a pickle"),
        (b"\x10\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
        (b"\x01\x02\x03\x04" * 9, None),
    ],
)
def test_kind_of_describes_the_type_of_a_file(head, kind):
    found = kind_of(head)
    assert found is None if kind is None else found.startswith(kind)


@pytest.mark.parametrize("source", ["http://example.com/a.jpg", "rtsp://camera/1", "s3://b/a.mp4"])
def test_error_repeats_the_address_as_typed(source):
    with pytest.raises(UserError, match=f"^{source} is an address"):
        refuse_address(source)


def test_paths_are_not_addresses(tmp_path):
    for source in ("a.jpg", "C:\\a.jpg", "photos/**/*.png", "a//b.jpg", tmp_path, b"bytes"):
        refuse_address(source)
