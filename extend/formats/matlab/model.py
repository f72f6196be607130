"""Networks of MATLAB's Deep Learning (Neural Network) Toolbox in a ``.mat`` file, as objects or as arrays.

`extend.formats.matlab._variables` says what such a file holds, and the lines that write it in MATLAB.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, Input, check_replacement, read_bytes, replace_file, same_columns
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.matlab._processing import processing, reselect, texts
from extend.formats.matlab._scan import BYTES, scan
from extend.formats.matlab._variables import (
    TRANSFER,
    WRITE_SO,
    Rows,
    cell,
    last_layer,
    layer_of,
    layers_of,
    names_of,
    net_of,
    processing_of,
    rows_of,
    to_bytes,
    within_of,
)

if TYPE_CHECKING:
    from extend.heads import Activation


@dataclass(frozen=True)
class Matlab:
    """A network of MATLAB, opened; one row of input holds its raw inputs.

    `extend.formats.base.Foreign` says what its attributes and methods mean. Probabilities are softmax's own; of logsig
    units the outputs; of tansig units ``(1 + a) / 2``; of purelin units the softmax of the outputs (which learnt to be
    0 or 1, so they are flat, but their order is the network's).

    Parameters
    ----------
    path
        The file.
    variables, within
        The file's variables, and the struct among them that holds the network, or "".
    others
        What the variables are that cannot be read, by name.
    network, head, classes
        The network, its last layer, and the classes' names if the file has them.
    scale, shift
        What undoes the processing of the outputs: ``y = a * scale + shift``.
    output
        The outputs' processing functions and their settings.
    """

    path: str
    variables: dict[str, Any]
    within: str
    others: dict[str, str]
    network: DenseNetwork
    head: DenseHead
    scale: np.ndarray
    shift: np.ndarray
    output: Rows
    classes: tuple[str, ...] | None
    format: str = "matlab"

    @property
    def input(self) -> Input:
        """One row of raw inputs."""
        return Input((len(self.network.scale),), np.dtype(np.float64))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the network before its last layer."""
        return self.network.fingerprint

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the last layer reads, in float64.

        Raises
        ------
        FormatError
            If the batch has another number of inputs.
        """
        x = np.asarray(batch, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.network.scale):
            raise FormatError(f"{self.path}: inputs of shape {list(x.shape)}; expected [n, {len(self.network.scale)}]")
        return self.network.features(x)

    def save(self, path: str | os.PathLike[str], head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the file with this head in place of its own.

        A network object becomes a struct of its arrays. New outputs get the settings of the first one. One logsig or
        tansig unit for two classes becomes softmax, as does a head of another kind.

        Raises
        ------
        FormatError
            If the suffix is not .mat, or there are fewer than two classes.
        """
        if Path(path).suffix.lower() != ".mat":
            raise FormatError(f"{path}: a MATLAB file is named .mat")
        check_replacement(head, self.head, classes, fewest=2, where=path)
        net = net_of(self.variables, self.within, self.path)
        made = dict(net)
        last = len(self.network.layers) - 1
        if not last:  # Constant inputs, which the file's processing removes, are features that are always 0.
            kernel = np.where(self.network.scale[:, None] == 0, 0.0, head.kernel)
            head = DenseHead(kernel, head.bias, head.activation)
        if not self.head.equals(head):
            weights, bias, transfer, output = self._last(net, head)
            made["b"], made["transfer"], made["output"] = net["b"].copy(), net["transfer"].copy(), processing_of(output)
            made["b"].flat[last] = bias[:, None]
            made["transfer"].flat[last] = transfer
            if last:
                made["LW"] = net["LW"].copy()
                made["LW"][last, last - 1] = weights
            else:
                made["IW"] = net["IW"].copy()
                made["IW"].flat[0] = weights
        made["classes"] = cell(classes)
        content = to_bytes({**self.variables, self.within: made} if self.within else made)
        written = _open(content, str(path))
        if not _close(written.head, head) or written.classes != classes or written.fingerprint != self.fingerprint:
            raise FormatError(f"{path}: the written file would read otherwise than the model that was given")
        replace_file(path, content)

    def _last(self, net: dict[str, Any], head: DenseHead) -> tuple[np.ndarray, np.ndarray, str, Rows]:
        """The last layer's weights ``[k, d]``, bias ``[k]``, transfer function and the outputs' processing."""
        last = len(self.network.layers) - 1
        kernel, bias = head.kernel.astype(np.float64), head.bias.astype(np.float64)
        matches = same_columns(self.head, head)
        transfer = texts(net["transfer"], self.path)[last]
        if not last:
            kernel = kernel[self.network.scale != 0]
        if len(self.scale) == 1 or head.activation != self.head.activation:
            return kernel.T, bias, "softmax" if head.activation == "softmax" else "logsig", ([], [])
        rows = [0 if match is None else match for match in matches]
        factor = 2.0 if transfer == "tansig" else 1.0
        scale, shift = self.scale[rows], self.shift[rows]
        if transfer != "purelin":
            scale, shift = np.full_like(scale, factor), np.zeros_like(shift)
        weights, offset = (kernel / scale).T, (bias - shift) / scale
        own_weights, own_bias = layer_of(net, last, self.path)
        for column, match in enumerate(matches):
            if match is not None:
                weights[column], offset[column] = own_weights[match], own_bias[match]
        fcns, settings = self.output
        return weights, offset, transfer, (fcns, [reselect(one, len(self.scale), rows) for one in settings])

    def describe(self) -> dict[str, str]:
        """Describe the layers, where the head was found, and what of the file is not read."""
        widths = [f"{layer.kernel.shape[1]} {layer.activation}" for layer in self.network.layers[:-1]]
        found = {
            "backbone": f"{len(self.network.scale)} inputs, layers of {', '.join(widths) or 'none'}",
            "head": f"layer {len(widths) + 1}" + (", one unit for two classes" if len(self.scale) == 1 else ""),
        }
        if self.others:
            found["limits"] = "not read, and left out by a save: " + ", ".join(
                f"{name} ({what})" for name, what in self.others.items()
            )
        return found


def open(path: str | os.PathLike[str]) -> Matlab:
    """Open a network in a ``.mat`` file (MAT 5 to 7): a ``network`` object, or arrays as `SNIPPET` writes them.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Matlab
        The opened model.

    Raises
    ------
    FormatError
        If the file is damaged, of MAT 7.3, holds no network or several, or has a part that is not supported; the
        message names it.

    Examples
    --------
    >>> import tempfile
    >>> layer = DenseLayer(np.eye(2), np.zeros(2), "softmax")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_mat(DenseNetwork((layer,), np.ones(2), np.zeros(2), classes=("cat", "dog")), Path(folder) / "net.mat")
    ...     open(Path(folder) / "net.mat").classes
    ('cat', 'dog')
    """
    return _open(read_bytes(path, BYTES), str(path))


def to_mat(network: DenseNetwork, path: str | os.PathLike[str]) -> None:
    """Write a dense network as the arrays of a MATLAB network; the inputs' scaling goes into the first layer.

    Parameters
    ----------
    network
        The network.
    path
        Where to write, ending in ``.mat``.

    Raises
    ------
    FormatError
        If the suffix is another one, there is one class alone, or MATLAB's networks have not such an activation.

    Examples
    --------
    >>> import tempfile
    >>> network = DenseNetwork((DenseLayer(np.eye(2), np.zeros(2), "tanh"),), np.ones(2), np.zeros(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_mat(network, Path(folder) / "net.mat")
    ...     open(Path(folder) / "net.mat").head.activation
    'sigmoid'
    """
    if Path(path).suffix.lower() != ".mat":
        raise FormatError(f"{path}: a MATLAB file is named .mat")
    names = {ours: theirs for theirs, ours in TRANSFER.items()}
    count = len(network.layers)
    kinds = [layer.activation for layer in network.layers]
    kinds[-1] = "softmax" if kinds[-1] == "log_softmax" else kinds[-1]
    unknown = [kind for kind in kinds if kind not in names]
    if unknown or kinds[-1] == "relu" or network.layers[-1].kernel.shape[1] < 2:
        raise FormatError(f"{path}: layers of {', '.join(kinds)}: a MATLAB classifier cannot hold that")
    weights = [layer.kernel.T for layer in network.layers]
    biases = [layer.bias for layer in network.layers]
    biases[0] = biases[0] + network.offset @ network.layers[0].kernel
    weights[0] = weights[0] * network.scale
    net: dict[str, Any] = {
        "IW": cell([weights[0], *[None] * (count - 1)]),
        "LW": cell([None] * count * count).reshape(count, count),
        "b": cell([bias[:, None] for bias in biases]),
        "transfer": cell([names[kind] for kind in kinds]),
        "input": processing_of(([], [])),
        "output": processing_of(([], [])),
    }
    for layer in range(1, count):
        net["LW"][layer, layer - 1] = weights[layer]
    if network.classes:
        net["classes"] = cell(network.classes)
    if network.inputs:
        net["inputs"] = cell(network.inputs)
    content = to_bytes(net)
    _open(content, str(path))
    replace_file(path, content)


def _open(content: bytes, where: str) -> Matlab:
    from scipy.io import loadmat

    found = scan(content, where)
    try:
        variables = loadmat(io.BytesIO(found.content), struct_as_record=True, mat_dtype=False)
    except Exception as error:  # The scan checked the layout; what SciPy still finds is of many types.
        raise FormatError(f"{where}: damaged: {error}") from error
    variables = {name: value for name, value in variables.items() if not name.startswith("__")}
    within = within_of(variables, found.others, where)
    net = net_of(variables, within, where)
    missing = [name for name in ("LW", "b", "transfer", "input", "output") if name not in net]
    if missing:
        raise FormatError(f"{where}: no variable {', '.join(missing)}; {WRITE_SO}")
    transfer = texts(net["transfer"], f"{where}: transfer")
    layers = layers_of(net, transfer, where)
    processed = processing(*rows_of(net["input"], f"{where}: input"), layers[0].kernel.shape[0], f"{where}: input")
    kernel = np.zeros((processed.size, layers[0].kernel.shape[1]))
    scale, offset = np.zeros((2, processed.size))
    kernel[processed.rows], scale[processed.rows], offset[processed.rows] = (
        layers[0].kernel, processed.scale, processed.offset,
    )  # fmt: skip
    layers[0] = DenseLayer(kernel, layers[0].bias, layers[0].activation)
    output = rows_of(net["output"], f"{where}: output")
    units = layers[-1].kernel.shape[1]
    undone = processing(*output, units, f"{where}: output")
    if undone.size != units or not (undone.scale > 0).all():
        raise FormatError(f"{where}: output: rows that are constant, or turned round, cannot be classes; train without")
    up, shift = 1 / undone.scale, -undone.offset / undone.scale
    last = last_layer(layers[-1], transfer[-1], up, shift, where)
    kind: Activation = "sigmoid" if last.activation == "logistic" else "softmax"
    names = tuple(names_of(net["classes"], f"{where}: classes")) if "classes" in net else None
    inputs = tuple(names_of(net["inputs"], f"{where}: inputs")) if "inputs" in net else ()
    if names is not None and len(set(names)) != len(names):
        raise FormatError(f"{where}: classes has a name twice")
    for name in ("classes", "inputs"):
        if name in found.others:
            raise FormatError(f"{where}: {name} is {found.others[name]}; write it as a cell: {name} = cellstr({name})")
    network = DenseNetwork((*layers[:-1], last), scale, offset, inputs, names or ())
    head = DenseHead(last.kernel, last.bias, kind)
    return Matlab(where, variables, within, found.others, network, head, up, shift, output, names)


def _close(one: DenseHead, two: DenseHead) -> bool:
    """Equal but for the rounding of the outputs' processing."""
    pairs = ((one.kernel, two.kernel), (one.bias, two.bias))
    most = max(float(np.abs(array).max()) for pair in pairs for array in pair)
    return one.activation == two.activation and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12 * most) for a, b in pairs
    )
