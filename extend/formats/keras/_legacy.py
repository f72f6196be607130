"""The ``.h5`` of Keras 2: written so that TF-Keras 2, Keras 3 and deeplearning4j's importer read it.

What deeplearning4j reads (its ``modelimport``: KerasModelBuilder, Hdf5Archive, KerasModelUtils, KerasLayerUtils): the
attributes ``model_config``, ``keras_version`` (of the major version 2) and ``backend``; the class ``Sequential`` or
``Model``; ``input_layers`` and ``output_layers`` as lists of lists; ``batch_input_shape``; initializers as objects of
``class_name`` and ``config``; below ``model_weights`` one group a layer and nothing else, with ``weight_names`` as an
array of fixed-length strings that end in ``:0``.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import replace_file
from extend.formats.dense import DenseNetwork
from extend.formats.keras._archive import KERAS2_LAYERS, MODELS, words
from extend.formats.keras._keras2 import with_input
from extend.formats.keras._probe import noted

KERAS_VERSION = b"2.15.0"
"""The last Keras 2, whose file format this is."""

KERAS2_HARD_SIGMOID = "keras2_hard_sigmoid"
"""What `hard_sigmoid` of Keras 2, which is another function in Keras 3, is called in a model here."""

HEADER_LIMIT = 64512
"""Bytes of an attribute that is stored in an object's header; longer lists are cut as Keras cuts them."""

Weights = list[tuple[str, list[tuple[str, np.ndarray]]]]
"""By layer: its name, and the names (as the file has them, such as ``dense/kernel:0``) and values of its weights."""

NEW_KEYS = words(
    """build_config compile_config build_input_shape module registered_name shared_object_id quantization_config
    optional synchronized renorm renorm_clipping renorm_momentum input_axes output_axes use_cudnn
    zero_output_for_mask lora_rank lora_alpha"""
)
DEFAULTS = {"groups": 1, "keepdims": False, "time_major": False}
"""Fields that came within Keras 2: left out at their defaults, for the early readers."""

NEWER: dict[str, dict[str, Any]] = {
    "ConvLSTM1D": {"seed": None},
    "ConvLSTM2D": {"seed": None},
    "ConvLSTM3D": {"seed": None},
    "LayerNormalization": {"rms_scaling": False},
    "RandomContrast": {"value_range": [0, 255]},
    "Resizing": {"antialias": False, "fill_mode": "constant", "fill_value": 0.0, "pad_to_aspect_ratio": False},
}
"""Options that Keras 3 added to layers of Keras 2, and the values at which they may be left out."""
LAST_ONLY = words(
    """CenterCrop RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom
    Resizing ZeroPadding1D"""
)
"""Layers that have no `data_format` in Keras 2."""

DENSE_ACTIVATIONS = {
    "identity": "linear",
    "tanh": "tanh",
    "logistic": "sigmoid",
    "relu": "relu",
    "softmax": "softmax",
}


def to_keras_h5(network: DenseNetwork, path: str | os.PathLike[str]) -> None:
    """Write a dense network as a Keras 2 ``.h5``, the scaling of its inputs folded into the first layer.

    Weights are float32. The class names, if there are any, are kept in the attribute ``class_names``.

    Parameters
    ----------
    network
        The network.
    path
        Where to write, ending in ``.h5`` or ``.hdf5``.

    Raises
    ------
    FormatError
        If the suffix is another one, or an activation has no counterpart in Keras 2.

    Examples
    --------
    >>> import tempfile
    >>> from extend.formats.dense import DenseLayer
    >>> network = DenseNetwork((DenseLayer(np.eye(2), np.zeros(2), "softmax"),), np.ones(2), np.zeros(2))
    >>> to_keras_h5(network, tempfile.mkdtemp() + "/network.h5")
    """
    if not str(path).endswith((".h5", ".hdf5")):
        raise FormatError(f"{path}: a Keras 2 file ends in .h5 or .hdf5")
    inputs = {"batch_input_shape": [None, len(network.scale)], "dtype": "float32", "sparse": False, "ragged": False}
    layers = [{"class_name": "InputLayer", "config": inputs | {"name": "input_1"}}]
    weights: Weights = []
    for number, layer in enumerate(network.layers):
        if layer.activation not in DENSE_ACTIVATIONS:
            raise FormatError(
                f"layer {number + 1}: Keras 2 has no activation {layer.activation}; "
                f"there are {', '.join(DENSE_ACTIVATIONS)}"
            )
        kernel, bias = layer.kernel, layer.bias
        if number == 0:
            kernel, bias = network.scale[:, None] * kernel, bias + network.offset @ kernel
        name = f"dense_{number + 1}"
        layers.append({"class_name": "Dense", "config": _dense(name, kernel.shape[1], layer.activation)})
        weights.append(
            (name, [(f"{name}/kernel:0", kernel.astype(np.float32)), (f"{name}/bias:0", bias.astype(np.float32))])
        )
    config = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": layers}}
    replace_file(path, file_of(config, weights, network.classes))


