"""The objects of a pickle as records: what it would have called, with what, and the arrays among them.

`extend.formats.theanets._unpickler` makes the records, and nothing in them is ever called; `_pickler` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from extend.core.errors import FormatError

RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
FROM_BUFFER = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Bytes2(str):
    """A Python 2 `str`, decoded as Latin-1; it is written as Python 2 wrote it."""


class Items(list[Any]):
    """The items of a set, which need not be hashable here."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function: ``theanets.feedforward`` and ``Classifier``."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """The module and the name, with a dot."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What calling `function` with `args` would make; `new` if by ``__new__``; `state` is what was set on it."""

    function: Any
    args: Any
    new: bool
    state: Any = None

    def get(self, key: str) -> Any:
        """Return an attribute from the state; None if there is none."""
        return self.state.get(key) if isinstance(self.state, dict) else None

    @property
    def name(self) -> str:
        """The full name of what would be called; empty if that has none."""
        return self.function.full if isinstance(self.function, Global) else ""


def array(value: Any) -> np.ndarray | None:
    """Return the array of a record that NumPy's pickling made, in its own dtype; None if it is something else.

    Raises
    ------
    FormatError
        If its shape, dtype and bytes do not fit each other.
    """
    if not isinstance(value, Made) or value.name not in RECONSTRUCT | FROM_BUFFER:
        return None
    try:
        if value.name in RECONSTRUCT:
            _, shape, dtype, fortran, data = value.state
        else:
            data, dtype, shape, order = value.args
            fortran = order == "F"
        if isinstance(data, Made) and data.name == "_codecs.encode":
            data = data.args[0]
        raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)
        kind = _dtype(dtype)
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise FormatError("its shape is no tuple of whole numbers")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, UnicodeError) as error:
        raise FormatError(f"an array is damaged: {error}") from error


def _dtype(value: Any) -> np.dtype[Any]:
    code = value.args[0] if isinstance(value, Made) and value.name == "numpy.dtype" and value.args else None
    if not isinstance(code, str) or code not in NUMBERS:
        raise FormatError(f"its dtype is not one of {', '.join(sorted(NUMBERS))}")
    swap = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    return np.dtype(code).newbyteorder(">" if swap == ">" else "<")


def with_array(value: Made, new: np.ndarray) -> Made:
    """Return the record of an array with other contents, cast to the dtype that it had."""
    if value.name in RECONSTRUCT:
        version, _, dtype, _, data = value.state
        raw = np.ascontiguousarray(new, _dtype(dtype)).tobytes()
        state = (version, new.shape, dtype, False, Bytes2(raw.decode("latin-1")) if isinstance(data, str) else raw)
        return Made(value.function, value.args, value.new, state)
    data, dtype, _, _ = value.args
    raw = np.ascontiguousarray(new, _dtype(dtype)).tobytes()
    return Made(value.function, (type(data)(raw), dtype, new.shape, "C"), value.new, value.state)
