"""Networks: a registry, self-contained model files, and loading.

Public names are imported on first use: of these files, `checks`, `onnx_graph`, `onnx_model`,
`onnx_sessions`, `openvino_graph`, `shipped` and `spec` work without torch.

Imports `console`, `errors`, `evaluation`, `files`, `geometry`, `published`, `runtime`, `skeletons`
and `tasks`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagwise.models.create import create_model
    from tagwise.models.find import find_weights
    from tagwise.models.load import load_model
    from tagwise.models.model_file import save_model
    from tagwise.models.network import Network, parameter_groups
    from tagwise.models.onnx import OnnxNetwork
    from tagwise.models.openvino import weights_beside
    from tagwise.models.openvino_convert import to_openvino
    from tagwise.models.shipped import shipped_models
    from tagwise.models.spec import ModelSpec
    from tagwise.models.zoo import MODELS

__all__ = [
    "MODELS",
    "ModelSpec",
    "Network",
    "OnnxNetwork",
    "create_model",
    "find_weights",
    "load_model",
    "parameter_groups",
    "save_model",
    "shipped_models",
    "to_openvino",
    "weights_beside",
]

# The file that defines each public name.
_FILES = {
    "create_model": "create",
    "find_weights": "find",
    "load_model": "load",
    "save_model": "model_file",
    "shipped_models": "shipped",
    "to_openvino": "openvino_convert",
    "weights_beside": "openvino",
    "ModelSpec": "spec",
    "Network": "network",
    "OnnxNetwork": "onnx",
    "parameter_groups": "network",
    "MODELS": "zoo",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse any other name

    def __getattr__(name: str) -> Any:
        if name not in _FILES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
        globals()[name] = value
        return value
