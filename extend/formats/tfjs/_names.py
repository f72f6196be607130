"""What TensorFlow.js calls the weights of a Keras model: a layer's own name and the weight's, whatever it lies in."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.keras import weights_of

DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")


def leaves(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, and those of the models in it in their place."""
    for layer in model.layers:
        if type(layer).__name__ in ("Sequential", "Functional"):
            yield from leaves(layer)
        else:
            yield layer


def names_of(layer: Any) -> list[str]:
    """Return the names of a layer's weights, in the order of Keras' files.

    The name of a recurrent layer's cell is left out, and so is that of the layer in a TimeDistributed.
    """
    kind = type(layer).__name__
    names = []
    for weight in weights_of(layer):
        *inner, last = weight.path.split("/")
        if kind in DEPTHWISE and last == "kernel":
            last = "depthwise_kernel"
        if kind == "Bidirectional":
            inner = [part for part in inner if part.startswith(("forward_", "backward_"))][-1:]
        elif kind == "MultiHeadAttention":
            inner = inner[-1:]
        else:
            inner = []
        names.append("/".join([layer.name, *inner, last]))
    return names


def assign(model: Any, stored: dict[str, np.ndarray]) -> None:
    """Give every weight of a model the numbers of its name.

    Raises
    ------
    FormatError
        If a weight has no numbers, or of another shape, or two layers have one name; or numbers are left over.
    """
    if any(name.rpartition("/")[0].endswith("vars") for name in stored):
        _load(model, stored)
        return
    known = {layer.name for layer in leaves(model)}
    stored = {_without_models(name, known): array for name, array in stored.items()}
    unused = {_short(name): name for name in stored} | {name: name for name in stored}
    taken: set[str] = set()
    for layer in leaves(model):
        for variable, name in zip(weights_of(layer), names_of(layer), strict=True):
            found = unused.get(name, unused.get(name.replace("/depthwise_kernel", "/kernel")))  # So Keras 3 calls it.
            if found is None:
                raise FormatError(f"layer {layer.name!r}: no weight is named {name!r}")
            if found in taken:
                raise FormatError(f"two layers have the weight {name!r}: TensorFlow.js cannot tell them apart")
            taken.add(found)
            if stored[found].shape != tuple(variable.shape):
                raise FormatError(
                    f"weight {found!r} has the shape {list(stored[found].shape)}; its layer has {list(variable.shape)}"
                )
            variable.assign(stored[found])
    if left := sorted(stored.keys() - taken):
        raise FormatError(f"{len(left)} weights are of no layer: {', '.join(map(repr, left[:10]))[:500]}")


def _without_models(name: str, layers: Collection[str]) -> str:
    """A name without the names of models before the layer's, which Keras 3 puts there."""
    parts = name.split("/")
    start = next((place for place, part in enumerate(parts[:-1]) if part in layers), 0)
    return "/".join(parts[start:])


def _load(model: Any, stored: Mapping[str, np.ndarray]) -> None:
    """Let Keras itself place the weights of a ``.keras`` file, whose names are the paths in its HDF5 file."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.weights.h5")
        try:
            with h5py.File(file, "w") as target:
                for name, array in stored.items():
                    target.create_dataset(name, data=array)
            model.load_weights(file)
        except Exception as error:  # Keras raises anything for weights that are not the model's.
            raise FormatError(f"the weights do not fit the layers: {type(error).__name__}: {error}"[:300]) from error


def _short(name: str) -> str:
    """A name without its last part but one, as TensorFlow.js looks for it: TensorFlow 2.2 put the cell's name there."""
    *before, last = name.split("/")
    return "/".join([*before[:-1], last])
