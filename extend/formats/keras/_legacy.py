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
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import replace_file
from extend.formats.dense import DenseNetwork
from extend.formats.keras._archive import KERAS2_LAYERS, MODELS, words

KERAS_VERSION = b"2.15.0"
"""The last Keras 2, whose file format this is."""

HEADER_LIMIT = 64512
"""Bytes of an attribute that is stored in an object's header; longer lists are cut as Keras cuts them."""

Weights = list[tuple[str, list[tuple[str, np.ndarray]]]]
"""By layer: its name, and the names and values of its weights."""

NEW_KEYS = words(
    """build_config compile_config build_input_shape module registered_name shared_object_id quantization_config
    optional synchronized renorm renorm_clipping renorm_momentum input_axes output_axes use_cudnn
    zero_output_for_mask lora_rank lora_alpha"""
)
DEFAULTS = {"groups": 1, "keepdims": False}
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
        weights.append((name, [("kernel", kernel.astype(np.float32)), ("bias", bias.astype(np.float32))]))
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
            given = [name for name, _ in values]
            again = [given[:place].count(name) for place, name in enumerate(given)]
            paths = [f"{layer}/{name}{f'_{n}' if n else ''}:0" for name, n in zip(given, again, strict=True)]
            _names(own, "weight_names", paths)
            for name, (_, value) in zip(paths, values, strict=True):
                own.create_dataset(name, data=value)
    return content.getvalue()


def _names(group: Any, attribute: str, names: list[str]) -> None:
    # Fixed-length strings, as h5py 2 wrote them: deeplearning4j cannot read arrays of strings of variable length.
    values = np.array([name.encode() for name in names]) if names else np.zeros(0)
    if values.nbytes <= HEADER_LIMIT:
        group.attrs[attribute] = values
        return
    for part, piece in enumerate(np.array_split(values, -(-values.nbytes // HEADER_LIMIT) + 1)):
        group.attrs[f"{attribute}{part}"] = piece


def config_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of Keras 2 for one that Keras 3's `get_config` gives for a Sequential or functional model.

    Raises
    ------
    FormatError
        If Keras 2 has not such a layer, or could not describe its inputs; the message names the layer.
    """
    layers = [_layer(entry) for entry in config["layers"]]
    result: dict[str, Any] = {"name": config["name"], "layers": layers}
    if kind == "Sequential":
        return {"class_name": "Sequential", "config": result}
    for key in ("input_layers", "output_layers"):
        ends = config[key]
        if isinstance(ends, dict):
            ends = list(ends.values())
        result[key] = [ends] if ends and isinstance(ends[0], str) else list(ends)
    return {"class_name": "Model", "config": result}


def _layer(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind, config = entry["class_name"], entry["config"]
    if kind in MODELS:
        result = config_of(kind, config)
    elif kind in KERAS2_LAYERS and not str(entry.get("module", "")).startswith("keras.src.ops"):
        result = {"class_name": kind, "config": _plain(config, kind)}
    else:
        raise FormatError(f"layer {config.get('name')!r}: Keras 2 has no layer {kind}; save as .keras")
    if "inbound_nodes" in entry:
        result |= {"name": config["name"], "inbound_nodes": [_node(n, config["name"]) for n in entry["inbound_nodes"]]}
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
            return inner
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
        if (kind, key) == ("LeakyReLU", "negative_slope"):
            key = "alpha"
        result[key] = _plain(part)
    return result


def _node(node: Any, layer: str) -> list[list[Any]]:
    """One call of a layer: ``[[layer before, node, tensor, {}], ...]``."""
    if isinstance(node, list):
        return node
    found: list[list[Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, list | tuple):
            for part in value:
                collect(part)
        elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            found.append([*value["config"]["keras_history"], {}])
        else:
            raise FormatError(f"layer {layer!r} is called with more than tensors; save as .keras")

    collect(node["args"])
    if len(node["args"]) != 1 or any(value is not None for key, value in node["kwargs"].items() if key != "training"):
        raise FormatError(f"layer {layer!r} is called with several arguments; save as .keras")
    return found
