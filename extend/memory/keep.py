"""What a memory keeps, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from extend.core.errors import ArgumentError
from extend.memory.rows import KEPT

Dtype = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Keep:
    """What a classifier keeps of the classes that it knows; given to `extend.wrap`.

    Parameters
    ----------
    rows
        How many feature vectors of a class are kept beside those that are held out; a class of more samples is kept as
        statistics and this sample. 0 keeps statistics alone: logistic regression, blends and whatever else needs rows
        refuse such a memory.
    dtype
        How feature vectors are stored: ``"float32"``, ``"float16"`` or ``"int8"`` (each with a power of two a row).
    exemplar_bytes
        Bytes of real samples, all classes together, for `extend.methods.FineTune` to replay; 0 keeps none.
    fisher
        Measure the Fisher diagonal, which elastic weight consolidation and weight averaging need.
    inverse
        Keep the inverse of the scatter, so that adding few samples is a rank-n update and not a new solve.
    most_bytes
        The memory may take no more than this; what would take more is refused before the work. None: no limit.

    Raises
    ------
    ArgumentError
        A number is none that can be meant.

    Examples
    --------
    >>> Keep(rows=50, dtype="int8").rows
    50
    """

    rows: int = KEPT
    dtype: Dtype = "float32"
    exemplar_bytes: int = 0
    fisher: bool = False
    inverse: bool = False
    most_bytes: int | None = None

    def __post_init__(self) -> None:
        if not _whole(self.rows) or self.rows == 1:
            raise ArgumentError(f"rows is {self.rows!r}; expected 0 for statistics alone, or a whole number from 2 on")
        if self.dtype not in get_args(Dtype):
            raise ArgumentError(f"dtype is {self.dtype!r}; expected one of {', '.join(get_args(Dtype))}")
        if not _whole(self.exemplar_bytes):
            raise ArgumentError(f"exemplar_bytes is {self.exemplar_bytes!r}; expected a whole number, 0 or more")
        if self.most_bytes is not None and not _whole(self.most_bytes):
            raise ArgumentError(f"most_bytes is {self.most_bytes!r}; expected a whole number, or None")


def check_bytes(
    most: int | None, known: int, counts: Int[np.ndarray, " k"], width: int, rows: int, held_out: int, dtype: str
) -> None:
    """Refuse samples that would make a memory larger than its limit, before they are embedded.

    Parameters
    ----------
    most
        The limit in bytes; None refuses nothing.
    known
        The bytes of what is there.
    counts
        How many samples of each class come.
    width
        The number of features.
    rows, held_out, dtype
        How many rows of a class are kept and held out at most, and how they are stored.

    Raises
    ------
    ArgumentError
        They would.
    """
    if most is None:
        return
    kept = int(np.minimum(counts, rows + held_out).sum()) * (8 + width * np.dtype(dtype).itemsize)
    folded = int((counts > rows + held_out).sum()) * (16 + 8 * width)
    if known + kept + folded > most:
        raise ArgumentError(
            f"the memory would take at least {known + kept + folded:,} bytes, and most_bytes is {most:,}: keep fewer "
            f"rows= than {rows}, another dtype= than {dtype!r}, or allow more"
        )


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
