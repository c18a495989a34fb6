"""Model files: weights with everything that is needed to run them.

A model file is a safetensors file; the entry "tagwise" of its header is the `ModelSpec` as JSON. It
contains no code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tagwise.errors import UserError, brief
from tagwise.files import SNIFFED, kind_of, open_regular, whole_file
from tagwise.models.network import ModelSpec, Network, check_decoder

HEADER = "tagwise"
FORMAT = 1
_LARGEST = 16384  # pixels of a side of the network's input


def save_model(model: Network, path: str | Path, half: bool = True) -> None:
    """Write a network and its `spec` to a safetensors file, completely or not at all.

    half: store weights as float16, which halves the file. Tensors with values beyond the range of
    float16 stay float32, as do buffers (normalisation, statistics), which are small.
    Raises UserError if the file cannot be written.
    """
    if model.fused:
        raise ValueError("a fused network cannot be saved: load it again without fuse")
    weights = dict(model.named_parameters()) if half else {}
    state = {name: _stored(value, name in weights) for name, value in model.state_dict().items()}
    with whole_file(Path(path), durable=True) as file:
        file.write(save(state, metadata={HEADER: header_of(model.spec)}))


def save_state(spec: ModelSpec, state: dict[str, Tensor], path: Path, instead: str) -> None:
    """Write a spec and tensors as they are to a model file; instead: see `whole_file`."""
    state = {name: _stored(value, False) for name, value in state.items()}
    with whole_file(path, durable=True, instead=instead) as file:
        file.write(save(state, metadata={HEADER: header_of(spec)}))


def header_of(spec: ModelSpec, **more: Any) -> str:
    """A spec as the JSON in a model file's header, which `parse_spec` reads; more: other keys."""
    return json.dumps({"format": FORMAT, **asdict(spec), **more}, allow_nan=False)


def read_model_file(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The spec and tensors of a model file, floats as float32.

    Raises UserError if it is not a model file.
    """
    with open_regular(path, "model file") as file:
        is_a = kind_of(file.read(SNIFFED))
    if is_a not in (None, "a safetensors file"):
        raise UserError(
            f"{path} is not a readable safetensors file but {is_a}; get it again, or give a model "
            "file"
        )
    header = read_header(path)
    if header is None:
        raise UserError(
            f"{path} was not saved by tagwise: its header has no {HEADER!r} entry; "
            "`tagwise convert` reads the files of some other programs"
        )
    with _reading(path) as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    floats = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }
    return parse_spec(header, path), floats


def read_header(path: Path) -> str | None:
    """The JSON in the header of a tagwise model file, None for other safetensors files.

    Raises UserError if it is not a safetensors file.
    """
    with _reading(path) as file:
        return (file.metadata() or {}).get(HEADER)


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Open a safetensors file; errors of the library become UserErrors that name the file."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise UserError(
            f"{path} is not a readable safetensors file ({error}); it may be cut off: get it again"
        ) from error


def shipped_file(name: str) -> Path:
    """The file of a model that ships with the package."""
    return Path(str(resources.files("tagwise") / "weights" / f"{name}.safetensors"))


def shipped_models() -> list[str]:
    """Names of the models that ship with the package."""
    folder = resources.files("tagwise") / "weights"
    if not folder.is_dir():
        return []
    return sorted(
        Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".safetensors")
    )


def is_shipped(path: Path) -> bool:
    """Whether a file is one of the models that ship with the package."""
    return path.parent == Path(str(resources.files("tagwise"))) / "weights"


def parse_spec(header: str, path: Path) -> ModelSpec:
    """Parse the header's JSON as a spec and check the types of its fields."""
    try:
        values = json.loads(header)
        if values.pop("format") != FORMAT:
            raise UserError(f"{path} is from another version of tagwise; update tagwise to read it")
        spec = ModelSpec(**{entry.name: values[entry.name] for entry in fields(ModelSpec)})
    except KeyError as error:
        raise UserError(f"{path} has a damaged tagwise header: it has no {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has a damaged tagwise header ({error}); get it again") from error
    _check_spec(spec, path)
    return replace(spec, input_size=tuple(spec.input_size))


def _check_spec(spec: ModelSpec, path: Path) -> None:
    """Raise UserError, naming the setting, for a field of a wrong type or range."""
    where = f"{path} has a damaged tagwise header:"
    for name, value in asdict(spec).items():
        if name in ("name", "task"):
            fits, use = isinstance(value, str), "text"
        elif name == "input_size":
            fits = isinstance(value, list | tuple) and len(value) == 2
            fits = fits and all(type(side) is int and 0 < side <= _LARGEST for side in value)
            use = f"two whole numbers from 1 to {_LARGEST}"
        else:
            fits, use = isinstance(value, dict), "names and values"
        if not fits:
            raise UserError(f"{where} {name} is {brief(value)}; use {use}")
    check_decoder(spec.decoder, where)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """A tensor in the form to be saved: contiguous, on the CPU, float16 if `half` and in range."""
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.dtype == torch.float32:
        small = tensor.half()
        if torch.isfinite(small).all():
            return small
    return tensor
