"""Public models are fetched from a local server, as a user does it; every failure is one line."""

import http.client
import json
import os
from pathlib import Path

import pytest
import requests
import torch

from fetching import PREDICT, names, told
from servers import URL, digest
from tagwise import cli
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.models.find import find_weights, is_cached
from tagwise.published import fetch as fetch_module
from tagwise.published import registry
from tagwise.published.fetch import check_redirect
from tagwise.published.registry import RemoteFile

# ---------------------------------------------------------------------- what works


def test_a_model_is_fetched_once_checked_converted_and_run(
    server, known, cache, checkpoint, capsys
):
    assert cli.main([*PREDICT]) == 0
    said = capsys.readouterr().err
    assert "tiny-hrnet: licence Apache-2.0; please cite A. Author, 2026" in said
    assert names(cache) == ["tiny-hrnet.safetensors"]
    assert server.requests == [("/pose/tiny.pth", None)]
    record = json.loads(Path("found/photo.predictions.json").read_text())
    assert record["model"] == "tiny-hrnet"
    assert cli.main([*PREDICT]) == 0
    assert len(server.requests) == 1
    assert "licence" not in capsys.readouterr().err
    Path("theirs.pth").write_bytes(checkpoint)
    theirs, ours = load_model("theirs.pth"), load_model("tiny-hrnet")
    assert ours.spec.input_size == (128, 128)
    assert ours.spec.info["public"] == "tiny-hrnet"
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name])


@pytest.mark.parametrize("checksum", ["sha256", "sha384", 8])
def test_the_checksum_may_be_whole_or_its_first_digits(server, use, cache, checkpoint, checksum):
    if checksum == 8:
        use(digest(checkpoint, 8))
    else:
        use(digest(checkpoint, algorithm=checksum))
    assert find_weights("tiny-hrnet") == cache / "tiny-hrnet.safetensors"


def test_the_original_is_kept_on_request(server, known, cache, checkpoint, monkeypatch):
    monkeypatch.setenv("TAGWISE_KEEP_ORIGINALS", "1")
    find_weights("tiny-hrnet")
    assert names(cache) == ["tiny-hrnet.safetensors", "tiny.pth"]
    assert (cache / "tiny.pth").read_bytes() == checkpoint


def test_a_file_downloaded_by_hand_is_taken_and_kept(server, known, cache, checkpoint, monkeypatch):
    monkeypatch.setenv("TAGWISE_OFFLINE", "1")
    cache.mkdir()
    (cache / "tiny.pth").write_bytes(checkpoint)
    find_weights("tiny-hrnet")
    assert names(cache) == ["tiny-hrnet.safetensors", "tiny.pth"]
    assert server.requests == []


def test_a_file_downloaded_by_hand_with_another_checksum_is_left_alone(known, cache, capsys):
    cache.mkdir()
    (cache / "tiny.pth").write_bytes(b"something else")
    assert "is not the file of tiny-hrnet: its checksum" in told(capsys)
    assert (cache / "tiny.pth").read_bytes() == b"something else"
    assert names(cache) == ["tiny.pth"]


def test_no_other_weights_touch_the_network(server, known, cache, capsys):
    assert cli.main(["predict", "photo.png", "--out", "found"]) == 0
    capsys.readouterr()
    assert "did you mean 'tiny-hrnet'" in told(capsys, *PREDICT[:3], "tiny-hrnt")
    assert "no such file" in told(capsys, "predict", "none.png", *PREDICT[2:])
    assert server.requests == []
    assert not cache.exists()