def _dense(name: str, units: int, activation: str) -> dict[str, Any]:
    return {
        "name": name,
        "trainable": True,
        "dtype": "float32",
        "units": units,
        "activation": DENSE_ACTIVATIONS[activation],
        "use_bias": True,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }


def file_of(config: Mapping[str, Any], weights: Weights, classes: Iterable[str] = ()) -> bytes:
    """Return the bytes of a Keras 2 file of a config of Keras 2 and each layer's weights, in the layers' order."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("Keras", "keras", error) from error
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        group = file.create_group("model_weights")
        for place in (file, group):
            place.attrs["keras_version"] = KERAS_VERSION
            place.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(config).encode()
        if names := list(classes):
            file.attrs["class_names"] = json.dumps(names).encode()
        _names(group, "layer_names", [name for name, _ in weights])
        for layer, values in weights:
            own = group.create_group(layer)
            _names(own, "weight_names", [name for name, _ in values])
            for name, value in values:
                own.create_dataset(name, data=value)
    return noted(content.getvalue())


def _names(group: Any, attribute: str, names: list[str]) -> None:
    # Fixed-length strings, as h5py 2 wrote them: deeplearning4j cannot read arrays of strings of variable length.
    values = np.array([name.encode() for name in names]) if names else np.zeros(0)
    if values.nbytes <= HEADER_LIMIT:
        group.attrs[attribute] = values
        return
    for part, piece in enumerate(np.array_split(values, -(-values.nbytes // HEADER_LIMIT) + 1)):
        group.attrs[f"{attribute}{part}"] = piece


def weight_names(layer: str, names: list[str]) -> list[str]:
    """Return names for a layer's weights in a file, no two alike.

    Examples
    --------
    >>> weight_names("base", ["conv/kernel", "conv/kernel"])
    ['base/conv/kernel:0', 'base/conv/kernel_1:0']
    """
    again = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{layer}/{name}{f'_{n}' if n else ''}:0" for name, n in zip(names, again, strict=True)]


def for_both(config: Mapping[str, Any], inside: bool = False) -> dict[str, Any]:
    """Return a config of Keras 2 that Keras 3 can read too, of the same meaning.

    Keras 2 counts the calls of a model that is a layer from 1, and Keras 3 from 0. So each call is written twice, and
    the second of two is named: number 1 is the first call for the one and the second for the other, which are alike.
    """
    inner = config["config"]
    if isinstance(inner, list):
        inner = {"name": config.get("name") or "sequential", "layers": inner}
    layers = (
        inner["layers"] if "output_layers" in inner else with_input(inner["layers"], inner.get("build_input_shape"))
    )
    result = {**inner, "layers": [_both_layer(entry) for entry in layers]}
    if "output_layers" in inner:
        if inside:
            for key in ("input_layers", "output_layers"):
                ends = inner[key]
                result[key] = ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends
        doubled = {entry["name"] for entry in result["layers"] if _is_to_double(entry, result)}
        for entry in result["layers"]:
            nodes = _renumbered(entry["inbound_nodes"], doubled)
            entry["inbound_nodes"] = [n for n in nodes for _ in range(2)] if entry["name"] in doubled else nodes
        result["output_layers"] = _renumbered(result["output_layers"], doubled)
    return {**config, "config": result}


def _both_layer(entry: Mapping[str, Any]) -> dict[str, Any]:
    if entry["class_name"] in MODELS:
        kept = {key: part for key, part in entry.items() if key not in ("module", "registered_name", "build_config")}
        return for_both(kept, inside=True)
    options = _for_both_options(entry["config"])
    if entry["class_name"] != "InputLayer":
        options.pop("batch_input_shape", None)
    return {**entry, "config": options}


def _for_both_options(value: Any) -> Any:
    """Options without those that only Keras 2 has, where they stand at their defaults; policies by name."""
    if isinstance(value, list):
        return [_for_both_options(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "ndarray" and "value" in value:
        return value["value"]
    result = {key: part for key, part in value.items() if not (key in DEFAULTS and part == DEFAULTS[key])}
    for key, part in result.items():
        if key == "dtype" and isinstance(part, dict) and isinstance(part.get("config"), dict):
            part = part["config"].get("name", part)
        if key.endswith("_initializer") and isinstance(part, dict) and isinstance(part.get("config"), dict):
            part = part | {"config": {k: v for k, v in part["config"].items() if k != "dtype"}}
        if key == "axis" and isinstance(part, list) and len(part) == 1:
            part = part[0]
        result[key] = _for_both_options(part)
    if "rate" in result and result.get("noise_shape", 0) is None:
        del result["noise_shape"]
    return result


def _references(value: Any, name: str) -> Iterator[int]:
    """The numbers by which calls of a layer are named."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if len(value) in (3, 4) and value[0] == name and isinstance(value[1], int):
            yield value[1]
        for part in value:
            yield from _references(part, name)


