"""Networks: a registry, self-contained model files, and loading.

Imports `errors`, `files`, `geometry`, `published`, `runtime`, `skeletons` and `tasks`.
"""

from tagwise.models.create import create_model
from tagwise.models.load import load_model
from tagwise.models.model_file import save_model, shipped_models
from tagwise.models.network import ModelSpec, Network, parameter_groups
from tagwise.models.zoo import MODELS

__all__ = [
    "MODELS",
    "ModelSpec",
    "Network",
    "create_model",
    "load_model",
    "parameter_groups",
    "save_model",
    "shipped_models",
]
