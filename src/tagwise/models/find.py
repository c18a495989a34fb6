"""Finding the file of a model by its name; public models are fetched when they are asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tagwise.console.streams import print_note
from tagwise.errors import UserError, unknown_name
from tagwise.files import check_regular, refuse_address
from tagwise.models.from_published import read_published
from tagwise.models.model_file import save_state
from tagwise.models.shipped import shipped_file, shipped_models
from tagwise.published.cache import INSTEAD, cache_folder, is_set, locked
from tagwise.published.fetch import fetch
from tagwise.published.registry import PublicModel, public_models


def find_weights(name: str | Path) -> Path:
    """The file of a model.

    name: of a shipped model, of a public one (see `tagwise.published.registry`), or a path. A
        public model is fetched, checked and converted if it is not in the cache.
    Raises UserError if it is none of these, and if a model cannot be fetched.
    """
    refuse_address(name)
    if str(name) in shipped_models():
        return shipped_file(str(name))
    if str(name) in public_models():
        return _public_file(public_models()[str(name)])
    path = Path(name)
    if os.path.exists(path):
        check_regular(path, "weights file")
        return path
    if path.suffix or len(path.parts) > 1:
        shipped = ", ".join(shipped_models())
        raise UserError(f"weights file {path} does not exist; shipped: {shipped}")
    listed = "`tagwise models`"
    raise unknown_name("weights", str(name), shipped_models(), public_models(), listed)


def cached_file(model: PublicModel) -> Path:
    """Where the cache has, or will have, a public model in the form that is run."""
    first = cache_folder() / model.files[0].name
    # OpenVINO runs its own two files; everything else is converted.
    return first if first.suffix == ".xml" else cache_folder() / f"{model.name}.safetensors"


def is_cached(model: PublicModel) -> bool:
    """Whether a public model can be run without the network."""
    path = cached_file(model)
    also = () if path.suffix == ".safetensors" else model.files
    return path.is_file() and all((cache_folder() / file.name).is_file() for file in also)


def _public_file(model: PublicModel) -> Path:
    """The cached file of a public model; fetches and converts it first if it is missing."""
    model.require_readable()
    if not is_cached(model):
        with locked(model.name):
            if not is_cached(model):  # another process may have fetched it meanwhile
                _fetch(model)
    return cached_file(model)


def _fetch(model: PublicModel) -> None:
    found = [fetch(remote, model.name) for remote in model.files]
    print_note(f"{model.name}: licence {model.licence}; please cite {model.citation}")
    path, (original, downloaded) = cached_file(model), found[0]
    if path == original:
        return
    spec, state = read_published(
        original, skeleton=model.skeleton, input_size=model.input_size, drop_head=False
    )
    spec = replace(spec, info={**spec.info, "public": model.name})
    save_state(spec, state, path, INSTEAD)
    if downloaded and not is_set("TAGWISE_KEEP_ORIGINALS"):
        original.unlink(missing_ok=True)
