"""Frozen functions from inputs to features: Flax models, functions, and models of other frameworks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extend.backbone.base import Backbone
    from extend.backbone.file import FileBackbone
    from extend.backbone.flax import FlaxBackbone
    from extend.backbone.function import FunctionBackbone
else:
    _WHERE = {"Backbone": "base", "FileBackbone": "file", "FlaxBackbone": "flax", "FunctionBackbone": "function"}

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


__all__ = ["Backbone", "FileBackbone", "FlaxBackbone", "FunctionBackbone"]
