"""Keras files into Keras models: checked first, then built and filled by Keras."""

from __future__ import annotations

import copy
import inspect
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.keras import _archive as archive
from extend.formats.keras._keras2 import Target, translate
from extend.formats.keras._library import guarded, one_line, the_keras, zeros_first
from extend.formats.keras._original import Original
from extend.formats.keras._weights import fill, flipped_kernels, of_h5, of_zip

MOST_ELEMENTS = 1 << 28
"""Numbers in any layer's output for one input."""


@dataclass(frozen=True, eq=False)
class Read:
    """What a file holds: the model, the class names, the loss of its training, and the file if Keras 2 wrote it."""

    model: Any
    classes: tuple[str, ...] | None
    loss: str | None = None
    original: Original | None = None


def read_zip(content: bytes, trust: bool) -> Read:
    """Read a ``.keras`` file."""
    config, weights, classes, version = archive.read_zip(content)
    compiled = config.get("compile_config")
    loss = _loss(compiled.get("loss") if isinstance(compiled, dict) else None)
    file, stored = archive.open_hdf5(weights)
    with file:
        if version == 2:
            model, translated = model_of(config, stored, trust, lambda layer: True)
            slots = guarded(lambda: of_zip(model, translated, file))
            guarded(lambda: fill(model, slots, file, flipped=False))
            paths = {id(variable): path for variable, path in slots}
            return Read(model, classes, loss, Original(".keras", content, config, paths))
    with tempfile.TemporaryDirectory() as folder:
        if trust:
            whole = Path(folder, "model.keras")
            whole.write_bytes(content)
            model = guarded(lambda: the_keras().saving.load_model(whole, compile=False, safe_mode=False))
            return Read(model, classes, loss)
        model = _built(archive.check_config(config), stored)
        part = Path(folder, archive.WEIGHTS)
        part.write_bytes(weights)
        guarded(lambda: model.load_weights(part))
    return Read(model, classes, loss)


def read_hdf5(content: bytes, trust: bool) -> Read:
    """Read a legacy ``.h5`` file."""
    opened, stored = archive.open_hdf5(content)
    with opened as file:
        text = archive.attribute(file, "model_config")
        if text is None or "model_weights" not in file:
            raise FormatError(_no_model(file))
        names = archive.attribute(file, "class_names")
        classes = None if names is None else archive.class_names(names)
        compiled = _parsed(archive.attribute(file, "training_config") or "{}", "training_config")
        loss = _loss(compiled.get("loss") if isinstance(compiled, dict) else None)
        config = _parsed(text, "model_config")
        version, group = archive.attribute(file, "keras_version") or "2", file["model_weights"]
        if not isinstance(config, dict) or version[0] in "12":
            model, translated = model_of(config, stored, trust, lambda layer: _two_biases(group, layer))
            slots = of_h5(model, translated, group)
            theano = archive.attribute(file, "backend") == "theano"
            guarded(lambda: fill(model, slots, file, theano))
            turned = flipped_kernels(model) if theano else set()
            paths = {id(variable): path for variable, path in slots}
            flipped = frozenset(path for variable, path in slots if id(variable) in turned)
            return Read(model, classes, loss, Original(".h5", content, config, paths, flipped))
        if trust:
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder, "model.h5")
                whole.write_bytes(content)
                model = guarded(lambda: the_keras().saving.load_model(whole, compile=False, safe_mode=False))
                return Read(model, classes, loss)
        model = _built(archive.check_config(config), stored)
        slots = of_h5(model, config, group)
        guarded(lambda: fill(model, slots, file, flipped=False))
    return Read(model, classes, loss)


def read_config(
    config: Any, arrays: Mapping[str, np.ndarray], fill: Callable[[Any], None], classes: Any, loss: str | None
) -> Read:
    """Read a model of which the config, of Keras 2 or 3, and the arrays are known.

    Parameters
    ----------
    config
        ``{"class_name": "Sequential" or "Model", "config": ...}``; it is checked as that of a file.
    arrays
        The weights by their names, such as ``"gru/bias"``; the model may not be larger than they are.
    fill
        A function that gives the model's variables their numbers.
    classes, loss
        The classes' names, and the loss that the model was trained with, or None.

    Raises
    ------
    FormatError
        If it names what is not Keras' own, or Keras cannot build it.
    """
    stored = sum(array.size for array in arrays.values()) * 4
    if archive.is_keras3(config):
        model = _built(archive.check_config(archive.with_modules(config)), stored)
        fill(model)
        return Read(model, classes, loss)
    paths = [name.split("/") for name, array in arrays.items() if name.endswith("/bias") and array.ndim == 2]
    of_two = {part.removeprefix("forward_").removeprefix("backward_") for path in paths for part in path}
    model, _ = model_of(config, stored, False, of_two.__contains__)
    fill(model)
    return Read(model, classes, loss)


