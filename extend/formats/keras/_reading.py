"""Keras files into Keras models: checked first, then built and filled by Keras."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.keras import _archive as archive

MOST_ELEMENTS = 1 << 28
"""Numbers in any layer's output for one input."""


def the_keras() -> Any:
    """Import Keras, with JAX as its backend if none is chosen."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError("Keras", "keras", error) from error
    return keras


def read_zip(content: bytes, trust: bool) -> tuple[Any, tuple[str, ...] | None]:
    """Return the model and the class names of a ``.keras`` file."""
    config, weights, classes = archive.read_zip(content)
    file, stored = archive.open_hdf5(weights)
    file.close()
    with tempfile.TemporaryDirectory() as folder:
        if trust:
            whole = Path(folder, "model.keras")
            whole.write_bytes(content)
            return guarded(lambda: the_keras().saving.load_model(whole, compile=False, safe_mode=False)), classes
        model = _built(archive.check_config(config), stored)
        part = Path(folder, archive.WEIGHTS)
        part.write_bytes(weights)
        guarded(lambda: model.load_weights(part))
    return model, classes


def read_hdf5(content: bytes, trust: bool) -> tuple[Any, tuple[str, ...] | None]:
    """Return the model and the class names of a legacy ``.h5`` file."""
    opened, stored = archive.open_hdf5(content)
    with opened as file:
        text = archive.attribute(file, "model_config")
        if text is None or "model_weights" not in file:
            raise FormatError("it holds no model: model_config or model_weights is missing; expected what save() wrote")
        names = archive.attribute(file, "class_names")
        classes = None if names is None else archive.class_names(names)
        if trust:
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder, "model.h5")
                whole.write_bytes(content)
                return guarded(lambda: the_keras().saving.load_model(whole, compile=False, safe_mode=False)), classes
        if len(text) > archive.MOST_CONFIG:
            raise FormatError(f"model_config is longer than {archive.MOST_CONFIG} bytes")
        try:
            config = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"model_config is no JSON: {error}") from error
        model = _built(archive.check_config(config), stored)
        _load_legacy(model, file["model_weights"])
    return model, classes


def guarded(action: Callable[[], Any]) -> Any:
    """Let Keras load or build something; whatever it raises for a damaged file becomes a FormatError."""
    try:
        return action()
    except Exception as error:
        raise FormatError(f"Keras cannot load it: {type(error).__name__}: {error}"[:2000]) from error


def _built(config: dict[str, Any], stored: int) -> Any:
    """The model of a checked config; its weights are not allocated before they are known to fit what is stored."""
    keras = the_keras()
    from keras.src.backend.common import global_state

    inner, kind = config["config"], config["class_name"]
    cls = keras.Sequential if kind == "Sequential" else keras.Model
    scope = keras.StatelessScope()  # Variables made inside are filled at its end.
    with scope:
        try:
            model = cls.from_config(inner)
            if not isinstance(model, keras.Model) or not model.built:
                raise FormatError("the model has no input shape: build it before saving")
            declared = sum(math.prod(v.shape) * 4 for v in model.variables)
            if declared > 2 * stored + (1 << 20):
                raise FormatError(f"the layers declare {declared} bytes of weights, the file holds {stored}")
            _check_outputs(model)
        except Exception as error:  # Keras raises anything for a config that is damaged.
            scope.initialize_variables = False
            global_state.set_global_attribute("uninitialized_variables", [])
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"Keras cannot build it: {type(error).__name__}: {error}"[:2000]) from error
    return model


def _check_outputs(model: Any) -> None:
    for layer in model._flatten_layers(include_self=False):
        for node in layer._inbound_nodes:
            for tensor in node.output_tensors:
                if math.prod(n or 1 for n in tensor.shape[1:]) > MOST_ELEMENTS:
                    raise FormatError(f"layer {layer.name!r} makes outputs of the shape {tensor.shape}: too large")


def weights_of(layer: Any) -> list[Any]:
    """Return a layer's weights in the order of Keras' files."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _load_legacy(model: Any, group: Any) -> None:
    """Assign the weights of a legacy file, layer by layer in order, as Keras does it."""
    layers = [layer for layer in model.layers if weights_of(layer)]
    stored = []
    for name in archive.attributes(group, "layer_names"):
        own = group.get(name)
        names = archive.attributes(own, "weight_names") if hasattr(own, "keys") else []
        if names:
            stored.append((name, own, names))
    if len(stored) != len(layers):
        raise FormatError(f"{len(stored)} layers have weights in the file, {len(layers)} in its config")
    for layer, (name, own, names) in zip(layers, stored, strict=True):
        variables = weights_of(layer)
        values = [own.get(weight) for weight in names]
        shapes = [getattr(value, "shape", None) for value in values]
        if shapes != [tuple(variable.shape) for variable in variables]:
            raise FormatError(f"layer {name!r}: the weights have the shapes {shapes}; the config's layer has others")
        guarded(partial(_assign, variables, values))


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value[()])