def _is_to_double(entry: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    if entry["class_name"] not in MODELS:
        return False
    numbers = [n for one in model["layers"] for n in _references(one["inbound_nodes"], entry["name"])]
    numbers += _references(model["output_layers"], entry["name"])
    calls = entry["inbound_nodes"]
    done = len(calls) % 2 == 0 and calls[::2] == calls[1::2] and all(number % 2 for number in numbers)
    return bool(calls) and min(numbers, default=0) > 0 and not done


def _renumbered(value: Any, doubled: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _renumbered(part, doubled) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) in (3, 4) and isinstance(value[0], str) and value[0] in doubled and isinstance(value[1], int):
        return [value[0], 2 * value[1] - 1, *(_renumbered(part, doubled) for part in value[2:])]
    return [_renumbered(part, doubled) for part in value]


def config_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of Keras 2 for one that Keras 3's `get_config` gives for a Sequential or functional model.

    Raises
    ------
    FormatError
        If Keras 2 has not such a layer, or could not describe its inputs; the message names the layer.
    """
    models = {entry["config"]["name"] for entry in config["layers"] if entry["class_name"] in MODELS}
    layers = [_layer(entry, models) for entry in config["layers"]]
    result: dict[str, Any] = {"name": config["name"], "layers": layers}
    if kind == "Sequential":
        return {"class_name": "Sequential", "config": result}
    for key in ("input_layers", "output_layers"):
        ends = config[key]
        if isinstance(ends, dict):
            ends = list(ends.values())
        ends = [ends] if ends and isinstance(ends[0], str) else ends
        sequential = {one["config"]["name"] for one in config["layers"] if one["class_name"] == "Sequential"}
        result[key] = [[name, number + (name in sequential), *rest] for name, number, *rest in ends]
    return {"class_name": "Model", "config": result}


def _layer(entry: Mapping[str, Any], models: Collection[str] = ()) -> dict[str, Any]:
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS:
        result = config_of(kind, config)
    elif kind in KERAS2_LAYERS and not str(entry.get("module", "")).startswith("keras.src.ops"):
        result = {"class_name": kind, "config": _plain(config, kind)}
    else:
        raise FormatError(f"layer {config.get('name')!r}: Keras 2 has no layer {kind}; save as .keras")
    if "inbound_nodes" in entry:
        result |= {
            "name": config["name"],
            "inbound_nodes": [_node(n, config["name"], models) for n in entry["inbound_nodes"]],
        }
    return result


def _plain(value: Any, kind: str = "") -> Any:
    """A layer's config, or a part of it, with the fields and names of Keras 2."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value and "config" in value:
        name, inner = value["class_name"], value["config"]
        if name == "DTypePolicy":
            return inner["name"]
        if name == "function":
            return "hard_sigmoid" if inner == KERAS2_HARD_SIGMOID else inner
        if name in ("L1", "L2"):
            return {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.0} | inner}
        if name in KERAS2_LAYERS | MODELS:  # Inside a wrapper; Keras 3 finds it by its module, Keras 2 needs none.
            return {"module": "keras" if name in MODELS else "keras.layers", "registered_name": None} | _layer(value)
        return {"class_name": name, "config": _plain(inner)}
    result = {}
    newer = NEWER.get(kind, {}) | ({"data_format": "channels_last"} if kind in LAST_ONLY else {})
    for key, part in value.items():
        if key in NEW_KEYS or (key in DEFAULTS and part == DEFAULTS[key]):
            continue
        if key in newer:
            if part != newer[key] and list(np.atleast_1d(part)) != newer[key]:
                raise FormatError(f"layer {value.get('name')!r}: Keras 2 has no {key}={part!r}; save as .keras")
            continue
        if key == "batch_shape":
            key = "batch_input_shape"
        if key.endswith("activation") and part == "hard_sigmoid":
            raise FormatError(
                f"layer {value.get('name')!r}: hard_sigmoid is another function in Keras 2; save as .keras"
            )
        if (kind, key) == ("LeakyReLU", "negative_slope"):
            key = "alpha"
        result[key] = _plain(part)
    return result


def _node(node: Any, layer: str, models: Collection[str]) -> list[list[Any]]:
    """One call of a layer: ``[[layer before, node, tensor, options], ...]``."""
    if isinstance(node, list):
        return node
    options = {key: value for key, value in node["kwargs"].items() if value is not None}
    found: list[list[Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, list | tuple):
            for part in value:
                collect(part)
        elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            name, number, tensor = value["config"]["keras_history"]
            found.append([name, number + (name in models), tensor, options])
        else:
            raise FormatError(f"layer {layer!r} is called with more than tensors; save as .keras")

    collect(node["args"])
    if len(node["args"]) != 1 or set(options) - {"training"}:
        raise FormatError(f"layer {layer!r} is called with several arguments; save as .keras")
    return found
