"""The configuration of Keras 2, translated so that Keras 3 builds a model of the same meaning.

What differs: where an input's shape stands, the names and options of layers, how calls of layers are written, and what
`hard_sigmoid` is. Options that Keras 3 does not know are left out where they say nothing, and refused by name where
they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from extend.core.errors import FormatError
from extend.formats.keras._archive import KERAS2_LAYERS, MODELS, PARTS, words
from extend.formats.keras._operations import operation

Config: TypeAlias = dict[str, Any]

FUNCTIONAL = "keras.src.models.functional"
INNER = ("layer", "backward_layer", "cell")
"""Options of a layer that are layers themselves."""

RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "GRUV2": "GRU",
    "LSTMV2": "LSTM",
    "LayerNormalizationV2": "LayerNormalization",
    "RandomCrop": "Resizing",
    "RandomHeight": "Identity",
    "RandomWidth": "Identity",
    "ThresholdedReLU": "ReLU",
    "UnifiedGRU": "GRU",
    "UnifiedLSTM": "LSTM",
}
"""Names within Keras 2, and layers that do nothing, or what another layer does, when a model predicts."""

SILENT = words(
    """batch_input_shape build_config fused implementation input_dim input_length input_shape input_spec
    key_shape keras_api_names query_shape seed shared_object_id trainable value_shape"""
)
"""Options that change nothing when a model predicts, or repeat what is known, whatever they are."""

DEFAULTS: dict[str, Any] = {"groups": 1, "data_format": "channels_last", "rms_scaling": False, "output_mode": None}
TRAINING = ("_initializer", "_regularizer", "_constraint")
MERGING = words("Add AdditiveAttention Attention Average Concatenate Dot Maximum Minimum Multiply Subtract")
"""Layers that are called with one list of tensors."""
RECURRENT = words("Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU LSTM RNN SimpleRNN")


@dataclass(frozen=True)
class Target:
    """What the translation asks for.

    Parameters
    ----------
    options
        The options of a layer of Keras 3, by the name of its class.
    hard_sigmoid
        The function that Keras 2 calls so.
    two_biases
        Whether the file holds two biases for each gate of the GRU of this name.
    """

    options: Callable[[str], Collection[str]]
    hard_sigmoid: Callable[[Any], Any]
    two_biases: Callable[[str], bool]


def translate(config: Config, target: Target) -> Config:
    """Return the config of Keras 3 for a model of Keras 2; what is not known is left for the check that follows.

    Raises
    ------
    FormatError
        If a layer has an option, or is called in a way, that cannot be given to Keras 3; the message names the layer.
    """
    config = _without_slashes(_plain(config))
    kind = config.get("class_name")
    if kind not in MODELS:
        return config
    try:
        return _model(config, target)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the model's config is damaged: {type(error).__name__}: {error}"[:300]) from error


def _plain(value: Any) -> Any:
    """A value without the wrappings that JSON of Keras 2 has around arrays, tuples and shapes."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "ndarray" and "value" in value:
        return value["value"]
    if value.get("class_name") in ("__tuple__", "TensorShape", "__numpy__") and "items" in value:
        return _plain(value["items"])
    return {key: _plain(part) for key, part in value.items()}


def _without_slashes(config: Config) -> Config:
    """The config with "_" for each "/" in names of layers, such as DenseNet's; Keras 3 allows none."""
    known: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            known.add(value["name"])
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(part)

    collect(config)
    renamed: dict[str, str] = {}
    for name in sorted(name for name in known if "/" in name):
        new = name.replace("/", "_")
        while new in known or new in renamed.values():
            new += "_"
        renamed[name] = new

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rename(part) for key, part in value.items()}
        if isinstance(value, list):
            return [rename(part) for part in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    return rename(config) if renamed else config


def _model(entry: Config, target: Target) -> Config:
    inner = entry["config"]
    layers = inner if isinstance(inner, list) else inner["layers"]
    named = {} if isinstance(inner, list) else inner
    result: Config = {"name": named.get("name") or entry.get("name") or "sequential"}
    if "trainable" in named:
        result["trainable"] = named["trainable"]
    if entry["class_name"] == "Sequential":
        result.pop("trainable", None)
        result["layers"] = [_layer(one, target) for one in with_input(layers, named.get("build_input_shape"))]
        return {"module": "keras", "class_name": "Sequential", "config": result, "registered_name": None}
    shift = _shifts(layers, named["output_layers"])
    made = []
    for one in layers:
        name = one.get("name") or one["config"]["name"]
        nodes = [_as_node(node) for node in one["inbound_nodes"]]
        if found := operation(one, nodes, lambda part: _tensor(part, shift)):
            made.append(found | {"name": name})
            continue
        layer = _layer(one, target)
        made.append(layer | {"name": name, "inbound_nodes": [_node(node, layer, shift) for node in nodes]})
    result["layers"] = made
    for key in ("input_layers", "output_layers"):
        result[key] = _ends(named[key], {} if key == "input_layers" else shift)
    return {"module": FUNCTIONAL, "class_name": "Functional", "config": result, "registered_name": "Functional"}


def with_input(layers: list[Config], build_shape: Any) -> list[Config]:
    """Return the layers of a Sequential with an InputLayer before them, where a shape is known."""
    if not layers or layers[0]["class_name"] == "InputLayer":
        return layers
    shape, dtype = _input_of(layers[0])
    shape = shape or build_shape
    if shape is None:
        return layers
    name = f"{layers[0]['config']['name'] if isinstance(layers[0]['config'], dict) else 'model'}_input"
    return [
        {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "dtype": dtype, "name": name}},
        *layers,
    ]


