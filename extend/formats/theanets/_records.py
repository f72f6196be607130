"""The records of a theanets file (see `extend.formats.pickles`): which names may occur, and the arrays among them."""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.pickles import Bytes2, Global, Made

RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
FROM_BUFFER = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
ALLOWED = {
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    *RECONSTRUCT,
    *FROM_BUFFER,
    "numpy.random.__RandomState_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
}
"""What a pickle may name, beside whatever is of theanets and Theano."""


def check(name: Global) -> None:
    """Check that a theanets file may hold a name.

    Raises
    ------
    FormatError
        If it is not of theanets, Theano or NumPy's arrays.
    """
    if not (name.full in ALLOWED or name.full.split(".")[0] in ("theanets", "theano")):
        raise FormatError(
            f"the pickle names {name.full}, which no theanets network needs: it may be hostile; not opened"
        )


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
        if not isinstance(data, str | bytes | bytearray):  # bytes() of a number would make as many zeros.
            raise FormatError("its numbers are no bytes")
        raw = data.encode("latin-1") if isinstance(data, str) else bytes(data)
        kind = _dtype(dtype)
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise FormatError("its shape is no tuple of whole numbers")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, IndexError, OverflowError, UnicodeError) as error:
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
