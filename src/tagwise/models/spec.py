"""What a model file says about its network and its task, apart from the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tagwise.errors import UserError, brief
from tagwise.evaluation.calibration import Calibration

HEADER = "tagwise"
"""The entry of a file's header or metadata that has the spec as JSON."""

FORMAT = 1
"""The format of specs that this version writes. It reads this format and all earlier ones.

A new field of the spec does not need a new format: versions that do not know it ignore it. A change
with which earlier versions would run a model wrongly does; they then refuse the file.
"""

_LARGEST = 16384  # pixels of a side of the network's input


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to rebuild a network; plain values, stored in the model file.

    name, options: the registry's entry and its keyword arguments.
    task, task_options: `tagwise.tasks.create_task(task, **task_options)`.
    input_size: (width, height) in pixels of the images that the network was trained on. Any size
        works: prediction fits an image inside and pads it to the next multiple that the network
        needs.
    decoder: settings of prediction with these weights: "threshold", the least score of an instance,
        "fitting", a name in `tagwise.prediction.published_fittings`, and "calibration", the values
        a, b and c of `tagwise.evaluation.calibration.Calibration`, to whose scores the threshold
        refers.
    info: additional information, such as the origin of the weights.
    """

    name: str
    options: dict[str, Any]
    task: str
    task_options: dict[str, Any]
    input_size: tuple[int, int]
    decoder: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


def check_decoder(values: Mapping[str, Any], where: str) -> None:
    """Raise UserError, beginning with `where`, for values of `ModelSpec.decoder` that do not fit.

    Names that are unknown have no effect.
    """
    threshold, fitting = values.get("threshold", 0), values.get("fitting")
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise UserError(f"{where} decoder.threshold is {brief(threshold)}; use a score from 0 to 1")
    if fitting is not None and not isinstance(fitting, str):
        raise UserError(f"{where} decoder.fitting is {brief(fitting)}; use a name, or null")
    try:
        Calibration.from_decoder(values)
    except UserError as error:
        raise UserError(f"{where} decoder: {error}") from None


def header_of(spec: ModelSpec, **more: Any) -> str:
    """A spec as the JSON in a model file's header, which `parse_spec` reads; more: other keys."""
    return json.dumps({"format": FORMAT, **asdict(spec), **more}, allow_nan=False)


def parse_spec(header: str, path: Path) -> ModelSpec:
    """Parse the header's JSON as a spec and check the types of its fields."""
    try:
        values = json.loads(header)
        _check_format(values.pop("format"), path)
        spec = ModelSpec(**{entry.name: values[entry.name] for entry in fields(ModelSpec)})
    except KeyError as error:
        raise UserError(f"{path} has a damaged tagwise header: it has no {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has a damaged tagwise header ({error}); get it again") from error
    _check_spec(spec, path)
    return replace(spec, input_size=tuple(spec.input_size))


def _check_format(number: Any, path: Path) -> None:
    """Raise UserError for the format of a later version, and for what is no format."""
    if type(number) is not int or number < 1:
        raise ValueError(f"its format is {brief(number)}")
    if number > FORMAT:
        raise UserError(
            f"{path} has format {number} of a later version of tagwise; this one reads formats up "
            f"to {FORMAT}: pip install --upgrade tagwise"
        )


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