def _input_of(entry: Config) -> tuple[Any, str]:
    """The shape and dtype of the input that a layer, or the first layer inside it, says."""
    inner = entry["config"]
    layers = inner if isinstance(inner, list) else inner.get("layers", inner.get("layer"))
    if isinstance(inner, dict) and inner.get("batch_input_shape") is not None:
        return inner["batch_input_shape"], _dtype(inner.get("dtype")) or "float32"
    if isinstance(inner, dict) and isinstance(inner.get("input_dim"), int) and entry["class_name"] == "Dense":
        return [None, inner["input_dim"]], "float32"
    first = layers[0] if isinstance(layers, list) and layers else layers
    return _input_of(first) if isinstance(first, dict) and isinstance(first.get("config"), dict | list) else (None, "")


def _layer(entry: Config, target: Target) -> Config:
    """A layer, or a model among layers."""
    kind, inner = entry["class_name"], entry["config"]
    if kind in MODELS:
        return _model(entry, target)
    package, _, last = str(kind).rpartition(">")
    kind = last if package.lower() in ("keras", "keras.layers", "tensorflow.keras.layers") else kind
    known = RENAMED.get(kind, kind)
    if known not in KERAS2_LAYERS or not isinstance(inner, dict):
        return {key: value for key, value in entry.items() if key != "build_config"}
    config = _input_layer(inner) if kind == "InputLayer" else _options(kind, known, dict(inner), target)
    return {"module": "keras.layers", "class_name": known, "config": config, "registered_name": None}


def _input_layer(inner: Config) -> Config:
    shape = inner.get("batch_input_shape", inner.get("batch_shape"))
    if inner.get("ragged"):
        raise FormatError(f"layer {inner.get('name')!r}: a ragged input cannot be read: give the model padded arrays")
    if not isinstance(shape, list):
        raise FormatError(f"layer {inner.get('name')!r}: the input has no shape")
    sparse = bool(inner.get("sparse"))
    return {"batch_shape": [None, *shape[1:]], "dtype": inner.get("dtype"), "sparse": sparse, "name": inner["name"]}


def _options(kind: str, known: str, config: Config, target: Target) -> Config:
    """A layer's options as Keras 3 has them."""
    for rule in RULES.get(kind, ()):
        rule(config, target)
    allowed = target.options(known)
    result: Config = {}
    for key, value in config.items():
        if key == "dtype":
            result[key] = _dtype(value)
        elif key.endswith(TRAINING) or key == "activity_regularizer":
            if key in allowed and _serves_training(value, key):
                result[key] = value | {"module": f"keras.{key.rpartition('_')[2]}s", "registered_name": None}
        elif key not in allowed:
            if key not in SILENT and value not in (None, False) and DEFAULTS.get(key) != value:
                shown = f"{key}={value!r}"[:100]
                raise FormatError(f"layer {config.get('name')!r} ({kind}): Keras 3 has no {shown}, so it is not read")
        elif key in INNER and isinstance(value, dict):
            result[key] = _layer(value, target)
        elif key == "axis" and isinstance(value, list) and len(value) == 1:
            result[key] = value[0]
        elif key == "cells":
            result[key] = [_layer(cell, target) for cell in value]
        elif key.endswith("activation"):
            result[key] = _activation(value, target)
        else:
            result[key] = value
    return result


def _serves_training(value: Any, key: str) -> bool:
    """Whether this is a regularizer or constraint of Keras' own; initializers are left out, as weights are given."""
    parts = PARTS.get(f"{key.rpartition('_')[2]}s")
    return not key.endswith("_initializer") and isinstance(value, dict) and value.get("class_name") in (parts or ())


def _dtype(value: Any) -> str | None:
    """The name of a dtype or policy."""
    if isinstance(value, dict):
        value = value.get("config", {}).get("name")
    return value if isinstance(value, str) and value not in ("infer", "_infer") else None


