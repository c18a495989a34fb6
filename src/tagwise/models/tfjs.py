"""Weights of a TensorFlow.js graph model, without TensorFlow.

Format: `model.json` lists tensors in `weightsManifest`, their bytes follow one another in the
binary files it names (tfjs-core `io/io_utils.ts`, `decodeWeights`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from tagwise.errors import UserError


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Every tensor of a TF.js model by name; floats as float32, also those stored as float16.

    path: the model's JSON; its binary files lie beside it.
    Raises UserError for a missing or short file, and for a storage that is not read here.
    """
    path = Path(path)
    try:
        groups = json.loads(path.read_text())["weightsManifest"]
        result = {}
        for group in groups:
            # Only names beside the JSON: a file from elsewhere must not name any other.
            data = b"".join((path.parent / Path(name).name).read_bytes() for name in group["paths"])
            result |= _split(group["weights"], data)
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no TF.js model with its weights beside it: {error}") from error
    return result


def _split(entries: list[dict], data: bytes) -> dict[str, np.ndarray]:
    result, offset = {}, 0
    for entry in entries:
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in ("float16", "float32", "int32"):
            raise ValueError(f"{entry['name']} is stored as {stored}, which is not supported")
        count, dtype = math.prod(entry["shape"]), np.dtype(stored).newbyteorder("<")
        array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        result[entry["name"]] = array.astype(np.dtype(entry["dtype"]))
        offset += count * dtype.itemsize
    return result
