"""Malicious model files: pickles, archives, safetensors headers and ONNX graphs."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

PROTOCOL = b"\x80\x02"
HUGE = 6 * 10**9


def named(module: str, name: str) -> bytes:
    """The instruction that puts a function or class on the stack."""
    return f"c{module}\n{name}\n".encode()


def number(value: int) -> bytes:
    """The instruction that puts a number on the stack."""
    return b"\x8a\x06" + value.to_bytes(6, "little")


def text(value: str) -> bytes:
    """The instruction that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """The instructions that call a function."""
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def entry(key: str, value: bytes) -> bytes:
    """A pickled dict of one entry."""
    return PROTOCOL + b"}" + text(key) + value + b"s."


def hostile_pickles() -> Iterator[tuple[str, bytes]]:
    """Pickles by their effect. None may be read as a checkpoint, and none may run."""
    deep = 1_000_000
    yield "a system call", entry("a", call("posix", "system", text("echo ran > ran")))
    yield "an evaluation", entry("a", call("builtins", "eval", text("open('ran', 'w')")))
    yield "an evaluation of Python 2", entry("a", call("__builtin__", "eval", text("1")))
    yield "an import", entry("a", call("importlib", "import_module", text("antigravity")))
    yield "a subprocess", entry("a", call("subprocess", "Popen", text("id")))
    yield "torch.load", entry("a", call("torch", "load", text("/etc/passwd")))
    yield "an extension", PROTOCOL + b"\x82\x01."
    yield "a persistent file", PROTOCOL + text("/etc/passwd") + b"Q."
    yield "a bytearray of 6 GB", entry("a", call("builtins", "bytearray", number(HUGE)))
    yield "a tensor of 24 GB", entry("a", call("torch", "FloatTensor", number(HUGE)))
    yield "nested tuples as a key", PROTOCOL + b"})" + b"\x85" * deep + b"K\1s."
    yield "nested lists", PROTOCOL + b"]" * deep + b"a" * (deep - 1) + b"."
    yield "nested dicts", PROTOCOL + b"}" * deep + b"."
    yield "nested marks", PROTOCOL + b"(" * deep + b"."
    yield "a dict in itself", PROTOCOL + b"}q\0" + text("state_dict") + b"h\0s."
    yield "nothing", PROTOCOL
    yield "no end", PROTOCOL + b"}"
    yield "an empty stack", PROTOCOL + b"s."
    yield "an unknown memo", PROTOCOL + b"h\7."
    yield "a text of 4 GB", PROTOCOL + b"X\xff\xff\xff\xffabc."
    yield "protocol 4", pickle.dumps({"a": 1}, protocol=4)