def test_a_model_of_two_files_is_kept_as_it_is(server, use, cache, checkpoint, monkeypatch):
    """OpenVINO runs NAME.xml, which needs NAME.bin next to it; neither is converted."""
    monkeypatch.setattr(registry, "READABLE", frozenset({"openvino-ae"}))
    address = URL.removesuffix(".pth")
    files = tuple(RemoteFile(f"{address}.{end}", digest(checkpoint)) for end in ("xml", "bin"))
    model = use(digest(checkpoint), family="openvino-ae", files=files)
    assert not is_cached(model)
    assert find_weights("tiny-hrnet") == cache / "tiny.xml"
    assert names(cache) == ["tiny.bin", "tiny.xml"]
    assert [path for path, _ in server.requests] == ["/pose/tiny.xml", "/pose/tiny.bin"]
    assert is_cached(model)
    (cache / "tiny.bin").unlink()
    assert not is_cached(model)
    find_weights("tiny-hrnet")
    assert [path for path, _ in server.requests][2:] == ["/pose/tiny.bin"]


# ---------------------------------------------------------------------- broken off, and continued


@pytest.mark.parametrize("sized", [True, False])
def test_a_broken_download_is_continued(server, use, cache, checkpoint, capsys, sized):
    use(digest(checkpoint), len(checkpoint) if sized else None)
    server.cut = 300_000
    said = told(capsys)
    assert "the download of tiny.pth broke off after 0.3" in said
    assert "the same command continues it" in said
    assert names(cache) == ["tiny.pth.part"]
    kept = (cache / "tiny.pth.part").read_bytes()
    assert kept == checkpoint[: len(kept)]
    assert cli.main([*PREDICT]) == 0
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={len(kept)}-"]
    assert names(cache) == ["tiny-hrnet.safetensors"]


def test_a_download_that_ends_early_without_a_stated_length_is_continued(
    server, known, cache, capsys
):
    server.cut, server.tells_length = 300_000, False
    assert "broke off after 0.3 of 9.2 MB (the server ended it)" in told(capsys)
    assert cli.main([*PREDICT]) == 0


def test_a_server_without_ranges_sends_it_again_from_the_beginning(server, known, cache, capsys):
    server.cut, server.ranges = 300_000, False
    told(capsys)
    assert cli.main([*PREDICT]) == 0
    assert names(cache) == ["tiny-hrnet.safetensors"]


def test_a_part_longer_than_the_file_is_started_again(server, use, cache, checkpoint):
    use(digest(checkpoint))
    cache.mkdir()
    (cache / "tiny.pth.part").write_bytes(checkpoint + b"more")
    find_weights("tiny-hrnet")
    assert [wanted is None for _, wanted in server.requests] == [False, True]


def test_a_whole_part_needs_no_network(server, known, cache, checkpoint):
    cache.mkdir()
    (cache / "tiny.pth.part").write_bytes(checkpoint)
    find_weights("tiny-hrnet")
    assert server.requests == []


def test_ctrl_c_leaves_what_was_downloaded(server, known, cache, monkeypatch):
    read = http.client.HTTPResponse.read
    reads = []

    def interrupted(self, *arguments):
        reads.append(1)
        if len(reads) == 3:
            raise KeyboardInterrupt
        return read(self, *arguments)

    monkeypatch.setattr(fetch_module, "_CHUNK", 100_000)
    monkeypatch.setattr(http.client.HTTPResponse, "read", interrupted)
    assert cli.main([*PREDICT]) == 130
    assert names(cache) == ["tiny.pth.part"]
    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    assert cli.main([*PREDICT]) == 0


# ---------------------------------------------------------------------- the network fails


