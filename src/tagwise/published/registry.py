"""The registry of public models: what their authors publish, where, and under which terms.

The data is in `registry.toml`. Nothing here opens a network connection; see `fetch.py`.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from tagwise.errors import UserError, unknown_name
from tagwise.published.class_names import COCO80
from tagwise.skeletons import SKELETONS, Skeleton

READABLE = frozenset(
    {
        *("higherhrnet", "hrnet-ae", "cornernet", "openvino-ae"),
        *("mmpose-hourglass-ae", "mmpose-resnet-ae", "mmpose-mobilenetv2-ae"),
    }
)
"""The families of `registry.toml` that `recognise.py` can read; models of others are refused."""

_HEX = {"sha256": 64, "sha384": 96}  # digits of a whole checksum
_COUNTS = {"wholebody": 133, "aic": 14, "mhp": 16}  # keypoint types, before a skeleton is known


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    checksum: "sha256:" or "sha384:" and hexadecimal digits; fewer than all are the first ones.
    size: in bytes, None if it is not published.
    """

    url: str
    checksum: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def is_proven(self) -> bool:
        """Whether the checksum is whole: then no other file has it, whoever sends it."""
        algorithm, _, digits = self.checksum.partition(":")
        return len(digits) == _HEX[algorithm]


@dataclass(frozen=True)
class Family:
    """A family of networks. decoder: the preset that its published test groups with."""

    about: str
    decoder: str
    citation: str


@dataclass(frozen=True)
class PublicModel:
    """A public model, as its authors describe it.

    family: a key of the families in `registry.toml`; readable if it is in `READABLE`.
    files: the checkpoint; the first one names the others if there are several.
    task: "pose" or "corners". labels: "coco" (17 keypoint types, or 80 classes), or the name of
        another skeleton in `tagwise.skeletons.SKELETONS`.
    input_size, flip, scales: the published test: (width, height) of the input in pixels, whether
        mirrored images are run too, and the scales.
    ap, set: the published AP in %, and the photos it was measured on; None if it is not published.
    note: what else is published.
    licence: of the weights. source: where these facts are from.
    ms: measured CPU milliseconds in float32, one thread: of the network for one photo of 640 x 480,
        or, of a shipped model, from a photo in memory to the result at the size of the model.
    """

    name: str
    family: str
    files: tuple[RemoteFile, ...]
    source: str
    citation: str
    about: str
    decoder: str
    task: Literal["pose", "corners"] = "pose"
    labels: str = "coco"
    input_size: tuple[int, int] = (512, 512)
    flip: bool = True
    scales: tuple[float, ...] = (1.0,)
    ap: float | None = None
    set: str = "COCO val2017"
    note: str = ""
    licence: str = "Apache-2.0"
    ms: int | None = None

    @property
    def skeleton(self) -> Skeleton | None:
        """The skeleton of a model for poses; None for others and for unknown skeletons."""
        return SKELETONS.get(self.labels) if self.task == "pose" else None

    @property
    def finds(self) -> str:
        """What the model finds, in words."""
        if self.task == "corners":
            return f"boxes of {len(COCO80)} classes ({self.labels})"
        count = len(self.skeleton) if self.skeleton else _COUNTS.get(self.labels, "other")
        return f"{count} keypoints of people ({self.labels})"

    @property
    def size(self) -> int | None:
        """Bytes of all files, None if one is not published; a list of layers counts as nothing."""
        sizes = [file.size or 0 for file in self.files]
        return sum(sizes) or None

    @property
    def test(self) -> str:
        """The published test in words, such as "flip, one scale"."""
        scales = "one scale" if len(self.scales) == 1 else f"{len(self.scales)} scales"
        return f"{'flip' if self.flip else 'no flip'}, {scales}"

    @property
    def is_readable(self) -> bool:
        """Whether this version of tagwise reads the family and knows the keypoint types."""
        return self.family in READABLE and (self.task != "pose" or self.skeleton is not None)

    def require_readable(self) -> None:
        """Raise UserError unless `is_readable`."""
        if self.family not in READABLE:
            raise UserError(
                f"{self.name} is of the family {self.about}, which this version of tagwise cannot "
                "read yet; `tagwise models` lists those that it can"
            )
        if not self.is_readable:
            raise UserError(
                f"{self.name} finds the keypoint types of {self.labels}, which this version of "
                "tagwise does not name yet; `tagwise models` lists those that it can run"
            )


@dataclass(frozen=True)
class ShippedFacts:
    """What `make models` measured for a model that ships; the keys are those of `PublicModel`.

    They are in `weights/figures.json`, with everything else that is in the cards.
    """

    finds: str
    ap: float | None = None
    set: str = ""
    note: str = ""
    ms: int | None = None


@dataclass(frozen=True)
class Registry:
    """The content of `registry.toml`, and facts about the models that ship: models by name."""

    public: dict[str, PublicModel] = field(default_factory=dict)
    shipped: dict[str, ShippedFacts] = field(default_factory=dict)


@cache
def registry() -> Registry:
    """The registry that comes with the package."""
    text = (resources.files("tagwise.published") / "registry.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    families = {name: Family(**facts) for name, facts in content["families"].items()}
    return Registry(
        {name: _model(name, facts, families) for name, facts in content["models"].items()},
        _shipped_facts(),
    )


def _shipped_facts() -> dict[str, ShippedFacts]:
    path = resources.files("tagwise") / "weights" / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8"))
    return {name: ShippedFacts(**found["facts"]) for name, found in figures.items()}


def public_models() -> dict[str, PublicModel]:
    """The public models by name."""
    return registry().public


def find_public(name: str) -> PublicModel:
    """The public model of a name. Raises UserError, with the nearest name, if there is none."""
    if name not in public_models():
        raise unknown_name("public model", name, public_models())
    return public_models()[name]


def _model(name: str, facts: dict[str, Any], families: dict[str, Family]) -> PublicModel:
    family = families[facts["family"]]
    facts = facts | {
        "files": tuple(RemoteFile(**file) for file in facts["files"]),
        **{key: tuple(facts[key]) for key in ("input_size", "scales") if key in facts},
    }
    return PublicModel(
        name=name,
        citation=family.citation,
        about=family.about,
        decoder=family.decoder,
        **facts,
    )
