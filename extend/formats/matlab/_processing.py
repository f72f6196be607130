"""Processing functions of MATLAB's networks as a scale and an offset a row, and their settings for other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from extend.core.errors import FormatError

Struct = dict[str, np.ndarray]


def struct(value: Any, where: str) -> Struct:
    """Return the fields of a 1x1 struct as SciPy reads it."""
    if not isinstance(value, np.ndarray) or value.dtype.names is None or value.size != 1:
        raise FormatError(f"{where}: expected a struct")
    return {name: value.flat[0][name] for name in value.dtype.names}


def texts(value: Any, where: str) -> list[str]:
    """Return the strings in a cell of texts, a text, or rows of text."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return [str(line).rstrip() for line in value.flat]
    if isinstance(value, np.ndarray) and value.dtype == object and value.dtype.names is None:
        cells = [texts(cell, where) for cell in value.flat]
        if all(len(cell) == 1 for cell in cells):
            return [cell[0] for cell in cells]
    raise FormatError(f"{where}: expected a cell of texts, such as {{'a', 'b'}}; use cellstr")


def cells(value: Any, where: str) -> np.ndarray:
    """Return a cell array of two dimensions."""
    if not isinstance(value, np.ndarray) or value.dtype != object or value.dtype.names is not None or value.ndim != 2:
        raise FormatError(f"{where}: expected a cell array, as MATLAB's net has it")
    return value


def numbers(value: Any, where: str) -> np.ndarray:
    """Return an array of finite real numbers in float64."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise FormatError(f"{where}: expected numbers")
    result = value.astype(np.float64)
    if not np.isfinite(result).all():
        raise FormatError(f"{where}: holds NaN or infinity")
    return result


@dataclass(frozen=True)
class Processing:
    """What happens to the rows of x: ``processed[i] = x[rows[i]] * scale[i] + offset[i]``; x has `size` rows."""

    size: int
    rows: np.ndarray
    scale: np.ndarray
    offset: np.ndarray


def processing(fcns: Sequence[str], settings: Sequence[Struct], size: int, where: str) -> Processing:
    """Compose processing functions; `size` is how many rows come out.

    Raises
    ------
    FormatError
        If a function is not a scale and an offset, or its settings are missing or do not fit.

    Examples
    --------
    >>> one = {"xrows": [[2]], "gain": [[2.0], [4.0]], "xoffset": [[0.0], [1.0]], "ymin": [[-1.0]]}
    >>> made = processing(["mapminmax"], [{name: np.array(value) for name, value in one.items()}], 2, "input")
    >>> made.scale.tolist(), made.offset.tolist()
    ([2.0, 4.0], [-1.0, -5.0])
    """
    if len(fcns) != len(settings):
        raise FormatError(f"{where}: {len(fcns)} processing functions with {len(settings)} settings")
    first = int(_row(settings[0], "xrows", 1, where)[0]) if settings else size
    if not 0 < first <= 1 << 24:
        raise FormatError(f"{where}: {first} rows")
    rows, scale, offset = np.arange(first), np.ones(first), np.zeros(first)
    for name, one in zip(fcns, settings, strict=True):
        label = f"{where}: {name}"
        if name in ("mapminmax", "mapstd"):
            gain, shift = _line(name, one, len(rows), label)
            scale, offset = scale * gain, offset * gain + shift
        elif name == "removeconstantrows":
            keep = numbers(one.get("keep"), f"{label}, keep").ravel() - 1
            if not len(keep) or not np.isin(keep, np.arange(len(rows))).all() or len(set(keep.tolist())) != len(keep):
                raise FormatError(f"{label}: keep does not fit {len(rows)} rows")
            order = keep.astype(int)
            rows, scale, offset = rows[order], scale[order], offset[order]
        elif name != "fixunknowns" or np.size(one.get("unknown", [0])):
            raise FormatError(f"{label} is not supported; there are mapminmax, mapstd and removeconstantrows")
    if len(rows) != size:
        raise FormatError(f"{where}: {len(rows)} rows come out of the processing; the layer has {size}")
    return Processing(first, rows, scale, offset)


def _line(name: str, one: Struct, size: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """``x * gain + shift``."""
    low, high = ("ymin", "ymax") if name == "mapminmax" else ("ymean", "ystd")
    base = _row(one, low, size, where)
    if "gain" in one and "xoffset" in one:
        gain, zero = _row(one, "gain", size, where), _row(one, "xoffset", size, where)
    elif name == "mapminmax":
        zero, width = _row(one, "xmin", size, where), _row(one, "xmax", size, where) - _row(one, "xmin", size, where)
        constant = width == 0  # Such a row stays as it is.
        gain = np.where(constant, 1.0, (_row(one, high, size, where) - base) / np.where(constant, 1.0, width))
        zero = np.where(constant, base, zero)
    else:
        zero, width = _row(one, "xmean", size, where), _row(one, "xstd", size, where)
        if (width == 0).any():
            raise FormatError(f"{where}: row {int(np.argmin(width != 0)) + 1} has xstd 0; remove constant rows")
        gain = _row(one, high, size, where) / width
    return gain, base - zero * gain


def _row(one: Struct, name: str, size: int, where: str) -> np.ndarray:
    value = numbers(one.get(name), f"{where}, {name}").ravel()
    if len(value) not in (1, size):
        raise FormatError(f"{where}: {name} has {len(value)} numbers; expected {size}")
    return np.broadcast_to(value, (size,))


def reselect(one: Struct, size: int, rows: Sequence[int]) -> Struct:
    """Return the settings of `size` rows (two or more) for these rows of them, in this order; a row may come twice.

    Examples
    --------
    >>> reselect({"xrows": np.array([[2]]), "xmin": np.array([[0], [5]]), "keep": np.array([[1, 2]])}, 2, [1, 0, 0])
    {'xrows': array([[3]]), 'xmin': array([[5],
           [0],
           [0]]), 'keep': array([[1, 2, 3]])}
    """
    result = dict(one)
    for name, value in one.items():
        if name in ("xrows", "yrows"):
            result[name] = np.full_like(value, len(rows))
        elif value.shape == (size, 1):
            result[name] = value[list(rows)]
        elif value.shape == (1, size):
            counts = np.array_equal(value, [np.arange(1, size + 1)])
            result[name] = np.arange(1, len(rows) + 1, dtype=value.dtype)[None] if counts else value[:, list(rows)]
    return result
