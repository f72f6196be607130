"""Backbones: frozen functions from inputs to features, and how samples stream through them."""

from extend.backbone.base import Backbone
from extend.backbone.extract import batches, embed, extract, finish, replicated
from extend.backbone.feature_space import Space, Tap, Taps, Transform, Width
from extend.backbone.file import FileBackbone, column_names, inputs_in_words, memory_folder
from extend.backbone.flax import FlaxBackbone, is_flax
from extend.backbone.function import FunctionBackbone
from extend.backbone.network import filled, named_leaves

__all__ = [
    "Backbone",
    "FileBackbone",
    "FlaxBackbone",
    "FunctionBackbone",
    "Space",
    "Tap",
    "Taps",
    "Transform",
    "Width",
    "batches",
    "column_names",
    "embed",
    "extract",
    "filled",
    "finish",
    "inputs_in_words",
    "is_flax",
    "memory_folder",
    "named_leaves",
    "replicated",
]
