"""Files appear complete or not at all, logs keep their rows, and no other module writes files."""

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tagwise
from disks import file_limit
from tagwise.errors import UserError
from tagwise.files import (
    append_line,
    growing_file,
    make_folder,
    remove_partials,
    trim_lines,
    whole_file,
)

# ---------------------------------------------------------------------- whole files


def test_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def fail_halfway():
        with whole_file(path) as file:
            file.write(b"half")
            file.flush()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail_halfway()
    assert path.read_bytes() == b"before"
    with whole_file(path) as file:
        file.write(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [False, True])
def test_full_disk_gives_a_one_line_error_and_keeps_the_old_file(tmp_path, durable):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with (
        file_limit(4096),
        pytest.raises(UserError, match=r"^cannot write .*file: File too large; free space"),
        whole_file(path, durable) as file,
    ):
        file.write(bytes(5000))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_lack_of_space_gives_a_one_line_error(tmp_path):
    with (
        pytest.raises(UserError, match="No space left on device; free space"),
        whole_file(tmp_path / "file"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "左" * 85])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    with whole_file(tmp_path / name) as file:
        file.write(b"x")
        (partial,) = tmp_path.iterdir()
        assert re.fullmatch(rf"\..*\.{os.getpid()}\.partial", partial.name)
    assert (tmp_path / name).read_bytes() == b"x"


