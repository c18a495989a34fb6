"""Predictions for a dataset of Ray Data that exists already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tagwise.errors import UserError, brief
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.run import fingerprint
from tagwise.scale.manifest import COLUMNS
from tagwise.scale.ray_actors import import_ray, share_out
from tagwise.scale.table import result_columns
from tagwise.scale.worker import Work, open_model, predict_all

_BATCH = 64  # images of a call; the actor's own pipeline divides them further


def predict_dataset(
    ds: Any,
    weights: str | Path = "people",
    *,
    column: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    **options: Any,
) -> Any:
    """Add the instances in the images of a Ray dataset as columns; needs tagwise[scale].

    ds: a `ray.data.Dataset` with a column of paths, addresses or encoded bytes of images.
    column: its name; by default the column "bytes", or one of the names that manifests have, such
        as "image", "path" or "url".
    workers: number of actors, each with a model; None is one per GPU, or one per CPU core.
    device: "auto" uses GPUs if Ray has some; "cpu" or "cuda".
    options: of `Predictor`, such as conf.

    Returns a dataset that is computed when it is read. Its rows have the columns of `ds`, and
    width, height, error and instances, which docs/scale.md describes. An image that cannot be read
    has an error, and null in the others. Raises UserError for weights, options and columns that do
    not work, before anything is computed.

    >>> found = predict_dataset(ray.data.read_parquet("list.parquet"))  # doctest: +SKIP
    >>> found.write_parquet("s3://bucket/found")  # doctest: +SKIP
    """
    ray = import_ray()
    if not isinstance(ds, ray.data.Dataset):
        raise UserError(f"ds is {brief(ds)}; give a ray.data.Dataset")
    names = ds.schema().names
    column = _column(names, column)
    taken = sorted({"width", "height", "error", "instances"} & set(names))
    if taken:
        raise UserError(f"the dataset has a column {taken[0]} already; rename it")
    check = {**options, "device": "cpu", "runtime": "torch", "precision": "fp32", "half": False}
    Predictor(weights, **check)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers, cores, gpus = share_out(nodes, workers, device)
    work = Work(
        os.fspath(weights), options, fingerprint(weights), "", os.getcwd(), None if gpus else cores
    )
    return ds.map_batches(
        RowActor,
        fn_constructor_args=(work, column, "cuda" if gpus else "cpu"),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cores,
        **({"num_gpus": 1} if gpus else {}),
    )


def _column(names: list[str], column: str | None) -> str:
    if column is None:
        column = next((name for name in ("bytes", *COLUMNS) if name in names), None)
    if column not in names:
        wanted = "column with the images" if column is None else f"column {column!r}"
        raise UserError(f"the dataset has no {wanted}; it has {brief(names, 200)}; give column")
    return column


class RowActor:
    """The class that Ray Data keeps in its actors: a `Predictor`, which takes batches of rows."""

    def __init__(self, work: Work, column: str, device: str) -> None:
        self._predictor, self._column = open_model(work, device), column

    def __call__(self, batch: Any) -> Any:
        """An arrow table with the columns of results."""
        images = batch[self._column].to_pylist()
        outcomes = predict_all(self._predictor, images)
        records = [None if one.error else one.result.to_dict() for one in outcomes]
        for name, values in result_columns(records, outcomes, self._predictor.task.name).items():
            batch = batch.append_column(name, values)
        return batch
