"""The variables of a ``.mat`` file that hold a network: read as layers, and made from what goes back.

A ``network`` object is read by `extend.formats.matlab._object`. These lines, in MATLAB, write what it holds as arrays::

    IW = net.IW; LW = net.LW; b = net.b; transfer = cellfun(@(l) l.transferFcn, net.layers, 'UniformOutput', false);
    in = net.inputs{1}; input = struct('fcns', {in.processFcns}, 'settings', {in.processSettings});
    out = net.outputs{end}; output = struct('fcns', {out.processFcns}, 'settings', {out.processSettings});
    save('net.mat', 'IW', 'LW', 'b', 'transfer', 'input', 'output', '-v7')

Optional are the variables ``classes`` and ``inputs``, cells of names such as ``{'cat', 'dog'}``. All may also be fields
of one struct. A network trained with ``trainbr`` (Bayesian regularisation) or any other function is the same here.

What a network computes: ``a{1} = f(IW{1} * p + b{1})``, ``a{i} = f(LW{i,i-1} * a{i-1} + b{i})``, where p are the
processed inputs; the outputs are a{end} with the processing undone.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import DenseLayer
from extend.formats.matlab._object import arrays_of
from extend.formats.matlab._processing import Struct, cells, numbers, struct, texts

SNIPPET = (__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
"""The lines that write a network in MATLAB."""
WRITE_SO = f"in MATLAB, write the network so: {' '.join(SNIPPET.split())}"
TRANSFER = {"tansig": "tanh", "logsig": "logistic", "purelin": "identity", "poslin": "relu", "softmax": "softmax"}
Rows = tuple[list[str], list[Struct]]
"""Processing functions and their settings."""


def layers_of(net: dict[str, Any], transfer: list[str], where: str) -> list[DenseLayer]:
    """Return the layers that the variables describe."""
    count = len(transfer)
    first, later, biases = (cells(net[name], f"{where}: {name}") for name in ("IW", "LW", "b"))
    if not 0 < count <= 100 or first.shape[0] != count or later.shape != (count, count) or biases.size != count:
        raise FormatError(
            f"{where}: {count} transfer functions with IW of {first.shape[0]} rows, LW {list(later.shape)} and "
            f"{biases.size} b; expected as many layers in each"
        )
    skips = [f"IW{{{i + 1},{j + 1}}}" for i, j in np.ndindex(first.shape) if np.size(first[i, j]) and (i or j)]
    skips += [f"LW{{{i + 1},{j + 1}}}" for i, j in np.ndindex(later.shape) if np.size(later[i, j]) and j != i - 1]
    if skips:
        raise FormatError(f"{where}: {skips[0]} is not empty; only a chain of layers is supported, with one input")
    layers = []
    for number, name in enumerate(transfer):
        if name not in TRANSFER:
            raise FormatError(
                f"{where}: layer {number + 1}: transfer function {name!r}; there are {', '.join(TRANSFER)}"
            )
        weights, bias = layer_of(net, number, where)
        try:
            layers.append(DenseLayer(weights.T, bias, TRANSFER[name]))
        except FormatError as error:
            raise FormatError(f"{where}: layer {number + 1}: {error}") from error
    return layers


def layer_of(net: dict[str, Any], number: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights ``[units, inputs]`` and the bias ``[units]`` of a layer, counted from 0."""
    label = f"{where}: layer {number + 1}"
    weights = numbers(net["LW"][number, number - 1] if number else net["IW"][0, 0], f"{label}, weights")
    bias = numbers(net["b"].flat[number], f"{label}, b").ravel()
    return weights, bias if bias.size else np.zeros(len(weights))


def last_layer(layer: DenseLayer, transfer: str, scale: np.ndarray, shift: np.ndarray, where: str) -> DenseLayer:
    """Return the last layer with the outputs' processing undone, so that its outputs are the classes' scores."""
    kernel, bias = layer.kernel, layer.bias
    if transfer == "purelin" and len(bias) > 1:
        return DenseLayer(kernel * scale, bias * scale + shift, "identity")
    if transfer == "poslin" or (len(bias) == 1 and transfer not in ("logsig", "tansig")):
        raise FormatError(f"{where}: a last layer of {len(bias)} {transfer} units gives no scores of classes")
    if not (np.ptp(scale) == 0 and np.ptp(shift) == 0):
        raise FormatError(f"{where}: output: {transfer} units whose settings differ from class to class")
    if transfer == "softmax":
        return layer
    if transfer == "tansig":
        kernel, bias = 2 * kernel, 2 * bias
    if len(bias) > 1:
        return DenseLayer(kernel, bias, "logistic")
    two = DenseHead.from_single_unit(kernel, bias)
    return DenseLayer(two.kernel, two.bias, "softmax")


def net_of(variables: dict[str, Any], within: str, where: str) -> dict[str, Any]:
    """Return the variables of the network, which may be the fields of one struct or of a network object."""
    fields = struct(variables[within], f"{where}: {within}") if within else variables
    return arrays_of(fields, f"{where}: {within}") if "layers" in fields and "transfer" not in fields else fields


def within_of(variables: dict[str, Any], others: dict[str, str], where: str) -> str:
    """Return the name of the variable that holds the network, or "" where the variables themselves are its parts.

    Raises
    ------
    FormatError
        If there is no network, or more than one.
    """
    if "IW" in variables:
        return ""
    found = [name for name, value in variables.items() if "IW" in (value.dtype.names or ())]
    if len(found) > 1:
        raise FormatError(f"{where}: {len(found)} networks, {', '.join(found[:10])}; expected one: save it alone")
    if not found:
        unread = "".join(f"; {name} is {what}, which only MATLAB reads" for name, what in list(others.items())[:10])
        raise FormatError(f"{where}: no variable IW, nor a struct or a network with that field{unread}; {WRITE_SO}")
    return found[0]


def rows_of(value: Any, where: str) -> Rows:
    """Return the processing functions and their settings."""
    fields = struct(value, where)
    for name in ("fcns", "settings"):
        if name not in fields:
            raise FormatError(f"{where}: no field {name}; {WRITE_SO}")
    fcns = texts(fields["fcns"], f"{where}.fcns") if np.size(fields["fcns"]) else []
    settings = fields["settings"]
    ones = list(cells(settings, f"{where}.settings").flat) if np.size(settings) else []
    return fcns, [struct(one, f"{where}.settings") for one in ones]


def names_of(value: Any, where: str) -> list[str]:
    """Return names, which may be numbers in the file."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return [f"{number:g}" for number in numbers(value, where).ravel()]
    return texts(value, where)


def processing_of(rows: Rows) -> dict[str, Any]:
    """Return the struct of processing functions and their settings; the inverse of `rows_of`."""
    fcns, settings = cell(rows[0]).reshape(1, -1), cell(rows[1]).reshape(1, -1)
    return {"fcns": fcns, "settings": settings}


def cell(values: Any) -> np.ndarray:
    """Return a column of cells; None is an empty one."""
    made = np.empty((len(values), 1), object)
    for place, value in enumerate(values):
        made[place, 0] = np.zeros((0, 0)) if value is None else value
    return made


def to_bytes(variables: dict[str, Any]) -> bytes:
    """Return the content of a ``.mat`` file with these variables."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, variables, long_field_names=True, do_compression=True)
    return file.getvalue()