def torch_zip(content: bytes, compression: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """An archive as torch.save writes it, with this pickle; more: other members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        for name, data in {"version": b"3\n", "byteorder": b"little", **more}.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def torch_old(content: bytes) -> bytes:
    """A file as torch < 1.6 wrote it, with this pickle."""
    before = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(each, 2) for each in before) + content + pickle.dumps([], 2)


def hostile_checkpoints() -> Iterator[tuple[str, bytes]]:
    """Files named .pth by their content; all must be refused."""
    for name, content in hostile_pickles():
        yield f"zip: {name}", torch_zip(content)
        yield f"old file: {name}", torch_old(content)
        yield f"plain pickle: {name}", content
    sound = io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, sound)
    with zipfile.ZipFile(sound) as archive:
        pickled = next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl"))
    bomb = torch_zip(pickled, zipfile.ZIP_DEFLATED, **{"data/0": bytes(1 << 30)})
    yield "zip: a storage that unpacks to 1 GiB", bomb
    wide = torch.zeros(1).expand(1_000_000, 1_000_000)
    file = io.BytesIO()
    torch.save({"weight": wide}, file)
    yield "zip: a tensor of 4 TB with one value", file.getvalue()
    yield "zip: two directories", sound.getvalue()[:-22] + sound.getvalue()
    yield "zip: cut in its middle", sound.getvalue()[: len(sound.getvalue()) // 2]


def other_files() -> Iterator[tuple[str, bytes, str]]:
    """Files of other types by name, and a word that the error message must contain."""
    yield "empty", b"", "0 bytes"
    yield "text", b"not a checkpoint\n", "a text file"
    yield "HTML", b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"
    yield "LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"
    yield "JSON", b'{"message": "Not Found"}', "a JSON file"
    yield "XML", b"<?xml version='1.0'?><Error/>", "an XML file"
    yield "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"
    yield "ONNX", b"\x08\x08\x12\x07pytorch" + bytes(99), "an ONNX model"
    yield "PNG", b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"
    yield "gzip", b"\x1f\x8b\x08" + bytes(99), "unpack it first"
    yield "noise", bytes(range(160, 250)), "an unknown type"
    for name, members, word in (
        ("TorchScript", ["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"], "TorchScript"),
        ("Keras", ["metadata.json", "config.json", "model.weights.h5"], "a Keras model"),
        ("NumPy", ["a.npy", "b.npy"], "a NumPy archive"),
        ("Word", ["word/document.xml", "[Content_Types].xml"], "torch.save did not write"),
        ("no members", [], "an unknown type"),
    ):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for member in members:
                archive.writestr(member, b"\x80\x02}.")
        yield name, file.getvalue(), word
    model = PROTOCOL + b"}" + text("model") + named("ultralytics.nn.tasks", "DetectionModel")
    model += b")\x81" + b"s."
    yield "YOLO", torch_zip(model), "Ultralytics YOLO"
    yield "YOLOv5", torch_old(model.replace(b"ultralytics.nn.tasks", b"models.yolo")), "YOLO"
    network = entry("model", named("torch.nn.modules.conv", "Conv2d") + b")\x81")
    yield "a network", torch_zip(network), "c.state_dict()"
    yield "Lightning", torch_zip(entry("a", named("lightning.x", "Y") + b")\x81")), "lightning.x.Y"


# ---------------------------------------------------------------------- safetensors


def safetensors(
    header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None
) -> bytes:
    """A safetensors file with a header and data; length: the stated length of the header."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + data


def hostile_safetensors() -> Iterator[tuple[str, bytes]]:
    """Files named .safetensors by their fault."""
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield "a header of 2^63 bytes", safetensors({}, length=2**63)
    yield "a header of 90 MB", safetensors({}, length=90_000_000)
    yield "no header", safetensors(b"")
    yield "a deep header", safetensors(b'{"a":' + b"[" * 100_000)
    yield "a shape of 10^18", safetensors({"a": {**one, "shape": [10**9, 10**9]}}, bytes(16))
    yield "a negative shape", safetensors({"a": {**one, "shape": [-4]}}, bytes(16))
    yield "data beyond the end", safetensors({"a": {**one, "data_offsets": [0, 10**12]}}, bytes(16))
    yield "data backwards", safetensors({"a": {**one, "data_offsets": [16, 0]}}, bytes(16))
    yield "data twice", safetensors({"a": one, "b": one}, bytes(16))
    yield "data left over", safetensors({"a": one}, bytes(32))
    yield "an unknown type", safetensors({"a": {**one, "dtype": "F99"}}, bytes(16))
    yield "no tensors", safetensors({})
    yield "a foreign file", safetensors({"a": one}, bytes(16))
    for name, ours in (
        ("a deep description", "[" * 100_000),
        ("a description that is not JSON", "{"),
        ("a description of nothing", "{}"),
        ("a description of another type", "3"),
        ("a description with a huge number", '{"format": ' + "9" * 9999 + "}"),
    ):
        header = {"__metadata__": {"tagwise": ours}, "a": one}
        yield name, safetensors(header, bytes(16))


# ---------------------------------------------------------------------- ONNX


def hostile_graphs(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Changed copies of a file that `tagwise export` wrote, by their fault."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def changed(change: Callable[[Any, Callable], None]) -> bytes:
        model = onnx.load_from_string(sound)
        nodes = []

        def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> None:
            nodes.append(helper.make_node(kind, inputs, [name], **attributes))
            model.graph.output.append(helper.make_tensor_value_info(name, 1, None))

        change(model, add)
        for node in reversed(nodes):
            model.graph.node.insert(0, node)
        return model.SerializeToString()

    def constant(model: Any, name: str, values: Any) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))

    def filled(model: Any, add: Callable) -> None:
        constant(model, "shape", np.array([50_000, 50_000]))
        add("ConstantOfShape", ["shape"], "full")

    def filled_after_a_cast(model: Any, add: Callable) -> None:
        constant(model, "floats", np.array([5e4, 5e4], np.float32))
        add("Cast", ["floats"], "shape", to=TensorProto.INT64)
        add("ConstantOfShape", ["shape"], "full")

    def doubled(model: Any, add: Callable) -> None:
        constant(model, "d0", np.ones(1 << 18, np.float32))
        for n in range(16):
            add("Concat", [f"d{n}", f"d{n}"], f"d{n + 1}", axis=0)

    def counted(model: Any, add: Callable) -> None:
        for name, value in (("start", 0), ("end", 10**10), ("step", 1)):
            constant(model, name, np.array(value))
        add("Range", ["start", "end", "step"], "all")

    def drawn(model: Any, add: Callable) -> None:
        add("RandomNormal", [], "noise", shape=[100_000, 100_000])

    def tiled(model: Any, add: Callable) -> None:
        constant(model, "row", np.ones(1000, np.float32))
        constant(model, "times", np.array([10**7]))
        add("Tile", ["row", "times"], "rows")

    def elsewhere(model: Any, add: Callable) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        location = tensor.external_data.add()
        location.key, location.value = "location", "../../etc/passwd"

    def claimed(model: Any, add: Callable) -> None:
        tensor = TensorProto(name="claimed", data_type=TensorProto.FLOAT, dims=[10**6, 10**6])
        model.graph.initializer.append(tensor)

    def looped(model: Any, add: Callable) -> None:
        add("Loop", ["", ""], "out", body=helper.make_graph([], "body", [], []))

    def foreign(model: Any, add: Callable) -> None:
        node = helper.make_node("Evil", [], ["out"], domain="elsewhere")
        model.graph.node.insert(0, node)

    def described(value: str) -> Callable[[Any, Callable], None]:
        def change(model: Any, add: Callable) -> None:
            next(each for each in model.metadata_props if each.key == "tagwise").value = value

        return change

    def undescribed(model: Any, add: Callable) -> None:
        del model.metadata_props[:]

    def renamed(model: Any, add: Callable) -> None:
        model.graph.output[0].name = "other"

    for change in (
        *(filled, filled_after_a_cast, doubled, counted, drawn, tiled),
        *(elsewhere, claimed, looped, foreign, undescribed, renamed),
    ):
        yield change.__name__.replace("_", " "), changed(change)
    yield "a deep description", changed(described("[" * 100_000))
    yield "an empty description", changed(described("{}"))
    yield "cut off", sound[: len(sound) // 2]
    yield "text", b"not a graph\n"
    yield "empty", b""
