"""Where the head of a Keras model is: the last dense layer, and the layer after it that makes probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.keras._reading import the_keras


@dataclass(frozen=True)
class Place:
    """Where the head is: the layer, the tensor that it reads, and the layer after it that makes probabilities, or None.

    `binary` says that the layer has one unit for two classes.
    """

    layer: Any
    before: Any
    after: Any
    binary: bool


def find(model: Any) -> Place:
    """Find the head from the model's output backwards.

    Raises
    ------
    FormatError
        If there is no dense layer at the end; the message names what stands there.
    """
    if len(model.outputs) != 1:
        raise FormatError(f"the model has {len(model.outputs)} outputs; expected one")
    layer, before = _maker(model.outputs[0])
    after = None
    if activation_of(layer) is not None:
        after = layer
        layer, before = _maker(before)
    kind = type(layer).__name__
    if kind != "Dense":
        raise FormatError(
            f"layer {layer.name!r} ({kind}) is the last; expected Dense, or Dense and a softmax or sigmoid after it"
        )
    if len(before.shape) != 2:
        raise FormatError(f"the head {layer.name!r} reads {len(before.shape)} axes; expected [n, features]")
    kinds = {name for name in (layer.activation.__name__, activation_of(after)) if name not in (None, "linear")}
    if len(kinds) > 1 or not kinds <= {"softmax", "sigmoid"}:
        found = " and ".join(sorted(kinds))
        raise FormatError(f"the head {layer.name!r} has the activation {found}; expected softmax, sigmoid or none")
    if not any(own is layer for own in model.layers):
        raise FormatError(f"the head {layer.name!r} is not a layer of the model itself but of one inside it")
    return Place(layer, before, after, layer.units == 1 and "softmax" not in kinds)


def _maker(tensor: Any) -> tuple[Any, Any]:
    """The layer that made a tensor, and the one tensor that it read."""
    operation, node, _ = tensor._keras_history
    inputs = operation._inbound_nodes[node].input_tensors
    if len(inputs) != 1:
        raise FormatError(f"layer {operation.name!r} ({type(operation).__name__}) is the last; expected Dense")
    return operation, inputs[0]


def activation_of(layer: Any) -> str | None:
    """Return the activation that a layer applies and nothing else; None if it does another thing."""
    kind = type(layer).__name__
    if kind == "Activation" and layer.activation.__name__ in ("softmax", "sigmoid", "linear"):
        return str(layer.activation.__name__)
    if kind == "Softmax" and layer.axis in (-1, 1):
        return "softmax"
    return "sigmoid" if kind == "Sigmoid" else None


def head_of(place: Place) -> DenseHead:
    """Return the layer's numbers as a head."""
    to_numpy, layer = the_keras().ops.convert_to_numpy, place.layer
    kernel = np.asarray(to_numpy(layer.kernel))
    bias = np.asarray(to_numpy(layer.bias)) if layer.use_bias else np.zeros(layer.units, kernel.dtype)
    if place.binary:
        return DenseHead.from_single_unit(kernel, bias)
    sigmoid = "sigmoid" in (layer.activation.__name__, activation_of(place.after))
    return DenseHead(kernel, bias, "sigmoid" if sigmoid else "softmax")