def _no_model(file: Any) -> str:
    """What an HDF5 file is that holds no model of Keras."""
    if "layer_names" in file.attrs or {"layers", "_layer_checkpoint_dependencies", "vars"} & set(file):
        return (
            "it holds weights alone (save_weights), and not what the layers are: build the model, run "
            "model.load_weights(file), then model.save('model.keras')"
        )
    return "it holds no model: model_config or model_weights is missing; expected what model.save() wrote"


def _parsed(text: str, what: str) -> Any:
    if len(text) > archive.MOST_CONFIG:
        raise FormatError(f"{what} is longer than {archive.MOST_CONFIG} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is no JSON: {error}") from error


def _loss(value: Any) -> str | None:
    """The name of the loss that a model was compiled with, if it is a single one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if value.get("class_name") == "function" else value.get("class_name")
    return value if isinstance(value, str) else None


def model_of(config: Any, stored: int, trust: bool, two_biases: Callable[[str], bool]) -> tuple[Any, dict[str, Any]]:
    """Return the model of a config of Keras 2, unfilled, and that config in the words of Keras 3."""
    if not isinstance(config, dict):
        raise FormatError("the model's config is no object")
    target = Target(_options_of, _hard_sigmoid(), two_biases)
    translated = translate(config, target)
    checked = translated if trust else archive.check_config(translated)
    if checked.get("class_name") not in archive.MODELS:
        raise FormatError(f"the model is of the class {checked.get('class_name')!r}; expected Sequential or Functional")
    return _built(checked, stored), checked


def _two_biases(group: Any, layer: str) -> bool:
    """Whether a GRU of this name has a bias of two rows in the file."""
    found: list[Any] = []

    def look(path: str, item: Any) -> None:
        parts = path.split("/")
        if parts[-1].startswith("bias") and layer in parts[:-1] and hasattr(item, "shape"):
            found.append(len(item.shape))

    group.visititems(look)
    return not found or 2 in found


def _options_of(kind: str) -> frozenset[str]:
    """The options of a layer of Keras 3."""
    options: set[str] = set()
    for cls in getattr(the_keras().layers, kind).__mro__:
        parameters = inspect.signature(cls.__init__).parameters.values()
        options |= {one.name for one in parameters if one.kind is not one.VAR_KEYWORD}
        if all(one.kind is not one.VAR_KEYWORD for one in parameters):
            break
    return frozenset(options)


def _hard_sigmoid() -> Callable[[Any], Any]:
    """The hard sigmoid of Keras 2, known to Keras under its name, as layers that copy their layers look it up."""
    keras = the_keras()
    known = keras.saving.get_registered_object("extend>keras2_hard_sigmoid")
    if known is not None:
        return known

    def keras2_hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(x * 0.2 + 0.5, 0.0, 1.0)

    return keras.saving.register_keras_serializable("extend")(keras2_hard_sigmoid)


def _built(config: dict[str, Any], stored: int) -> Any:
    """The model of a checked config; its weights are not allocated before they are known to fit what is stored."""
    keras = the_keras()
    from keras.src.backend.common import global_state

    inner, kind = config["config"], config["class_name"]
    cls = keras.Sequential if kind == "Sequential" else keras.Model
    scope = keras.StatelessScope()  # Variables made inside are filled at its end.
    with scope:
        try:
            model = cls.from_config(copy.deepcopy(inner))
            if not isinstance(model, keras.Model) or not model.built:
                raise FormatError("the model has no input shape: build it before saving")
            declared = sum(math.prod(v.shape) * 4 for v in model.variables)
            if declared > 2 * stored + (1 << 20):
                raise FormatError(f"the layers declare {declared} bytes of weights, the file holds {stored}")
            _check_outputs(model)
            zeros_first(model)
        except Exception as error:  # Keras raises anything for a config that is damaged.
            scope.initialize_variables = False
            global_state.set_global_attribute("uninitialized_variables", [])
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"Keras cannot build it: {one_line(error)}") from error
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
