"""Networks: a registry, and model files that carry all that is needed to run them."""

from tagwise.models.network import ModelSpec, Network, parameter_groups
from tagwise.models.zoo import MODELS, create_model, load_model, save_model, shipped_models

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
