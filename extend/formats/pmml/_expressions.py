"""What PMML computes from a row of inputs: expressions, their values, and the affine ones among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import numpy as np

from extend.core.errors import FormatError


@dataclass(frozen=True)
class Column:
    """A field: an input, or one derived before."""

    index: int


@dataclass(frozen=True)
class Constant:
    """A number."""

    value: float


@dataclass(frozen=True)
class Linear:
    """``NormContinuous``: straight pieces through the points, with `clip` constant beyond them."""

    of: Expression
    x: tuple[float, ...]
    y: tuple[float, ...]
    clip: bool


@dataclass(frozen=True)
class Clip:
    """A mining field whose outliers are treated as extreme values."""

    of: Expression
    low: float
    high: float


@dataclass(frozen=True)
class Indicator:
    """``NormDiscrete``: 1 where a field has a value, else 0."""

    of: Expression
    value: float


@dataclass(frozen=True)
class Apply:
    """A built-in function of PMML."""

    function: str
    of: tuple[Expression, ...]


Expression: TypeAlias = "Column | Constant | Linear | Clip | Indicator | Apply"
ONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs, "exp": np.exp, "ln": np.log, "log10": np.log10, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil,
}  # fmt: skip
TWO: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "pow": np.power,
}  # fmt: skip
MANY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "sum": np.add, "product": np.multiply, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def evaluate(expression: Expression, columns: list[np.ndarray]) -> np.ndarray:
    """Return the values of an expression, one for each row.

    Examples
    --------
    >>> evaluate(Linear(Column(0), (0.0, 1.0, 2.0), (0.0, 1.0, 5.0), True), [np.array([0.5, 1.5, 9.0])]).tolist()
    [0.5, 3.0, 5.0]
    """
    match expression:
        case Column(index):
            return columns[index]
        case Constant(value):
            return np.full(len(columns[0]), value)
        case Linear(of, x, y, clip):
            orig, norm = np.array(x), np.array(y)
            at = evaluate(of, columns)
            at = np.clip(at, orig[0], orig[-1]) if clip else at
            piece = np.clip(np.searchsorted(orig, at, "right") - 1, 0, len(orig) - 2)
            slope = (np.diff(norm) / np.diff(orig))[piece]
            return norm[piece] + (at - orig[piece]) * slope
        case Clip(of, low, high):
            return np.clip(evaluate(of, columns), low, high)
        case Indicator(of, code):
            return (evaluate(of, columns) == code).astype(np.float64)
        case Apply(function, of):
            values = [evaluate(one, columns) for one in of]
            with np.errstate(all="ignore"):  # What is not finite in the end is reported by `Fields.columns`.
                if function in ONE:
                    return ONE[function](values[0])
                return reduce(TWO.get(function) or MANY[function], values)


Affine: TypeAlias = tuple[float, float, int]


def affine(expression: Expression, known: list[Affine | FormatError]) -> Affine:
    """Return ``(a, b, i)`` where the expression is ``a * input i + b`` everywhere; i is -1 for a constant.

    `known` has the same of every column.

    Raises
    ------
    FormatError
        If the expression is something else.

    Examples
    --------
    >>> affine(Apply("/", (Apply("-", (Column(0), Constant(2.0))), Constant(4.0))), [(1.0, 0.0, 0)])
    (0.25, -0.5, 0)
    """
    match expression:
        case Column(index):
            found = known[index]
            if isinstance(found, FormatError):
                raise found
            return found
        case Constant(value):
            return 0.0, value, -1
        case Linear(of, (x0, x1), (y0, y1), False):
            a, b, index = affine(of, known)
            slope = (y1 - y0) / (x1 - x0)
            return a * slope, y0 + (b - x0) * slope, index
        case Apply("+" | "-" | "*" | "/" as sign, (left, right)):
            (a, b, i), (c, d, j) = affine(left, known), affine(right, known)
            if sign in "+-" and -1 in (i, j):
                turn = 1 if sign == "+" else -1
                return a + turn * c, b + turn * d, max(i, j)
            if sign == "*" and j == -1:
                return a * d, b * d, i
            if sign == "*" and i == -1:
                return c * b, d * b, j
            if sign == "/" and j == -1 and d != 0:
                return a / d, b / d, i
    raise FormatError("an input is transformed by more than a scale and an offset, which other formats cannot hold")
