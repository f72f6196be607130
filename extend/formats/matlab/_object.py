"""A ``network`` object of MATLAB, whose fields SciPy reads, as the arrays of the network in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.matlab._processing import Struct, cells, struct, texts

DELAYS = ("numInputDelays", "numLayerDelays", "numFeedbackDelays")


def arrays_of(fields: Struct, where: str) -> dict[str, Any]:
    """Return the variables IW, LW, b, transfer, input and output of a network object.

    Raises
    ------
    FormatError
        If the network has delays, several inputs or outputs, or a layer that is no weighted sum; or lacks a field.
    """
    lost = [name for name in ("IW", "LW", "b", "layers", "inputs", "outputs") if name not in fields]
    if lost:
        raise FormatError(f"{where}: no field {', '.join(lost)}, as a network has it")
    if delayed := [name for name in DELAYS if np.any(np.asarray(fields.get(name, 0)) != 0)]:
        raise FormatError(f"{where}: {delayed[0]} is not 0; only networks without delays are supported")
    layers = [struct(one, f"{where}.layers") for one in cells(fields["layers"], f"{where}.layers").flat]
    transfer = [_text(one, "transferFcn", f"{where}.layers{{{number}}}") for number, one in enumerate(layers, 1)]
    for number, one in enumerate(layers, 1):
        _expect(one, "netInputFcn", "netsum", f"{where}.layers{{{number}}}")
    for name in ("inputWeights", "layerWeights"):
        for one in cells(fields[name], f"{where}.{name}").flat if name in fields else ():
            if np.size(one):
                _expect(struct(one, f"{where}.{name}"), "weightFcn", "dotprod", f"{where}.{name}")
    inputs = [one for one in cells(fields["inputs"], f"{where}.inputs").flat if np.size(one)]
    outputs = cells(fields["outputs"], f"{where}.outputs").ravel()
    given = [number for number, one in enumerate(outputs) if np.size(one)]
    if len(inputs) != 1 or given != [len(layers) - 1]:
        raise FormatError(
            f"{where}: {len(inputs)} inputs, and outputs of layers {[number + 1 for number in given]}; expected one "
            f"input, and one output, of layer {len(layers)}"
        )
    made = np.empty((len(transfer), 1), object)
    made[:, 0] = [np.array([name]) for name in transfer]
    return {
        **{name: fields[name] for name in ("IW", "LW", "b")},
        "transfer": made,
        "input": _rows(inputs[0], f"{where}.inputs"),
        "output": _rows(outputs[-1], f"{where}.outputs"),
    }


def _rows(one: Any, where: str) -> np.ndarray:
    """The processing functions of an input or an output, and their settings, as a struct of both."""
    fields = struct(one, where)
    made = np.empty((1, 1), [("fcns", object), ("settings", object)])
    none = np.empty((1, 0), object)
    made[0, 0] = (fields.get("processFcns", none), fields.get("processSettings", none))
    return made


def _text(one: Struct, name: str, where: str) -> str:
    found = texts(one.get(name), f"{where}.{name}")
    if len(found) != 1:
        raise FormatError(f"{where}.{name}: {len(found)} texts; expected one")
    return found[0]


def _expect(one: Struct, name: str, expected: str, where: str) -> None:
    if name in one and np.size(one[name]) and (found := _text(one, name, where)) != expected:
        raise FormatError(f"{where}: {name} is {found!r}; only {expected} is supported")
