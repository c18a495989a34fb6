"""Lists of images: folders, patterns, manifests and stores."""

import json

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from servers import serving
from tagwise.errors import UserError
from tagwise.files import Store, read_address, with_attempts
from tagwise.scale.images import image_source, list_images


@pytest.fixture
def bucket(photos):
    """Some photos in a store in memory."""
    fs = fsspec.filesystem("memory")
    for path in photos.iterdir():
        fs.pipe_file(f"/bucket/in/{path.name}", path.read_bytes())
    fs.pipe_file("/bucket/in/notes.txt", b"no photo")
    yield fs
    fs.rm("/bucket", recursive=True)


def test_folders_and_patterns_are_listed_in_a_fixed_order(photos):
    found = list_images("photos")
    assert found[:2] == ["photos/00.png", "photos/01.png"]
    assert len(found) == len(set(found)) == 12
    assert list_images(["photos", "photos/0*.png"]) == found
    assert list_images("photos/0[12].png") == ["photos/01.png", "photos/02.png"]


MANIFESTS = {
    "header.csv": b"id,path\n1,photos/00.png\n2,photos/01.png\n",
    "bare.csv": b"photos/00.png\n\nphotos/01.png\n",
    "text.jsonl": b'"photos/00.png"\n"photos/01.png"\n',
    "rows.jsonl": b'{"image": "photos/00.png", "id": 3}\n{"image": "photos/01.png"}\n',
}