def test_no_network_is_said_in_a_line(server, known, cache, capsys, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGWISE_MIRROR", "http://127.0.0.1:9")  # nobody listens
        said = told(capsys)
    assert "cannot download from 127.0.0.1:9" in said
    assert "Connection refused" in said
    assert f"download {URL} by hand and put it into {cache}" in said
    assert names(cache) == []


def test_offline_forbids_the_network(server, known, cache, capsys, monkeypatch):
    assert "--offline or TAGWISE_OFFLINE forbids" in told(capsys, *PREDICT, "--offline")
    assert "TAGWISE_OFFLINE" not in os.environ
    monkeypatch.setenv("TAGWISE_OFFLINE", "1")
    assert f"download {URL} elsewhere and put it into {cache}" in told(capsys)
    assert server.requests == []
    monkeypatch.setenv("TAGWISE_OFFLINE", "0")
    assert cli.main([*PREDICT]) == 0
    assert cli.main([*PREDICT, "--offline"]) == 0  # it is in the cache now


def test_a_missing_file_is_said_in_a_line(server, known, cache, capsys):
    server.status = 404
    said = told(capsys)
    assert "answers 404 Not Found to http://127.0.0.1" in said
    assert names(cache) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_an_html_page_in_place_of_the_file(server, known, cache, capsys, kind):
    server.content, server.kind = b"<!DOCTYPE html><title>Sign in</title>" * 10, kind
    said = told(capsys)
    assert "an HTML page" in said
    kept = [] if kind.startswith("text/html") else ["tiny.pth.wrong"]
    assert names(cache) == kept


def test_a_server_that_never_stops_does_not_fill_the_disk(server, use, cache, checkpoint, capsys):
    use(digest(checkpoint), len(checkpoint) - 1000)
    assert f"sends more than the {len(checkpoint) - 1000} bytes" in told(capsys)
    assert names(cache) == []


# ---------------------------------------------------------------------- redirects


@pytest.mark.parametrize("digits", [None, 8])
def test_a_redirect_on_the_same_host_is_followed(server, use, cache, checkpoint, digits):
    use(digest(checkpoint, digits))
    server.location = "/moved/tiny.pth"
    find_weights("tiny-hrnet")
    assert [path for path, _ in server.requests] == ["/pose/tiny.pth", "/moved/tiny.pth"]


def test_a_redirect_to_another_host_needs_a_whole_checksum(server, use, cache, checkpoint, capsys):
    server.location = f"http://localhost:{server.server_port}/moved/tiny.pth"
    use(digest(checkpoint, 8))
    said = told(capsys)
    assert f"leads to another host, http://localhost:{server.server_port}" in said
    assert len(server.requests) == 1
    assert names(cache) == []
    use(digest(checkpoint))
    assert cli.main([*PREDICT]) == 0


def test_https_is_not_left_for_http_without_a_whole_checksum(checkpoint, use):
    answer = requests.Response()
    answer.status_code, answer.url = 302, "https://models.example.org/a.pth"
    answer.headers["Location"] = "http://models.example.org/a.pth"
    remote = use(digest(checkpoint, 8)).files[0]
    with pytest.raises(UserError, match="leads to another host, http://"):
        check_redirect(answer, remote)
    check_redirect(answer, use(digest(checkpoint)).files[0])


# ---------------------------------------------------------------------- wrong and hostile files


@pytest.mark.parametrize("digits", [None, 8])
def test_a_file_with_the_wrong_checksum_is_kept_aside_and_never_opened(
    server, use, cache, checkpoint, capsys, monkeypatch, digits
):
    use(digest(checkpoint, digits))
    server.content = checkpoint[:-1] + b"!"
    monkeypatch.setattr("tagwise.models.find.read_published", None)  # would be called to open it
    said = told(capsys)
    assert "its checksum does not begin with" in said
    assert f"it was not opened, and is kept as {cache / 'tiny.pth.wrong'}" in said
    assert names(cache) == ["tiny.pth.wrong"]
    told(capsys)  # again, from the beginning
    assert [wanted for _, wanted in server.requests] == [None, None]


def test_a_hostile_file_behind_a_right_checksum_is_refused_by_the_reader(
    server, use, cache, capsys, tmp_path
):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"state_dict": Evil()}, "evil.pth")
    server.content = Path("evil.pth").read_bytes()
    use(digest(server.content))
    assert cli.main([*PREDICT]) == 2
    assert "contains more than tensors" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()
    assert names(cache) == ["tiny.pth"]


def test_a_proxy_is_used(server, known, monkeypatch):
    """A proxy gets the whole address; the local server answers as if it were one."""
    monkeypatch.setenv("TAGWISE_MIRROR", "http://models.example.org")
    monkeypatch.setenv("http_proxy", server.address)
    find_weights("tiny-hrnet")
    assert server.requests == [("http://models.example.org/pose/tiny.pth", None)]