def _activation(value: Any, target: Target) -> Any:
    """An activation: a name, a function's name in an object, or a layer."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    if isinstance(value, dict) and value.get("class_name") in KERAS2_LAYERS | RENAMED.keys():
        config = {"name": f"{value['class_name'].lower()}_as_activation"} | value.get("config", {})
        return _layer(value | {"config": config}, target)
    if value == "hard_sigmoid":
        return target.hard_sigmoid
    if value in ("LeakyReLU", "ReLU", "Softmax", "ELU", "ThresholdedReLU"):
        return _activation({"class_name": value, "config": {}}, target)
    return value


def _rename(old: str, new: str) -> Callable[[Config, Target], None]:
    def rule(config: Config, target: Target) -> None:
        if old in config:
            config[new] = config.pop(old)

    return rule


def _reset_after(config: Config, target: Target) -> None:
    if "reset_after" not in config:
        config["reset_after"] = target.two_biases(str(config.get("name")))


def _above(config: Config, target: Target) -> None:
    """x where it is above theta: the next number is the least that ReLU lets through, as its threshold is included."""
    import numpy as np

    theta = np.float32(config.pop("theta", 1.0))
    config["threshold"] = float(np.nextafter(theta, np.float32(np.inf)))


def _nothing(config: Config, target: Target) -> None:
    for key in set(config) - {"name", "trainable", "dtype"}:
        del config[key]


def _middle(config: Config, target: Target) -> None:
    """When a model predicts, a random crop is the largest middle part of its proportions, resized."""
    config["crop_to_aspect_ratio"] = True


def _stateless(config: Config, target: Target) -> None:
    """A model that predicts from one batch starts from zeros, as a stateful one does when it was just loaded."""
    config["stateful"] = False


RULES: dict[str, tuple[Callable[[Config, Target], None], ...]] = {
    **dict.fromkeys(("GRU", "GRUV2", "UnifiedGRU"), (_stateless, _reset_after)),
    **dict.fromkeys(("LSTM", "LSTMV2", "UnifiedLSTM", "RNN", "SimpleRNN"), (_stateless,)),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), (_stateless,)),
    **dict.fromkeys(("RandomHeight", "RandomWidth"), (_nothing,)),
    "GRUCell": (_reset_after,),
    "LeakyReLU": (_rename("alpha", "negative_slope"),),
    "RandomCrop": (_middle,),
    "ThresholdedReLU": (_above,),
}


def _as_node(node: Any) -> list[Any] | Config:
    """One call of a layer as a list of what it reads; operations write one tensor without a list around it."""
    return [node] if isinstance(node, list) and node and isinstance(node[0], str) else node


def _shifts(layers: list[Config], outputs: Any) -> dict[str, int]:
    """By layer, the number of its first call: models of Keras 2 that hold an input begin with a call of their own."""
    least: dict[str, int] = {}
    calls = {one.get("name") or one["config"]["name"]: one for one in layers}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for part in value.values():
                look(part)
        elif _is_reference(value, calls):
            least[value[0]] = min(least.get(value[0], value[1]), value[1])
            look(value[3:])
        elif isinstance(value, list):
            for part in value:
                look(part)

    look([one["inbound_nodes"] for one in layers])
    look(outputs)
    return {name: int(one["class_name"] in MODELS and least.get(name, 0) > 0) for name, one in calls.items()}


def _is_reference(value: Any, names: Collection[str]) -> bool:
    return (
        isinstance(value, list)
        and 3 <= len(value) <= 4
        and isinstance(value[0], str)
        and value[0] in names
        and all(isinstance(part, int) for part in value[1:3])
    )


def _tensor(value: Any, shift: Mapping[str, int]) -> Any:
    """A tensor that a call reads, constants, or lists and objects of both."""
    if _is_reference(value, shift):
        history = [value[0], value[1] - shift[value[0]], value[2]]
        return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": history}}
    if isinstance(value, list) and value and value[0] == "_CONSTANT_VALUE":
        return value[2]
    if isinstance(value, list):
        return [_tensor(part, shift) for part in value]
    return value


def _node(node: Any, layer: Config, shift: Mapping[str, int]) -> Config:
    """One call of a layer in the words of Keras 3."""
    kind, name = layer.get("class_name"), layer.get("config", {}).get("name")
    if not isinstance(node, list) or not all(
        _is_reference(part, shift) or part[0] == "_CONSTANT_VALUE" for part in node
    ):
        raise FormatError(f"layer {name!r} is called with more than tensors and lists of them, which is not read")
    tensors = [_tensor(part, shift) for part in node]
    given = node[-1][3] if len(node[-1]) > 3 else {}
    kwargs = {key: _tensor(value, shift) for key, value in given.items() if value is not None and value is not False}
    if given.get("training") is False:
        kwargs["training"] = False
    if kind in RECURRENT and len(tensors) > 1:
        return {"args": tensors[:1], "kwargs": kwargs | {"initial_state": tensors[1:]}}
    return {"args": [tensors if len(tensors) > 1 or kind in MERGING else tensors[0]], "kwargs": kwargs}


def _ends(ends: Any, shift: Mapping[str, int]) -> Any:
    """A model's inputs or outputs: one tensor without a list around it, models counted as Keras 3 counts them."""
    if isinstance(ends, dict):
        return {key: _ends(end, shift) for key, end in ends.items()}
    if ends and isinstance(ends[0], str):
        return ends
    return _ends(ends[0], shift) if len(ends) == 1 else [_ends(end, shift) for end in ends]
