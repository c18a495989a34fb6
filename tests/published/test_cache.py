"""The folder of fetched models: full, read-only, shared by processes, or named by settings."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from disks import file_limit
from fetching import PREDICT, names, told
from servers import URL, digest
from tagwise import cli
from tagwise.errors import UserError
from tagwise.published import cache as cache_module
from tagwise.published.cache import cache_folder, mirrored


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_full_disk_is_said_in_a_line(server, known, cache, checkpoint, capsys, by_hand):
    """While the file is downloaded, or while the converted one is written."""
    if by_hand:
        cache.mkdir()
        (cache / "tiny.pth").write_bytes(checkpoint)
    with file_limit(1_000_000):
        assert cli.main([*PREDICT]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"tagwise: cannot write {cache}")
    assert "free space or set TAGWISE_HOME" in said
    assert names(cache) == (["tiny.pth"] if by_hand else [])
    assert not list(cache.glob(".*.partial"))


def test_a_cache_that_cannot_be_made_is_said_in_a_line(
    server, known, tmp_path, monkeypatch, capsys
):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("TAGWISE_HOME", str(tmp_path / "a file" / "cache"))
    assert "cannot create the folder" in told(capsys)
    assert server.requests == []


def test_a_read_only_cache_is_said_in_a_line(server, known, cache, monkeypatch, capsys):
    cache.mkdir()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("filelock.FileLock.acquire", refuse)
        said = told(capsys)
    assert f"cannot write in the folder {cache}: Read-only file system; set TAGWISE_HOME" in said
    assert cli.main([*PREDICT]) == 0
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)  # a filled cache may be read-only
    assert cli.main([*PREDICT]) == 0


def test_two_processes_download_once(server, known, cache, checkpoint):
    code = f"""
        import sys
        from servers import tiny_registry
        from tagwise.published import registry
        made = tiny_registry({digest(checkpoint)!r}, {len(checkpoint)})
        registry.registry = lambda: made
        from tagwise.cli import main
        sys.exit(main(sys.argv[1:]))
    """
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", textwrap.dedent(code), *PREDICT[:-1]]
    both = [
        subprocess.Popen([*command, f"found{n}"], env=os.environ | {"PYTHONPATH": path})
        for n in range(2)
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert len(server.requests) == 1
    assert names(cache) == ["tiny-hrnet.safetensors"]
    one, other = (Path(f"found{n}/photo.predictions.json").read_text() for n in range(2))
    assert one == other


def test_the_second_process_is_told_that_it_waits(known, cache, capsys, monkeypatch):
    from filelock import FileLock, Timeout

    acquire, calls = FileLock.acquire, []

    def busy_once(self, *arguments, **options):
        calls.append(options)
        if len(calls) == 1:
            raise Timeout("lock")
        return acquire(self)

    monkeypatch.setattr(FileLock, "acquire", busy_once)
    with cache_module.locked("tiny-hrnet"):
        pass
    assert "another process is fetching tiny-hrnet; waiting" in capsys.readouterr().err


# ---------------------------------------------------------------------- settings


def test_the_folder_follows_the_xdg_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TAGWISE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == tmp_path / ".cache" / "tagwise"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the rules say to ignore
    assert cache_folder() == tmp_path / ".cache" / "tagwise"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/tagwise")
    monkeypatch.setenv("TAGWISE_HOME", "~/mine")
    assert cache_folder() == tmp_path / "mine"


def test_the_mirror_replaces_scheme_and_host(monkeypatch):
    monkeypatch.delenv("TAGWISE_MIRROR", raising=False)
    assert mirrored(URL) == URL
    monkeypatch.setenv("TAGWISE_MIRROR", "http://lab:8000/models/")
    assert mirrored(URL) == "http://lab:8000/models/pose/tiny.pth"
    for wrong in ("lab", "http://[lab", "ftp://lab"):
        monkeypatch.setenv("TAGWISE_MIRROR", wrong)
        with pytest.raises(UserError, match="use an address"):
            mirrored(URL)
