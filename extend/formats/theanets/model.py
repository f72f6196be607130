"""theanets networks (0.1 to 0.7, Python 2 or 3): the pickles that ``Network.save`` wrote, opened without unpickling.

What the files hold, from theanets' own source (``feedforward.py`` up to 0.5, ``graph.py`` and ``layers/`` from 0.6):

* 0.1 to 0.4: a dict of ``weights``, ``biases`` and ``kwargs`` (``layers``, ``hidden_activation``, ...);
* 0.5: a dict of ``klass``, ``kwargs`` and, for each layer, ``"<name>-values"``;
* 0.6 and 0.7: the network object, whose layers hold Theano's shared variables.

The path to deeplearning4j: `extend.formats.keras.to_keras_h5` of `Theanets.network`.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, Input, check_replacement, read_bytes, replace_file
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.pickles import Global, Made, read, write
from extend.formats.theanets._records import array, check, with_array

MOST = 1 << 28
"""Bytes of a pickle."""

SUFFIXES = (".pkl", ".pickle", ".pkl.gz", ".pickle.gz", ".gz")
ACTIVATIONS = {
    "tanh": "tanh",
    "logistic": "logistic",
    "sigmoid": "logistic",
    "softmax": "softmax",
    "linear": "identity",
    "relu": "relu",
}
OUTPUTS = {"softmax": "softmax", "logistic": "sigmoid", "identity": "softmax"}


@dataclass(frozen=True)
class _Layer:
    """A dense layer and where in the pickle it came from."""

    name: str
    activation: str
    kernel: Any
    bias: Any


@dataclass(frozen=True)
class Theanets:
    """A theanets classifier, opened.

    `extend.formats.base.Foreign` says what its attributes and methods mean. `network` is the same network as plain
    arrays, in float64.
    """

    path: Path
    head: DenseHead
    network: DenseNetwork
    state: Any
    protocol: int
    names: tuple[str, ...]
    classes: tuple[str, ...] | None = None
    format: str = "theanets"

    @property
    def input(self) -> Input:
        """One row of inputs."""
        return Input((len(self.network.scale),), np.dtype("float32"))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the network before its last layer."""
        return self.network.fingerprint

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the last layer reads, in float64."""
        return self.network.features(batch)

    def with_head(self, head: DenseHead, classes: tuple[str, ...]) -> DenseNetwork:
        """Return the network with another last layer, for `extend.formats.to_keras_h5`."""
        return self.network.with_head(head, classes)

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the pickle with this head in place of its own, gzipped where the name ends in .gz, as theanets does it.

        The file has no place for class names.

        Raises
        ------
        FormatError
            If the suffix is not one of `SUFFIXES`, or the head does not fit.
        """
        _suffix(path)
        check_replacement(head, self.head, classes, where=path)
        if head.activation != self.head.activation:
            raise FormatError(f"the head is of {head.activation}, the file's last layer of {self.head.activation}")
        layer = _layers(self.state)[-1]
        content = write(self.state, self.protocol, _replaced(self.state, layer, head))
        if str(path).lower().endswith(".gz"):
            content = gzip.compress(content, mtime=0)
        replace_file(path, content)

    def describe(self) -> dict[str, str]:
        """Describe the layers and the head."""
        widths = [str(len(self.network.scale)), *(str(layer.kernel.shape[1]) for layer in self.network.layers)]
        kinds = ", ".join(layer.activation for layer in self.network.layers[:-1]) or "none"
        return {
            "backbone": f"dense layers {' - '.join(widths)}; activations: {kinds}",
            "head": f"layer {self.names[-1]!r}, {self.network.layers[-1].activation}",
            "limits": "class names are not stored; for deeplearning4j use extend.formats.keras.to_keras_h5",
        }


