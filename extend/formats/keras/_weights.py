"""Which array of a Keras 2 file is which variable of the model that Keras 3 built.

A `Slot` is a variable with the path of its array. In an ``.h5``, each layer of the model has a list of names: first
what is trained, then what is not, models inside flattened. In a ``.keras``, a folder for each layer holds ``vars/0``,
``vars/1``, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from extend.core.errors import FormatError
from extend.formats.keras import _archive as archive

if TYPE_CHECKING:
    import h5py

Config: TypeAlias = dict[str, Any]
Slot: TypeAlias = tuple[Any, str]

FLIPPED = frozenset({"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D"})
"""Layers whose kernels Keras on Theano applies flipped along every axis of the picture."""

CHILDREN = {
    "_key_dense": "key_dense",
    "_output_dense": "output_dense",
    "_query_dense": "query_dense",
    "_value_dense": "value_dense",
    "backward_layer": "backward_layer",
    "cell": "cell",
    "forward_layer": "forward_layer",
    "layer": "layer",
}
"""Folders of parts of a layer, and the attributes of Keras 3 that hold these parts."""

SURPLUS = ("StateVar", "count", "seed_generator_state")
"""Variables of Keras 2 that Keras 3 does not have: they count samples, or draw random numbers."""


def of_h5(model: Any, config: Config, group: h5py.Group) -> list[Slot]:
    """Return the slots of a legacy file; `group` is its ``model_weights``, and `config` what the model was built of.

    Raises
    ------
    FormatError
        If the file has other layers, or weights of other shapes, than the config.
    """
    layers = [(layer, entry) for layer, entry in _pairs(model, config) if any(_split(layer, entry))]
    stored = {}
    for name in archive.attributes(group, "layer_names"):
        own = group.get(name)
        names = archive.attributes(own, "weight_names") if hasattr(own, "keys") else []
        if names:
            stored[name] = (own, names)
    known = {layer.name for layer, _ in layers}
    stored = {
        name: (own, names)
        for name, (own, names) in stored.items()
        if name in known or any(not _last(weight).startswith(SURPLUS) for weight in names)
    }
    if len(stored) != len(layers):
        raise FormatError(f"{len(stored)} layers have weights in the file, {len(layers)} in its config")
    order = [layer.name for layer, _ in layers] if known == set(stored) else list(stored)
    slots: list[Slot] = []
    for (layer, entry), name in zip(layers, order, strict=True):
        own, names = stored[name]
        trained, others = _split(layer, entry)
        variables = [*trained, *others]
        if len(names) > len(variables):
            names = [weight for weight in names if not _last(weight).startswith(SURPLUS)]
        slots += _matched(name, variables, own, names)
    return slots


def of_zip(model: Any, config: Config, file: h5py.Group) -> list[Slot]:
    """Return the slots of the weights in a ``.keras`` file of Keras 2.

    Raises
    ------
    FormatError
        If the file has other layers, or weights of other shapes, than the config.
    """
    from keras.src.utils.naming import to_snake_case

    container = next((file[key] for key in ("layers", "_layer_checkpoint_dependencies") if key in file), None)
    if container is None:
        raise FormatError("model.weights.h5 holds no layers")
    slots: list[Slot] = []
    places: dict[str, Iterator[h5py.Group]] = {}
    for layer, entry in _pairs(model, config):
        if not any(_split(layer, entry)):
            continue
        stem = to_snake_case(entry["class_name"])
        own = next(places.setdefault(stem, iter(_numbered(container, stem))), None)
        if own is None:
            raise FormatError(f"layer {layer.name!r}: its weights are missing in the file")
        slots += of_zip(layer, entry, own) if _is_model(entry) else _of_layer(layer, entry, own)
    return slots


def _numbered(container: h5py.Group, stem: str) -> list[h5py.Group]:
    """The folders ``stem``, ``stem_1``, ... that hold arrays, in order."""
    found = {}
    for name in container:
        match = re.fullmatch(rf"{re.escape(stem)}(?:_(\d{{1,9}}))?", name)
        if match and _holds_arrays(container[name]):
            found[int(match[1] or 0)] = container[name]
    return [found[number] for number in sorted(found)]


def _holds_arrays(item: Any) -> bool:
    return any(_holds_arrays(part) for part in item.values()) if hasattr(item, "keys") else True


def _of_layer(layer: Any, entry: Config, own: h5py.Group) -> list[Slot]:
    """The slots of a layer that is no model: its own variables, and those of its parts."""
    from keras.src.utils.naming import to_snake_case

    variables = [*layer._trainable_variables, *layer._non_trainable_variables]
    folder = own.get("vars", {})
    names = sorted(folder, key=lambda name: int(name) if name.isdecimal() else -1)
    slots = _matched(layer.name, variables, folder, names[: len(variables)]) if variables else []
    for key, attribute in CHILDREN.items():
        part = getattr(layer, attribute, None)
        if key in own and part is not None:
            inner = entry["config"].get(key)
            if _is_model(inner):
                slots += of_zip(part, inner, own[key])
            else:
                slots += _of_layer(
                    part, {"config": inner.get("config", {}) if isinstance(inner, dict) else {}}, own[key]
                )
    places: dict[str, Iterator[h5py.Group]] = {}
    for cell in getattr(layer, "cells", ()) if "cells" in own else ():
        stem = to_snake_case(type(cell).__name__)
        cell_own = next(places.setdefault(stem, iter(_numbered(own["cells"], stem))), None)
        if cell_own is not None:
            slots += _of_layer(cell, {"config": {}}, cell_own)
    return slots


def _matched(layer: str, variables: list[Any], group: Any, names: list[str]) -> list[Slot]:
    values = [group.get(name) for name in names]
    shapes = [getattr(value, "shape", None) for value in values]
    expected = [tuple(variable.shape) for variable in variables]
    if shapes != expected:
        raise FormatError(
            f"layer {layer!r}: the weights have the shapes {shapes[:10]}; the config's layer has {expected[:10]}"
        )
    return [(variable, value.name) for variable, value in zip(variables, values, strict=True)]


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _is_model(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") in archive.MODELS


def _pairs(model: Any, config: Config) -> list[tuple[Any, Config]]:
    """The layers of a model in the order of the file, with their configs."""
    layers = {layer.name: layer for layer in model.layers}
    entries = [(entry.get("name") or entry["config"]["name"], entry) for entry in config["config"]["layers"]]
    return [(layers[name], entry) for name, entry in entries if name in layers]


def _split(layer: Any, entry: Config) -> tuple[list[Any], list[Any]]:
    """What is trained and what is not, each in the order of Keras 2."""
    inner = entry["config"].get("layer") if isinstance(entry["config"], dict) else None
    if isinstance(inner, dict) and _is_model(inner):
        return _split(layer.layer, inner)
    if not _is_model(entry):
        return list(layer.trainable_weights), list(layer.non_trainable_weights)
    trained: list[Any] = []
    others: list[Any] = []
    for part, own in _pairs(layer, entry):
        more, rest = _split(part, own)
        trained, others = _distinct([*trained, *more]), _distinct([*others, *rest])
    return trained, others


def _distinct(variables: Iterable[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def fill(model: Any, slots: list[Slot], file: h5py.File, flipped: bool) -> None:
    """Assign every array to its variable; `flipped` says that Keras ran on Theano when it wrote the file.

    Raises
    ------
    FormatError
        If a variable of the model has no array.
    """
    turned = flipped_kernels(model) if flipped else set()
    for variable, path in slots:
        value = np.asarray(file[path][()])
        variable.assign(turn(value) if id(variable) in turned else value)
    given = {id(variable) for variable, _ in slots}
    missing = [variable.path for variable in model.weights if id(variable) not in given]
    if missing:
        raise FormatError(f"{len(missing)} weights are missing in the file, such as {', '.join(missing[:10])}")
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()


def flipped_kernels(model: Any) -> set[int]:
    """Return the ids of the kernels that Keras on Theano holds flipped."""
    return {
        id(weight)
        for layer in model._flatten_layers(include_self=False)
        if type(layer).__name__ in FLIPPED or type(layer).__name__ == "ConvLSTMCell"
        for weight in layer.weights
        if weight.name in ("kernel", "recurrent_kernel")
    }


def turn(kernel: np.ndarray) -> np.ndarray:
    """Return a convolution's kernel flipped along every axis but its last two.

    Examples
    --------
    >>> turn(np.arange(3.0).reshape(3, 1, 1))[:, 0, 0].tolist()
    [2.0, 1.0, 0.0]
    """
    return kernel[(slice(None, None, -1),) * (kernel.ndim - 2)]
