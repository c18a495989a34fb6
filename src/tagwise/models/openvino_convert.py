"""Conversion of networks to OpenVINO, which runs them faster on a CPU; needs the extra "openvino".

The converted graphs are kept in the folder `openvino` of the cache (see `tagwise.published.cache`),
since conversion takes as long as about a hundred images.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.files import remove_oldest, whole_file
from tagwise.models.checks import BUILD_ERRORS, difference, small_side
from tagwise.models.network import Network
from tagwise.models.openvino_graph import OpenVinoGraph, need_openvino, reason_of
from tagwise.models.spec import header_of
from tagwise.published.cache import cache_folder

_KEPT = 16  # converted networks in the cache
_CHECKSUM, _LENGTH = 16, 8  # bytes of these in a file of the cache


class ConvertedNetwork:
    """A network that OpenVINO runs, from images to the maps of the original.

    graph: its outputs are the maps of `names`, in this order.
    """

    def __init__(self, graph: OpenVinoGraph, names: list[str]) -> None:
        self._graph, self._names = graph, names

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`."""
        found = self._graph(images.numpy())
        return dict(zip(self._names, map(torch.from_numpy, found), strict=True))


def to_openvino(
    network: Network, precision: Literal["f32", "bf16"], keep: bool = False
) -> ConvertedNetwork:
    """Convert a network in evaluation mode, with float32 weights on the CPU.

    precision: of the computation, see `OpenVinoGraph`; the maps are float32. keep: read the graph
        from the cache, or write it there; a cache that cannot be written is no error.

    Raises UserError if openvino is missing, if the network cannot be converted, and if the maps of
    the graph in float32 differ from the network's by more than rounding explains.
    """
    openvino = need_openvino("the runtime openvino needs")
    names, label = list(network.outputs), Path(f"{network.spec.name} in OpenVINO")
    place = cache_folder() / "openvino" / f"{_key(network)}.graph"
    model = _read(place) if keep else None
    if model is None:
        try:
            model = openvino.convert_model(_traced(network))
            model.reshape([-1, 3, -1, -1])
            fault = _fault_of(network, ConvertedNetwork(OpenVinoGraph(label, model), names))
        except (UserError, *BUILD_ERRORS) as error:
            fault = reason_of(error)
        if fault:
            raise UserError(f"OpenVINO cannot run this network: {fault}")
        if keep:
            _write(model, place)
    return ConvertedNetwork(OpenVinoGraph(label, model, precision), names)


class _Maps(nn.Module):
    """A network that returns its maps as a tuple, which tracing needs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images as for the network to its maps, in the order of its outputs."""
        maps = self.network(images)
        return tuple(maps[name] for name in self.network.outputs)


@torch.no_grad()
def _traced(network: Network) -> Any:
    """The network as TorchScript."""
    side = small_side(network)
    # Tracing warns about values that it treats as constants; `_fault_of` detects wrong ones.
    with warnings.catch_warnings(action="ignore"):
        images = torch.rand(2, 3, side, 2 * side)
        return torch.jit.trace(_Maps(network), images, check_trace=False)


@torch.inference_mode()
def _fault_of(network: Network, converted: ConvertedNetwork) -> str | None:
    """Compare the maps of two shapes of images; returns what is wrong, or None."""
    side = small_side(network)
    for shape in ((1, 3, 2 * side, side), (2, 3, side, side + network.multiple)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        if fault := difference(network(images), converted(images)):
            return f"on images of {shape}, its {fault}"
    return None


# ---------------------------------------------------------------------- the cache


def _key(network: Network) -> str:
    """A name that changes with anything on which the graph depends."""
    versions = (torch.__version__, need_openvino().__version__)
    digest = hashlib.blake2b(repr((versions, network)).encode(), digest_size=12)
    digest.update(header_of(network.spec, turned=network.turned).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return f"{Path(network.spec.name).name}-{digest.hexdigest()}"


def _read(place: Path) -> Any:
    """The graph in a file of the cache; None if the file is missing or damaged.

    A file has a checksum of the rest, the length of the graph, the graph as XML, and its weights.
    """
    try:
        checksum, rest = (content := place.read_bytes())[:_CHECKSUM], content[_CHECKSUM:]
        if checksum != _checksum(rest):
            return None
        end = _LENGTH + int.from_bytes(rest[:_LENGTH], "big")
        return need_openvino().Core().read_model(rest[_LENGTH:end], rest[end:])
    except (OSError, RuntimeError):  # OpenVINO's errors are RuntimeErrors
        return None


def _write(model: Any, place: Path) -> None:
    """Write a graph to the cache if possible."""
    with suppress(OSError, UserError), TemporaryDirectory() as folder:
        need_openvino().save_model(model, f"{folder}/a.xml", compress_to_fp16=False)
        graph, weights = ((Path(folder) / name).read_bytes() for name in ("a.xml", "a.bin"))
        rest = len(graph).to_bytes(_LENGTH, "big") + graph + weights
        with whole_file(place) as file:
            file.write(_checksum(rest) + rest)
        remove_oldest(place.parent, _KEPT)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM).digest()
