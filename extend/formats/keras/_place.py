"""Where the head of a Keras model is: the last dense layer, and the layer after it that makes probabilities.

Either may lie in a model that is a layer of the model, at any depth: the way there is a tuple of names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.keras._archive import MODELS
from extend.formats.keras._library import the_keras

Way = tuple[str, ...]
"""The names of the models around a layer, outermost first, and its own."""


@dataclass(frozen=True)
class Place:
    """Where the head is.

    Parameters
    ----------
    layer, after
        The dense layer, and the layer after it that makes probabilities, or None.
    way, way_after
        The names that lead to them.
    stages
        What comes before the head, as models that are run one after the other: the inputs and outputs of each.
    binary
        Whether the layer has one unit for two classes.
    """

    layer: Any
    after: Any
    way: Way
    way_after: Way
    stages: tuple[tuple[list[Any], list[Any]], ...]
    binary: bool


@dataclass(frozen=True)
class _Call:
    """A call of a layer: what it reads, and the calls of the models around it, outermost first."""

    layer: Any
    reads: list[Any]
    around: tuple[_Call, ...]

    @property
    def way(self) -> Way:
        """The names that lead to the layer."""
        return (*(call.layer.name for call in self.around), self.layer.name)


def find(model: Any) -> Place:
    """Find the head from the model's output backwards.

    Raises
    ------
    FormatError
        If there is no dense layer at the end; the message names what stands there.
    """
    if len(model.outputs) != 1:
        raise FormatError(f"the model has {len(model.outputs)} outputs; expected one")
    call, after = _maker(model.outputs[0], ()), None
    if activation_of(call.layer) is not None:
        after, call = call, _maker(call.reads[0], call.around)
    layer, kind = call.layer, type(call.layer).__name__
    if kind != "Dense" or len(call.reads) != 1:
        raise FormatError(
            f"layer {layer.name!r} ({kind}) is the last; expected Dense, or Dense and a softmax or sigmoid after it"
        )
    before = call.reads[0]
    if len(before.shape) != 2:
        raise FormatError(f"the head {layer.name!r} reads {len(before.shape)} axes; expected [n, features]")
    kinds = {name for name in (layer.activation.__name__, activation_of(after and after.layer)) if name}
    kinds -= {"linear"}
    if len(kinds) > 1 or not kinds <= {"softmax", "sigmoid"}:
        found = " and ".join(sorted(kinds))
        raise FormatError(f"the head {layer.name!r} has the activation {found}; expected softmax, sigmoid or none")
    parents = [model, *(one.layer for one in call.around)]
    for parent, called in zip(parents, [*(one.layer for one in call.around), layer], strict=True):
        if (calls := _calls(parent, called)) > 1:
            raise FormatError(f"the head {called.name!r} is called {calls} times; a wider one would change every call")
    ends = [*(one.reads for one in call.around), [before]]
    stages = tuple((list(parent.inputs), list(end)) for parent, end in zip(parents, ends, strict=True))
    binary = layer.units == 1 and "softmax" not in kinds
    return Place(layer, after and after.layer, call.way, after.way if after else (), stages, binary)


def _maker(tensor: Any, around: tuple[_Call, ...]) -> _Call:
    """The call that made a tensor, looked for inside the models that are layers."""
    layer, node, index = tensor._keras_history
    reads = list(layer._inbound_nodes[node].input_tensors)
    if type(layer).__name__ in MODELS:
        return _maker(layer.outputs[index], (*around, _Call(layer, reads, around)))
    if not reads and around:
        *outer, model = around
        place = next((n for n, own in enumerate(model.layer.inputs) if own is tensor), None)
        if place is not None:
            return _maker(model.reads[place], tuple(outer))
    if not reads:
        raise FormatError(f"layer {layer.name!r} ({type(layer).__name__}) is the last; expected Dense")
    return _Call(layer, reads, around)


def _calls(model: Any, layer: Any) -> int:
    graph = getattr(model, "_functional", None) or model
    return sum(node.operation is layer for nodes in graph._nodes_by_depth.values() for node in nodes)


def activation_of(layer: Any) -> str | None:
    """Return the activation that a layer applies and nothing else; None if it does another thing."""
    kind = type(layer).__name__
    if kind == "Activation" and layer.activation.__name__ in ("softmax", "sigmoid", "linear"):
        return str(layer.activation.__name__)
    if kind == "Softmax" and layer.axis in (-1, 1, [-1], [1]):
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


@dataclass(frozen=True)
class Columns:
    """What a head is as a dense layer: its kernel, its bias (None for none) and what makes probabilities of it."""

    kernel: np.ndarray
    bias: np.ndarray | None
    activation: str

    @classmethod
    def of(cls, head: DenseHead, place: Place) -> Columns:
        """Return a head as the layer at a place: one unit where it was one and still can be."""
        unit = head.single_unit() if place.binary else None
        kernel, bias = unit or (head.kernel, head.bias)
        needed = place.layer.use_bias or bool(bias.any())
        return cls(kernel, bias if needed else None, "sigmoid" if unit else head.activation)


def put(config: dict[str, Any], place: Place, columns: Columns) -> None:
    """Change the config of a model (of Keras 2 or 3) so that its head has these columns.

    Raises
    ------
    FormatError
        If the layer after the head cannot make probabilities of these columns.
    """
    entry = entry_at(config, place.way)
    entry["config"] |= {"units": columns.kernel.shape[1], "use_bias": columns.bias is not None}
    if place.layer.activation.__name__ != "linear":
        entry["config"]["activation"] = columns.activation
    if place.after is not None:
        entry = entry_at(config, place.way_after)
        if activation_of(place.after) not in (columns.activation, "linear"):
            if entry["class_name"] != "Activation":
                name = place.after.name
                raise FormatError(f"layer {name!r} ({entry['class_name']}) cannot become a {columns.activation}")
            entry["config"]["activation"] = columns.activation


def entry_at(config: dict[str, Any], way: Way) -> dict[str, Any]:
    """Return the entry of a layer in a model's config; what it was built for goes, on the way too."""
    inner = config["config"]
    layers = inner if isinstance(inner, list) else inner["layers"]
    entry = next(one for one in layers if name_of(one) == way[0])
    entry.pop("build_config", None)
    return entry if len(way) == 1 else entry_at(entry, way[1:])


def name_of(entry: dict[str, Any]) -> str | None:
    """Return the name of a layer by its entry in a config."""
    inner = entry["config"]
    return entry.get("name") or (inner.get("name") if isinstance(inner, dict) else "sequential")