def test_long_names_with_the_same_start_are_written_separately(tmp_path):
    one, other = (tmp_path / ("n" * 250 + end) for end in ("1", "2"))
    with whole_file(one) as first, whole_file(other) as second:
        first.write(b"1")
        second.write(b"2")
    assert (one.read_bytes(), other.read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("where", ["a file/run", "a file"])
def test_folder_that_cannot_be_created_gives_a_one_line_error(tmp_path, where):
    (tmp_path / "a file").write_text("")
    with pytest.raises(UserError, match=r"cannot create the folder .*; give another --out"):
        make_folder(tmp_path / where)


# ---------------------------------------------------------------------- growing files


def test_a_growing_file_keeps_what_it_has(tmp_path):
    path = tmp_path / "new" / "file"

    def write(data, error=None):
        with growing_file(path) as file:
            file.write(data)
            if error:
                raise error

    write(b"one")
    with pytest.raises(RuntimeError, match="killed"):
        write(b"two", RuntimeError("killed"))
    assert path.read_bytes() == b"onetwo"


def test_a_growing_file_does_not_stay_empty(tmp_path):
    with pytest.raises(RuntimeError), growing_file(tmp_path / "file"):
        raise RuntimeError("killed")
    assert not list(tmp_path.iterdir())


def test_a_growing_file_is_removed_from_a_full_disk(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with (
        file_limit(4096),
        pytest.raises(UserError, match="File too large; free space or go home"),
        growing_file(path, "go home") as file,
    ):
        file.write(bytes(5000))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- partial files


WRITER = """
import sys, time
from pathlib import Path
from tagwise.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing a file "video.mp4"."""
    command = [sys.executable, "-c", WRITER, tmp_path / "video.mp4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        yield process
        process.kill()


def partials(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


@pytest.mark.parametrize("begin", [make_folder, remove_partials])
def test_partial_files_of_ended_processes_are_removed(tmp_path, writer, begin):
    name = f".video.mp4.0.{writer.pid}.partial"
    begin(tmp_path)
    assert partials(tmp_path) == [name]
    writer.kill()
    writer.wait()
    assert partials(tmp_path) == [name]
    begin(tmp_path)
    assert partials(tmp_path) == []


def test_first_write_into_a_folder_removes_partial_files(tmp_path, writer):
    writer.kill()
    writer.wait()
    with whole_file(tmp_path / "other") as file:
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_partial_files_of_another_computer_stay_while_they_are_written(tmp_path, writer):
    """The number of the process does not exist on this computer."""
    no_process = 2**22 + 1  # Linux counts to 2**22
    path = tmp_path / f".video.mp4.{no_process}.partial"
    (tmp_path / f".video.mp4.0.{writer.pid}.partial").rename(path)
    remove_partials(tmp_path)
    assert partials(tmp_path) == [path.name]
    writer.kill()
    writer.wait()
    remove_partials(tmp_path)
    assert partials(tmp_path) == []


def test_only_partial_files_are_removed(tmp_path):
    names = {".x.partial", "x.999999999.partial", ".x.one.partial", ".x.999999999.part", ".partial"}
    for name in (*names, ".x.999999999.partial", f".x.{os.getpid()}.partial"):
        (tmp_path / name).write_bytes(b"")
    remove_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names | {f".x.{os.getpid()}.partial"}
    remove_partials(tmp_path / "no such folder")


# ---------------------------------------------------------------------- logs


def test_rows_are_appended(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in range(3):
        append_line(path, {"step": step, "name": "左"})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_partially_written_row_is_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in range(100):
        append_line(path, {"step": step})
    before = path.read_bytes()
    with (
        file_limit(len(before) + 5),
        pytest.raises(UserError, match=r"cannot write .*log\.jsonl: File too large"),
    ):
        append_line(path, {"step": 100})
    assert path.read_bytes() == before
    append_line(path, {"step": 100})
    assert path.read_bytes() == before + b'{"step": 100}\n'


def test_log_that_cannot_be_trimmed_is_unchanged(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(2000)))
    before = path.read_bytes()
    with file_limit(4096), pytest.raises(UserError, match="cannot write"):
        trim_lines(path, lambda row: row["step"] < 1990)
    assert path.read_bytes() == before
    rows, damaged = trim_lines(path, lambda row: row["step"] < 1990)
    assert (len(rows), damaged) == (1990, [])
    assert path.read_bytes() == b"".join(before.splitlines(keepends=True)[:1990])


def test_log_without_damage_is_not_rewritten(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n')
    with file_limit(0):
        assert trim_lines(path) == ([{"step": 1}], [])


def test_missing_log_counts_as_empty(tmp_path):
    assert trim_lines(tmp_path / "log.jsonl") == ([], [])
    assert (tmp_path / "log.jsonl").read_bytes() == b""


def test_folder_instead_of_a_log_gives_a_one_line_error(tmp_path):
    for change in (trim_lines, lambda path: append_line(path, {})):
        with pytest.raises(UserError, match="Is a directory"):
            change(tmp_path)


DAMAGED = [b"[1]", b"7", b"{", b'{"a": }', b"\xff\xfe", b"\0\0\0", b"", b"[" * 100_000]


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_lines_are_counted_and_removed(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"b": 2}\n{"torn')
    assert trim_lines(path) == ([{"a": 1}, {"b": 2}], [2])
    assert path.read_bytes() == b'{"a": 1}\n{"b": 2}\n'


@given(
    rows=st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=2)),
    cut=st.integers(0, 40),
)
def test_truncated_log_keeps_its_complete_rows(tmp_path_factory, rows, cut):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    for row in rows:
        append_line(path, row)
    content = path.read_bytes() if rows else b""
    path.write_bytes(content[: max(0, len(content) - cut)])
    whole = content[: max(0, len(content) - cut)].count(b"\n")
    assert trim_lines(path) == (rows[:whole], [])
    append_line(path, {"next": 1})
    assert trim_lines(path)[0] == [*rows[:whole], {"next": 1}]


# ---------------------------------------------------------------------- no other writers

WRITERS = {"write_text", "write_bytes", "imwrite", "savetxt", "tofile", "savefig", "save_file"}
WRITERS |= {"savez", "savez_compressed", "NamedTemporaryFile", "mkstemp", "to_csv", "copyfile"}
SAVERS = {"torch", "np", "numpy", "json", "yaml", "pickle"}  # whose `save` and `dump` write


def handles(tree):
    """Names of the files that whole_file and io.BytesIO return; writing to them is allowed."""
    for node in ast.walk(tree):
        items = node.items if isinstance(node, ast.With) else []
        given = [(item.context_expr, item.optional_vars) for item in items]
        given += [(node.value, node.targets[0])] if isinstance(node, ast.Assign) else []
        for value, name in given:
            if isinstance(name, ast.Name) and re.search(
                r"whole_file\(|BytesIO\(", ast.unparse(value)
            ):
                yield name.id


def writers(code):
    """The calls in some code that write files without whole_file."""
    tree = ast.parse(code)
    known = set(handles(tree))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        if any(isinstance(node, ast.Name) and node.id in known for node in arguments):
            continue
        owner, _, name = ast.unparse(call.func).rpartition(".")
        to_text = owner == "yaml" and len(call.args) == 1  # it returns the text
        saves = name in ("save", "dump") and owner in SAVERS and not to_text
        if name in WRITERS or saves or (name == "open" and opens_to_write(owner, call)):
            yield ast.unparse(call)


def opens_to_write(owner, call):
    """Whether an `open` call has a mode that writes, or a mode that is unknown."""
    if owner == "os":
        writes = re.search("O_(WRONLY|RDWR|CREAT|APPEND|TRUNC)", ast.unparse(call))
        return bool(writes) and ast.unparse(call.args[0]) != "os.devnull"
    named = {"", "io", "gzip", "av", "codecs", "builtins"}  # whose `open` takes a name first
    for value in [*call.args[owner in named :], *(keyword.value for keyword in call.keywords)]:
        if isinstance(value, ast.Name) and value.id == "mode":
            return True
        mode = value.value if isinstance(value, ast.Constant) else None
        if isinstance(mode, str) and re.fullmatch("[rwaxbt+]+", mode) and set("wax+") & set(mode):
            return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        "open('x', 'w')",
        "open('x', mode='ab')",
        "open('x', mode)",
        "Path('x').open('wb')",
        "path.open(mode='r+')",
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "np.save('x', array)",
        "np.savez(path, a=1)",
        "cv2.imwrite(name, image)",
        "torch.save(state, 'last.pt')",
        "torch.save(state, path)",
        "json.dump(x, file)",
        "yaml.dump(x, file)",
        "av.open(path, 'w')",
        "os.open(path, os.O_WRONLY)",
        "figure.savefig('x.png')",
    ],
)
def test_search_finds_writers(code):
    assert list(writers(code))


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "open('x', 'rb')",
        "path.open()",
        "path.open('rb')",
        "Image.open(path)",
        "archive.open(name)",
        "os.open(path, os.O_RDONLY)",
        "os.open(os.devnull, os.O_WRONLY)",
        "with whole_file(path) as file: torch.save(state, file)",
        "data = io.BytesIO(); figure.savefig(data)",
        "checkpoint.save(3)",
        "json.dumps(x)",
        "yaml.dump(x, Dumper=Dumper)",
        "with whole_file(path) as file, av.open(file, 'w') as container: pass",
    ],
)
def test_search_ignores_reading_and_whole_file(code):
    assert not list(writers(code))


PACKAGE = Path(tagwise.__file__).parent


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_only_one_file_writes_files(path):
    if path != PACKAGE / "files" / "writing.py" and "templates" not in path.parts:
        assert list(writers(path.read_text(encoding="utf-8"))) == []
