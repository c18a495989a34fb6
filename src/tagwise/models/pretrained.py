"""Initial weights for training from published checkpoints."""

from __future__ import annotations

from pathlib import Path

from tagwise.errors import UserError
from tagwise.files import check_regular
from tagwise.models.network import Network
from tagwise.published.checkpoints import read_tensors
from tagwise.published.names import renamed


def take_published(network: Network, source: str | Path) -> None:
    """Initialise a network from a published file of the same family, or an HRNet from ImageNet.

    Output layers may be missing or have other shapes. Raises UserError if other tensors do not fit.
    """
    path = Path(source)
    check_regular(path, "pretrained file")
    tensors = {f"trunk.{name}": value for name, value in renamed(read_tensors(path)).items()}
    expected = network.state_dict()
    fits = {k: v for k, v in tensors.items() if k in expected and v.shape == expected[k].shape}
    free = (*network.head_prefixes, "trunk.deconv_layers.", "mean", "std")
    needed = [key for key in expected if not key.startswith(free) and not counts_batches(key)]
    missing = [key.removeprefix("trunk.") for key in needed if key not in fits]
    if missing:
        raise UserError(
            f"{path} is from another network than {type(network.trunk).__name__}: {len(missing)} "
            f"of {len(needed)} tensors do not fit, such as {', '.join(missing[:10])}"
        )
    network.load_state_dict(fits, strict=False)


def counts_batches(name: str) -> bool:
    """Whether a tensor is the batch counter of a batch norm."""
    return name.endswith(".num_batches_tracked")
