"""Small MATLAB files: compressed and not, flat and within a struct, with processing of inputs and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
from scipy.io.matlab import MatlabObject

from extend.formats.matlab.model import open

__all__ = ["open", "write"]


def cell(*values: object) -> np.ndarray:
    made = np.empty((len(values), 1), object)
    for place, value in enumerate(values):
        made[place, 0] = value
    return made


def mapminmax(low: list[float], high: list[float], ymin: float = -1.0, ymax: float = 1.0) -> dict[str, object]:
    """Settings as MATLAB's mapminmax makes them."""
    xmin, xmax = np.array(low)[:, None], np.array(high)[:, None]
    return {
        "name": "mapminmax", "xrows": len(low), "xmax": xmax, "xmin": xmin, "xrange": xmax - xmin, "yrows": len(low),
        "ymax": ymax, "ymin": ymin, "yrange": ymax - ymin, "no_change": False,
        "gain": (ymax - ymin) / (xmax - xmin), "xoffset": xmin,
    }  # fmt: skip


def network(transfer: list[str], widths: list[int], seed: int = 0) -> dict[str, object]:
    """The variables of a network of random weights, as the snippet in `extend.formats.matlab` saves them."""
    rng = np.random.default_rng(seed)
    count, empty = len(transfer), np.zeros((0, 0))
    later = cell(*[empty] * count * count).reshape(count, count)
    for i in range(1, count):
        later[i, i - 1] = rng.normal(size=(widths[i + 1], widths[i]))
    one = mapminmax([0.0, -2.0, 5.0, 0.5][: widths[0]], [4.0, 3.0, 9.0, 1.0][: widths[0]])
    return {
        "IW": cell(rng.normal(size=(widths[1], widths[0])), *[empty] * (count - 1)),
        "LW": later,
        "b": cell(*(rng.normal(size=(width, 1)) for width in widths[1:])),
        "transfer": cell(*transfer),
        "input": {"fcns": cell("mapminmax").T, "settings": cell(one).T},
        "output": {"fcns": np.empty((1, 0), object), "settings": np.empty((1, 0), object)},
        "classes": cell(*(f"class {n}" for n in range(max(2, widths[-1])))),
    }


def network_object(variables: dict[str, object], **fields: object) -> MatlabObject:
    """The same network as MATLAB's ``save('net.mat', 'net')`` writes it: an object of the class "network"."""

    def ends(name: str) -> dict[str, object]:
        rows: dict[str, object] = variables[name]  # type: ignore[assignment]
        return {
            "name": name,
            "processFcns": rows["fcns"],
            "processSettings": rows["settings"],
            "userdata": {"note": ""},
        }

    transfer = variables["transfer"].ravel()  # type: ignore[attr-defined]
    count = len(transfer)
    outputs = cell(*[np.zeros((0, 0))] * (count - 1), ends("output")).T
    weights = cell(*[{"weightFcn": "dotprod", "learn": 1}] * count)
    whole = {
        "version": "8", "numInputDelays": 0, "numLayerDelays": 0, "inputs": cell(ends("input")),
        "layers": cell(*({"netInputFcn": "netsum", "transferFcn": name, "size": 3} for name in transfer)),
        "outputs": outputs, "inputWeights": weights, "trainFcn": "trainbr",
        **{name: variables[name] for name in ("IW", "LW", "b")}, **fields,
    }  # fmt: skip
    made = np.empty((1, 1), [(name, object) for name in whole])
    made[0, 0] = tuple(whole.values())
    return MatlabObject(made, "network")


def write(folder: Path) -> list[Path]:
    files = []
    small = network(["tansig", "softmax"], [3, 4, 3])
    linear = network(["logsig", "purelin"], [4, 3, 2])
    linear["output"] = {"fcns": cell("mapminmax").T, "settings": cell(mapminmax([0.0, 0.0], [1.0, 1.0])).T}
    for name, variables, compressed in (
        ("plain", small, False),
        ("compressed", small, True),
        ("linear", linear, False),
        ("within", {"net": network(["poslin", "logsig"], [2, 3, 1])}, False),
        ("object", {"net": network_object(small)}, False),
    ):
        path = folder / f"{name}.mat"
        scipy.io.savemat(path, variables, do_compression=compressed)
        files.append(path)
    return files
