"""The JSON of a layers model: what it is, its layers as Keras 2 describes them, and the same with another head."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from extend.core.errors import FormatError
from extend.formats.keras import words

Json = dict[str, Any]

CAMEL = re.compile(r"[a-z]+[a-z0-9]*[A-Z][A-Za-z0-9]*")
NAMED_VALUES = frozenset({"data_format", "activation", "recurrent_activation", "mode", "interpolation", "distribution"})
"""Options whose values are words, which JavaScript may write as ``channelsLast``."""
EARLY_CLASSES = {"BatchNormalizationV1": "BatchNormalization", "UnifiedGRU": "GRU", "UnifiedLSTM": "LSTM"}
"""What TensorFlow 1.13 called some layers; TensorFlow.js' converter renames them too."""


def parse(text: bytes) -> Json:
    """Return the object in a JSON text.

    Raises
    ------
    FormatError
        If the text is something else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError("it is no JSON object")
    return found


def read(document: Json) -> Json:
    """Return the config of the model in what ``model.json`` holds: ``{"class_name": ..., "config": ...}``.

    Raises
    ------
    FormatError
        If it is a graph model, or no model of TensorFlow.js.

    Examples
    --------
    >>> read({"modelTopology": {"class_name": "Sequential", "config": {"layers": [{"className": "ReLU"}]}}})["config"]
    {'layers': [{'class_name': 'ReLU'}]}
    """
    topology = _object(document.get("modelTopology"))
    if document.get("format") == "graph-model" or (topology is not None and {"node", "library"} & topology.keys()):
        raise FormatError(
            "a graph model of TensorFlow.js has operations in place of layers, and cannot take a wider head: open the "
            "Keras model that it was converted from, or convert that with --output_format=tfjs_layers_model"
        )
    if topology is None:
        raise FormatError(
            "it is no layers model of TensorFlow.js: modelTopology is missing; expected what save() wrote"
        )
    config = _object(topology.get("model_config", topology.get("modelConfig", topology)))
    try:
        plain = None if config is None else _pythonic(config)
    except RecursionError as error:
        raise FormatError("modelTopology is nested too deeply") from error
    if not isinstance(plain, dict) or not isinstance(plain.get("class_name"), str):
        raise FormatError("modelTopology names no class; expected a Sequential or functional model")
    return plain


def _object(value: Any) -> Json | None:
    """An object, which early versions wrote as a JSON text in the JSON."""
    if isinstance(value, str):
        value = parse(value.encode())
    return value if isinstance(value, dict) else None


def _pythonic(value: Any, key: str = "") -> Any:
    """A config with Python's names of options: TensorFlow.js reads JavaScript's names as well."""
    if isinstance(value, list):
        return [_pythonic(part, key) for part in value]
    if isinstance(value, dict):
        return {name: _pythonic(part, name) for name, part in ((_snake(key), part) for key, part in value.items())}
    if isinstance(value, str) and key == "class_name":
        return EARLY_CLASSES.get(value, value)
    return _snake(value) if isinstance(value, str) and key in NAMED_VALUES else value


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() if CAMEL.fullmatch(name) else name


def with_config(document: Json, config: Json) -> Json:
    """Return the document with another config of the model; what compiling a model needs is left out."""
    new = copy.deepcopy(document)
    topology = _object(new["modelTopology"])
    assert topology is not None  # `read` has seen it.
    if key := next((key for key in ("model_config", "modelConfig") if key in topology), None):
        new["modelTopology"] = {k: v for k, v in topology.items() if k not in (key, "training_config")}
        new["modelTopology"]["model_config"] = config
    else:
        new["modelTopology"] = {k: v for k, v in topology.items() if k not in ("class_name", "className")} | config
    new.pop("trainingConfig", None)
    return new


def _entries(config: Any) -> Iterator[Json]:
    """Every part of a config that describes a layer with a name, those in nested models and wrappers too."""
    if isinstance(config, list):
        for part in config:
            yield from _entries(part)
    elif isinstance(config, dict):
        inner = config.get("config")
        if isinstance(config.get("class_name"), str) and isinstance(inner, dict) and "name" in inner:
            yield config
        for part in config.values():
            yield from _entries(part)


def loss_of(document: Json) -> str | None:
    """Return the name of the loss that the model was trained with, if it is told."""
    topology = document["modelTopology"] if isinstance(document["modelTopology"], dict) else {}
    for told in (document.get("trainingConfig"), topology.get("training_config")):
        if isinstance(told, dict) and isinstance(told.get("loss"), str):
            return _snake(told["loss"])
    return None


def labels_of(metadata: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Return the key of ``metadata.json`` that names the classes, and their names; None if it names none.

    Raises
    ------
    FormatError
        If the names are no list of text.

    Examples
    --------
    >>> labels_of({"labels": ["cat", "dog"]})
    ('labels', ('cat', 'dog'))
    """
    for key in ("labels", "wordLabels", "words"):
        names = metadata.get(key)
        if names is None:
            continue
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FormatError(f"{key} in metadata.json is no list of text")
        return key, tuple(names)
    return None


LAYERS = words(
    """Activation Add AlphaDropout Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    Bidirectional CenterCrop Concatenate Conv1D Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM2D Cropping2D
    Dense DepthwiseConv2D Dot Dropout ELU Embedding Flatten Functional GRU GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D InputLayer LSTM
    LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum Model Multiply PReLU
    Permute ReLU RepeatVector Rescaling Reshape Resizing SeparableConv2D Sequential SimpleRNN Softmax SpatialDropout1D
    ThresholdedReLU TimeDistributed UpSampling2D ZeroPadding2D"""
)
"""The layers that TensorFlow.js 4 has, of those that `extend.formats.keras` reads."""
ACTIVATIONS = words(
    "elu gelu hard_sigmoid linear log_softmax mish relu relu6 selu sigmoid softmax softplus softsign swish tanh"
)
WITHOUT = {"reset_after": False, "groups": 1, "keepdims": False, "negative_slope": 0.0, "threshold": 0.0}
"""Options that TensorFlow.js does not have, or does not heed, and the values at which it needs none."""


def adapt(config: Json) -> None:
    """Make a config that Keras wrote one that TensorFlow.js reads.

    Raises
    ------
    FormatError
        If TensorFlow.js has not one of its layers, or an option; the message names the layer.

    Examples
    --------
    >>> adapt({"class_name": "Normalization", "config": {"name": "scaled"}})
    Traceback (most recent call last):
    ...
    extend.core.errors.FormatError: layer 'scaled': TensorFlow.js has no Normalization; save as .keras or .h5
    """
    for entry in _entries(config):
        kind, options = entry["class_name"], entry["config"]
        what = "" if kind in LAYERS else kind
        for key, value in options.items():
            if key in WITHOUT and value not in (None, WITHOUT[key]):
                what = f"{kind} with {key}={value}"
            if key.endswith("activation") and isinstance(value, str) and value not in ACTIVATIONS:
                what = f"activation {value}"
        if what:
            raise FormatError(f"layer {options['name']!r}: TensorFlow.js has no {what}; save as .keras or .h5")
        if kind == "Bidirectional":  # Keras names the copy that runs forwards, TensorFlow.js what is copied.
            inner = options["layer"]["config"]
            inner["name"] = inner["name"].removeprefix("forward_")
