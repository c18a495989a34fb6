"""Model files: weights with everything that is needed to run them.

A model file is a safetensors file; the entry "tagwise" of its header is the `ModelSpec` as JSON. It
contains no code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular, whole_file
from tagwise.models.network import Network
from tagwise.models.spec import HEADER, ModelSpec, header_of, parse_spec


def save_model(model: Network, path: str | Path, half: bool = True) -> None:
    """Write a network and its `spec` to a safetensors file, completely or not at all.

    half: store weights as float16, which halves the file. Tensors with values beyond the range of
    float16 stay float32, as do buffers (normalisation, statistics), which are small.
    Raises UserError if the file cannot be written.
    """
    if model.fused:
        raise ValueError("a fused network cannot be saved: load it again without fuse")
    state = stored_state(model, half)
    with whole_file(Path(path), durable=True) as file:
        file.write(save(state, metadata={HEADER: header_of(model.spec)}))


def stored_state(model: Network, half: bool = True) -> dict[str, Tensor]:
    """The tensors of a network as `save_model` writes them, on the CPU."""
    weights = dict(model.named_parameters()) if half else {}
    return {name: _stored(value, name in weights) for name, value in model.state_dict().items()}


def save_state(spec: ModelSpec, state: dict[str, Tensor], path: Path, instead: str) -> None:
    """Write a spec and tensors as they are to a model file; instead: see `whole_file`."""
    state = {name: _stored(value, False) for name, value in state.items()}
    with whole_file(path, durable=True, instead=instead) as file:
        file.write(save(state, metadata={HEADER: header_of(spec)}))


def copy_with_spec(path: Path, out: Path, spec: ModelSpec) -> None:
    """Write a copy of a model file with another spec; the tensors stay as they are stored.

    out may be the file itself. Raises UserError if a file cannot be read or written.
    """
    with _reading(path) as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    with whole_file(out, durable=True) as file:
        file.write(save(state, metadata={HEADER: header_of(spec)}))


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
    return parse_spec(header, path), as_float32(state)


def as_float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with their floats as float32."""
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }


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


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """A tensor in the form to be saved: contiguous, on the CPU, float16 if `half` and in range."""
    tensor = tensor.detach().cpu().contiguous()
    if half and tensor.dtype == torch.float32:
        small = tensor.half()
        if torch.isfinite(small).all():
            return small
    return tensor