def open(path: str | os.PathLike[str]) -> Theanets:
    """Open a network that theanets saved; the pickle is read as data, and nothing in it is executed.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Theanets
        The opened model.

    Raises
    ------
    FormatError
        If the file is damaged or larger than 256 MiB, holds a name that theanets does not need, a layer that is not
        dense, or an activation without a counterpart.

    Examples
    --------
    >>> import pickle, tempfile
    >>> path = Path(tempfile.mkdtemp(), "net.pkl")
    >>> arrays = {"weights": [np.eye(2, 3, dtype="f4")], "biases": [np.zeros(3, "f4")]}
    >>> _ = path.write_bytes(pickle.dumps(arrays | {"kwargs": {"layers": (2, 3), "output_activation": "softmax"}}, 2))
    >>> open(path).head.kernel.shape
    (2, 3)
    """
    file = Path(path)
    try:
        state, protocol = read(_unzipped(read_bytes(file, MOST), file), check=check)
        layers = _layers(state)
        dense = tuple(_dense(layer) for layer in layers)
        last = dense[-1]
        if last.activation not in OUTPUTS:
            raise FormatError(f"the last layer is of {last.activation}; expected softmax, logistic or linear")
        network = DenseNetwork(dense, np.ones(dense[0].kernel.shape[0]), np.zeros(dense[0].kernel.shape[0]))
        kernel, bias = _array(layers[-1].kernel, layers[-1].name), _array(layers[-1].bias, layers[-1].name)
        head = DenseHead(kernel, bias, "sigmoid" if OUTPUTS[last.activation] == "sigmoid" else "softmax")
    except FormatError as error:
        if str(error).startswith(str(file)):
            raise
        raise FormatError(f"{file}: {error}") from error
    return Theanets(file, head, network, state, protocol, tuple(layer.name for layer in layers))


def _suffix(path: str | os.PathLike[str]) -> None:
    if not str(path).lower().endswith(SUFFIXES):
        raise FormatError(f"{path}: a theanets file ends in one of {', '.join(SUFFIXES)}")


def _unzipped(content: bytes, file: Path) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            plain = stream.read(MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{file}: the gzip file is damaged: {error}") from error
    if len(plain) > MOST:
        raise FormatError(f"{file}: more than {MOST} bytes when unzipped")
    return plain


def _dense(layer: _Layer) -> DenseLayer:
    try:
        kernel, bias = (_array(value, layer.name).astype(np.float64) for value in (layer.kernel, layer.bias))
        return DenseLayer(kernel, bias, layer.activation)
    except FormatError as error:
        raise FormatError(f"layer {layer.name!r}: {error}") from error


def _array(value: Any, name: str) -> np.ndarray:
    found = array(value)
    if found is None or found.dtype.kind != "f":
        raise FormatError(f"layer {name!r}: a parameter is no array of floating-point numbers")
    return found


def _layers(state: Any) -> list[_Layer]:
    """The dense layers of a file of any version."""
    if isinstance(state, Made) and state.name.startswith("theanets."):
        return _of_object(state)
    if isinstance(state, dict) and isinstance(state.get("kwargs"), dict):
        if isinstance(state.get("weights"), list) and isinstance(state.get("biases"), list):
            return _of_lists(state, state["weights"], state["biases"])
        return _of_values(state)
    raise FormatError("the pickle is no network that theanets saved")


def _activation(name: Any, layer: Any) -> str:
    if not isinstance(name, str) or name not in ACTIVATIONS:
        shown = name if isinstance(name, str) else "of another kind"
        raise FormatError(f"layer {layer!r}: activation {shown} is not supported; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _text(value: Any) -> str:
    """A text as such: anything else might take for ever to become one."""
    if not isinstance(value, str):
        raise FormatError(f"a layer's name or form is a {type(value).__name__}; expected a text")
    return value


def _of_lists(state: dict[str, Any], weights: list[Any], biases: list[Any]) -> list[_Layer]:
    """Versions 0.1 to 0.4."""
    kwargs = state["kwargs"]
    if kwargs.get("tied_weights") or kwargs.get("decode_from", 1) not in (None, 1):
        raise FormatError("tied_weights and decode_from other than 1 are not supported")
    if not weights or len(weights) != len(biases):
        raise FormatError(f"{len(weights)} weights and {len(biases)} biases do not fit each other")
    hidden = kwargs.get("hidden_activation") or "logistic"
    names = [f"hid{i + 1}" for i in range(len(weights) - 1)] + ["out"]
    kinds = [hidden] * (len(weights) - 1) + [_output(state)]
    return [
        _Layer(name, _activation(kind, name), w, b)
        for name, kind, w, b in zip(names, kinds, weights, biases, strict=True)
    ]


def _output(state: dict[str, Any]) -> Any:
    klass = state.get("klass")
    if isinstance(klass, Global) and klass.name == "Classifier":
        return "softmax"
    return state["kwargs"].get("output_activation") or "linear"


def _of_values(state: dict[str, Any]) -> list[_Layer]:
    """Version 0.5: names and activations follow from how theanets builds layers from `kwargs`."""
    kwargs = state["kwargs"]
    specs = kwargs.get("layers")
    if not isinstance(specs, list | tuple) or len(specs) < 2:
        raise FormatError("kwargs hold no list of layers")
    if kwargs.get("decode_from", 1) not in (None, 1):
        raise FormatError("decode_from other than 1 is not supported")
    found = []
    for i, spec in enumerate(specs[1:], 1):
        last = i == len(specs) - 1
        name, form = "out" if last else f"hid{i}", "feedforward"
        kind = _output(state) if last else kwargs.get("hidden_activation") or "logistic"
        if isinstance(spec, Mapping):
            form = _text(spec.get("form", form)).lower()
            name = _text(spec.get("name", f"{form}{i}" if "form" in spec else name))
            kind = spec.get("activation", kind)
        elif isinstance(spec, list | tuple) and not last:
            for part in spec:
                if isinstance(part, str) and part in ACTIVATIONS:
                    kind = part
                elif isinstance(part, str):
                    form = part.lower()
            name = f"{form}{i}"
        if form not in ("feedforward", "classifier"):
            raise FormatError(f"layer {i} is {form[:100]!r}; expected feedforward, or one of {', '.join(ACTIVATIONS)}")
        kind = "softmax" if form == "classifier" else kind
        values = state.get(f"{name}-values")
        if not isinstance(values, list) or len(values) != 2:
            raise FormatError(f"layer {name!r} has no weights and bias in the file; expected a dense layer")
        found.append(_Layer(name, _activation(kind, name), *values))
    return found


def _of_object(state: Made) -> list[_Layer]:
    """Versions 0.6 (the network's attributes) and 0.7 (a pair of layers and losses)."""
    attributes = state.state
    layers = attributes[0] if isinstance(attributes, tuple) and attributes else state.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, Made) for layer in layers):
        raise FormatError("the network has no list of layers")
    found: list[_Layer] = []
    before = None
    for layer in layers:
        kind, name = layer.name.rpartition(".")[2], layer.get("name")
        if not layer.name.startswith("theanets.layers.") or not isinstance(name, str):
            raise FormatError("a layer is no theanets layer with a name")
        if before is None:
            if kind != "Input":
                raise FormatError(f"layer {name!r} is of the kind {kind}; expected Input first")
        elif kind not in ("Feedforward", "Classifier"):
            raise FormatError(f"layer {name!r} is of the kind {kind}, which is not supported; expected Feedforward")
        else:
            inputs = layer.get("inputs")
            if not isinstance(inputs, dict | tuple | list) or [_text(i).split(":")[0] for i in inputs] != [before]:
                raise FormatError(f"layer {name!r} does not read the layer before it, {before!r}, alone")
            kwargs = layer.get("kwargs")
            given = kwargs.get("activation") if isinstance(kwargs, dict) else None
            found.append(
                _Layer(name, _activation(given or layer.get("activation") or "relu", name), *_parameters(layer))
            )
        before = name
    if not found:
        raise FormatError("the network has no layer but its input")
    return found