@pytest.mark.parametrize("name", [*MANIFESTS, "table.parquet"])
def test_manifests_list_images_beside_them(photos, tmp_path, name):
    if name in MANIFESTS:
        (photos.parent / name).write_bytes(MANIFESTS[name])
    else:
        images = ["photos/00.png", "photos/01.png"]
        parquet.write_table(pa.table({"n": [1, 2], "url": images}), photos.parent / name)
    assert list_images(name) == ["photos/00.png", "photos/01.png"]
    elsewhere = list_images(tmp_path / name)
    assert elsewhere == [str(photos / "00.png"), str(photos / "01.png")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "list.csv lists no images"),
        (b"path\nphotos/00.png\nphotos/../photos/00.png\n", "twice, in rows 1 and 2"),
        (b"path\nphotos/00.png\nno.png\nnot.png\n", "2 of the 3 images .* first is no.png, in row"),
        (b"a,b\n1,2\n", r"has the columns \['a', 'b'\]; name the one"),
        (b"path,n\nphotos/00.png,1\n,2\n", "row 2 names no image"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_manifests_with_faults_are_refused(photos, content, message):
    (photos.parent / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list_images("list.csv")


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jsonl", "line 1 is not JSON"), ("a.parquet", "is not Parquet"), ("b.csv", "no such")],
)
def test_other_files_are_no_manifests(photos, name, message):
    if name.startswith("a"):
        (photos.parent / name).write_bytes(b"photos/00.png\n")
    with pytest.raises(UserError, match=message):
        list_images(name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("-", "shards are made of photos"),
        ("0", "shards are made of photos"),
        ("clip.mp4", "clip.mp4 is a video"),
        ([b"bytes"], "not of a bytes"),
        ([], "no image to predict from"),
        ("nowhere", "no such file or folder"),
        ("bad3://a/b.jpg", "cannot open bad3://a/b.jpg"),
        ("s3://bucket/a", "cannot|needs another package"),
    ],
)
def test_other_sources_are_refused(photos, source, message):
    (photos.parent / "clip.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        list_images(source)


# ---------------------------------------------------------------------- stores


def test_stores_have_folders_patterns_and_manifests(bucket, photos):
    found = list_images("memory://bucket/in")
    assert found[0] == "memory://bucket/in/00.png"
    assert len(found) == 12
    assert list_images("memory://bucket/in/0[01].png") == found[:2]
    assert list_images("memory://bucket/in/00.png") == found[:1]
    bucket.pipe_file("/bucket/list.jsonl", b'"in/00.png"\n"memory://bucket/in/01.png"\n')
    assert list_images("memory://bucket/list.jsonl") == found[:2]
    assert image_source(found[0]).read() == (photos / "00.png").read_bytes()
    assert list_images(f"file://{photos}")[0] == str(photos / "00.png")


def test_a_folder_of_a_store_may_be_named_like_a_pattern(bucket, photos):
    bucket.pipe_file("/bucket/in [1]/a.png", (photos / "00.png").read_bytes())
    assert list_images("memory://bucket/in [1]") == ["memory://bucket/in [1]/a.png"]


def test_images_missing_in_a_store_are_named(bucket):
    bucket.pipe_file("/bucket/list.csv", b"path\nin/00.png\nin/99.png\nelsewhere/1.png\n")
    with pytest.raises(UserError, match=r"2 of the 3 .* is memory://bucket/in/99.png, in row 2"):
        list_images("memory://bucket/list.csv")
    with pytest.raises(UserError, match="no image at memory://bucket/none"):
        list_images("memory://bucket/none")


def test_a_store_without_rights_is_refused_before_the_work(bucket, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError("Access Denied")

    for method in ("cat_file", "find"):
        with monkeypatch.context() as patch:
            patch.setattr(type(bucket), method, refuse)
            with pytest.raises(UserError, match=r"memory://bucket/in.*permission denied; check th"):
                list_images("memory://bucket/in")


def test_a_failure_of_a_store_is_tried_again(monkeypatch):
    pauses, calls = [], []
    monkeypatch.setattr("time.sleep", pauses.append)

    def flaky():
        calls.append(1)
        if len(calls) < 4:
            raise OSError("connection reset")
        return 7

    assert with_attempts(flaky, "cannot read it") == 7
    assert len(pauses) == 3

    def broken():
        raise OSError("connection reset")

    with pytest.raises(UserError, match="cannot read it: OSError: 'connection reset'"):
        with_attempts(broken, "cannot read it")
    with pytest.raises(UserError, match="no such file"):
        read_address("memory://bucket/nothing.png")


def test_a_store_that_takes_long_to_fail_is_asked_once(monkeypatch):
    """Such as s3fs, which tries several times itself."""
    clock, calls = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def unreachable():
        calls.append(1)
        clock[0] += 15
        raise OSError("no connection")

    with pytest.raises(UserError, match="cannot read it: OSError: 'no connection'"):
        with_attempts(unreachable, "cannot read it")
    assert len(calls) == 1


def test_an_http_image_is_tried_again_if_the_server_is_busy(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    with serving(b"content") as server:
        image = image_source(f"{server.address}/a.png")
        assert image.read() == b"content"
        for status, attempts in ((503, 5), (404, 1)):
            server.status, server.requests[:] = status, []
            with pytest.raises(UserError, match=f"answered {status}"):
                image.read()
            assert len(server.requests) == attempts


@pytest.mark.parametrize("where", ["folder", "memory://bucket/out"])
def test_a_store_keeps_whole_files(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    store = Store(where)
    assert store.names() == []
    assert store.read("done/a.json") is None
    store.write("done/a.json", b"1")
    store.write("plan.json", b"2")
    assert store.read("done/a.json") == b"1"
    assert store.names() == ["done", "plan.json"]
    monkeypatch.chdir("/")
    if where == "folder":
        assert Store(tmp_path / where).absolute().read("plan.json") == b"2"
    else:
        fsspec.filesystem("memory").rm("/bucket", recursive=True)


class Buckets(MemoryFileSystem):
    """A store as S3 is: paths begin with a bucket, which `makedirs` creates."""

    protocol, root_marker, store = "buckets", "", {}

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("buckets://").strip("/")

    def pipe_file(self, path, value, **options):
        if not path.startswith("mine/"):
            raise FileNotFoundError("The specified bucket does not exist")
        self.store[path] = value

    def cat_file(self, path, **options):
        if path not in self.store:
            raise FileNotFoundError(path)
        return self.store[path]

    def makedirs(self, path, exist_ok=False):
        raise AssertionError("it needs the right to create buckets, and creates one")


def test_no_bucket_is_created():
    fsspec.register_implementation("buckets", Buckets, clobber=True)
    Store("buckets://mine/out").write("done/a.json", b"1")
    assert Store("buckets://mine/out").read("done/a.json") == b"1"
    with pytest.raises(UserError, match=r"write buckets://typo/out/a.json: there is no .* bucket;"):
        Store("buckets://typo/out").write("a.json", b"1")


def test_json_lines_name_the_column(photos):
    (photos.parent / "list.jsonl").write_text(json.dumps({"a": 1, "b": 2}))
    with pytest.raises(UserError, match="name the one with the images"):
        list_images("list.jsonl")
