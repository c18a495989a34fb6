"""What a skeleton needs and labels may lack: edges, pairs of sides and OKS constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tagwise.data.coco import CocoKeypoints
from tagwise.labels.skeletons import USUAL_SIGMA, measured_sigmas, propose_edges
from tagwise.labels.survey import all_keypoints
from tagwise.skeletons import default_sigmas
from tagwise.skeletons.mirror import sided_types
from tagwise.skeletons.stated import FLIP_KEYS

_ANY_NAMES = ("a", "b")  # names that no public data set has, for the constant that such names get


@dataclass(frozen=True)
class PoseFacts:
    """The skeleton of a set of poses, and where each part of it comes from.

    edges: pairs of indices. pairs: indices (a, b), a < b, of types that a mirrored image swaps.
    unpaired: names that contain a side but have no counterpart.
    sigmas: OKS constants to state in the recipe; None if those of the file or of a public data set
        with these names apply.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    edges_from: str
    pairs: tuple[tuple[int, int], ...]
    pairs_from: str
    unpaired: tuple[str, ...]
    sigmas: float | tuple[float, ...] | None
    sigmas_from: str

    def pair_names(self) -> list[list[str]]:
        """The names of the pairs, as `data.flip_pairs` of a recipe takes them."""
        return [[self.names[a], self.names[b]] for a, b in self.pairs]

    def lines(self) -> list[str]:
        """What a user should know and check."""
        names = self.names
        edges = ", ".join(f"{names[a]} – {names[b]}" for a, b in self.edges) or "none"
        pairs = ", ".join(f"{names[a]} and {names[b]}" for a, b in self.pairs) or "none"
        numbered = ", ".join(f"{k} {name}" for k, name in enumerate(names))
        lines = [
            f"keypoint types: {numbered}",
            f"skeleton, {self.edges_from}: {edges}",
            f"left and right, {self.pairs_from}: {pairs}",
        ]
        if self.unpaired:
            lines.append(
                f"sides without a pair: {', '.join(self.unpaired)}; photos are not mirrored in "
                "training (state data.flip_pairs, then set data.augment.flip to 0.5)"
            )
        return [*lines, f"OKS sigmas, which only AP depends on: {self.sigmas_from}"]


def complete_skeleton(dataset: CocoKeypoints, category: Mapping[str, Any]) -> PoseFacts:
    """Take the skeleton from the labels, and propose what they lack.

    category: the entry of the COCO file. Edges are the spanning tree of the most constant
    distances; pairs follow from the names; OKS constants are measured where instances were labelled
    twice.
    """
    skeleton, names = dataset.skeleton, dataset.skeleton.keypoints
    edges, edges_from = skeleton.edges, "from the labels"
    if not edges and len(names) > 1:
        edges = propose_edges(all_keypoints(dataset))
        edges_from = "proposed from the most constant distances"
    pairs = tuple((a, b) for a, b in enumerate(skeleton.flip) if a < b)
    stated = any(category.get(key) for key in FLIP_KEYS)
    unpaired = tuple(names[k] for k in sided_types(names) if skeleton.flip[k] == k)
    sigmas, sigmas_from = _sigmas(dataset, category)
    return PoseFacts(
        names,
        edges,
        edges_from,
        pairs,
        "from the labels" if stated else "from the names",
        () if stated else unpaired,
        sigmas,
        sigmas_from,
    )


def _sigmas(
    dataset: CocoKeypoints, category: Mapping[str, Any]
) -> tuple[float | tuple[float, ...] | None, str]:
    names = dataset.skeleton.keypoints
    if category.get("sigmas"):
        return None, "from the labels"
    if default_sigmas(names) != default_sigmas(_ANY_NAMES)[:1] * len(names):
        return None, "those of the public data set with these names"
    each = [dataset.instances(index) for index in range(len(dataset))]
    measured = measured_sigmas([k for k, _, _ in each], [areas for _, _, areas in each])
    if measured is not None:
        return measured, "measured, from instances that were labelled twice"
    return USUAL_SIGMA, f"{USUAL_SIGMA} for all, since no instance was labelled twice"