def _parameters(layer: Made) -> tuple[Any, Any]:
    """The records of a layer's weights and bias; a shared variable of Theano holds a container of one value."""
    variables = layer.get("_params") or layer.get("params")
    if not isinstance(variables, list) or len(variables) != 2:
        raise FormatError(f"layer {layer.get('name')!r} has not two parameters, weights and bias")
    values = []
    for variable in variables:
        container = variable.get("container") if isinstance(variable, Made) else None
        storage = container.get("storage") if isinstance(container, Made) else None
        if not isinstance(storage, list) or len(storage) != 1:
            raise FormatError(f"layer {layer.get('name')!r}: a parameter is no shared variable of Theano")
        values.append(storage[0])
    return values[0], values[1]


def _replaced(state: Any, layer: _Layer, head: DenseHead) -> dict[int, Any]:
    """The records of the pickle that change with the last layer, by id."""
    changed: dict[int, Any] = {
        id(layer.kernel): with_array(layer.kernel, head.kernel),
        id(layer.bias): with_array(layer.bias, head.bias),
    }
    if isinstance(state, Made):
        attributes = state.state
        layers = attributes[0] if isinstance(attributes, tuple) else state.get("layers")
        last = layers[-1]
        changed[id(last.state)] = {**last.state, "size": head.num_classes}
        if isinstance(attributes, dict):  # Compiled functions are a cache; theanets makes them again.
            empty: dict[str, Any] = {name: {} for name in ("_graphs", "_functions") if name in attributes}
            changed[id(attributes)] = {**attributes, **empty}
        return changed
    specs = state["kwargs"]["layers"]
    final = specs[-1]
    if isinstance(final, Mapping):
        final = {**final, "size": head.num_classes}
    elif isinstance(final, list | tuple):
        final = type(final)(head.num_classes if type(part) is int else part for part in final)
    else:
        final = head.num_classes
    changed[id(state["kwargs"])] = {**state["kwargs"], "layers": type(specs)([*specs[:-1], final])}
    return changed
