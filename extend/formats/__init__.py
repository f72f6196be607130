"""Models of other frameworks: `read` opens one as a `Foreign`, and the writers make files for others.

Each format is a package with `open` and a class that follows the protocol `Foreign`. The frameworks themselves are
imported when a model of theirs is opened or written, and not before.
"""

from extend.formats.base import DenseHead, Foreign, Input, digest, read_bytes, replace_file
from extend.formats.content import identify, identify_folder
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.jax_export import to_onnx, to_stablehlo
from extend.formats.keras import to_keras_h5
from extend.formats.matlab import to_mat
from extend.formats.pmml import to_pmml
from extend.formats.registry import framework_of, is_model, read
from extend.formats.torch import resnet_from_torch

__all__ = [
    "DenseHead",
    "DenseLayer",
    "DenseNetwork",
    "Foreign",
    "Input",
    "digest",
    "framework_of",
    "identify",
    "identify_folder",
    "is_model",
    "read",
    "read_bytes",
    "replace_file",
    "resnet_from_torch",
    "to_keras_h5",
    "to_mat",
    "to_onnx",
    "to_pmml",
    "to_stablehlo",
]
