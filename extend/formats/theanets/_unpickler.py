"""A pickle as inert data: its opcodes are followed by a stack machine of our own that calls and imports nothing.

Objects come out as records of what the pickle would have built (`Global`, `Made`), arrays are read from their bytes,
and `write` gives the same pickle again with some of the records replaced. Only names of theanets, Theano and NumPy's
arrays may occur. The opcodes are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from extend.core.errors import ArgumentError, FormatError

MOST_OPCODES = 1_000_000
"""A network of a hundred layers has some fifty thousand."""

ARRAY_NAMES = {"numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
RECONSTRUCT = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
FROM_BUFFER = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}
OTHER_NAMES = {
    "numpy.random.__RandomState_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor",
    "_codecs.encode",
    "__builtin__.set",
    "builtins.set",
}
NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class Bytes2(str):
    """A Python 2 `str`, decoded as Latin-1; written as Python 2 wrote it."""


class Items(list[Any]):
    """The items of a set, which need not be hashable here."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function: ``theanets.feedforward`` and ``Classifier``."""

    module: str
    name: str

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What calling `function` with `args` would make; `new` if by ``__new__``; `state` is what was set on it."""

    function: Any
    args: Any
    new: bool
    state: Any = None

    def get(self, key: str) -> Any:
        """An attribute from the state; None if there is none."""
        return self.state.get(key) if isinstance(self.state, dict) else None

    @property
    def name(self) -> str:
        return self.function.full if isinstance(self.function, Global) else ""


_MARK = object()


def read(content: bytes) -> tuple[Any, int]:
    """The object that a pickle describes, and the pickle's protocol.

    Raises:
        FormatError: damaged, a name that is not of theanets, Theano or NumPy's arrays, or an opcode that no theanets
            file holds.

    >>> read(b"\\x80\\x02}q\\x00X\\x01\\x00\\x00\\x00aK\\x01s.")
    ({'a': 1}, 2)
    """
    try:
        return _run(content)
    except FormatError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError) as error:
        raise FormatError(f"the pickle is damaged: {error}") from error


def _run(content: bytes) -> tuple[Any, int]:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    protocol = 0

    def since_mark() -> list[Any]:
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ArgumentError("a mark is missing")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if number > MOST_OPCODES:
            raise FormatError(f"more than {MOST_OPCODES} opcodes")
        given: Any = argument
        match opcode.name:
            case "PROTO":
                protocol = int(given)
            case "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(str(argument))
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(Bytes2(argument))
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(argument)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_SET":
                stack.append(Items())
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                if _MARK in stack[-count:] or len(stack) < count:
                    raise ArgumentError("a tuple reaches over a mark")
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "APPEND":
                value = stack.pop()
                _list(stack[-1]).append(value)
            case "APPENDS" | "ADDITEMS":
                items = since_mark()
                _list(stack[-1]).extend(items)
            case "SETITEM":
                value = stack.pop()
                key = stack.pop()
                _dict(stack[-1])[_key(key)] = value
            case "SETITEMS":
                items = since_mark()
                target = _dict(stack[-1])
                for key, value in zip(items[::2], items[1::2], strict=True):
                    target[_key(key)] = value
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[given] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[given])
            case "GLOBAL":
                stack.append(_global(*given.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_global(stack.pop(), name))
            case "NEWOBJ" | "REDUCE":
                arguments = stack.pop()
                function = stack.pop()
                if not isinstance(arguments, tuple) or not isinstance(function, Global | Made):
                    raise ArgumentError("a call of something that is no name")
                stack.append(Made(function, arguments, opcode.name == "NEWOBJ"))
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], Made):
                    raise ArgumentError("a state for something that is no object")
                stack[-1].state = state
            case "STOP":
                if len(stack) != 1 or stack[0] is _MARK:
                    raise ArgumentError("it does not end with one object")
                return stack[0], protocol
            case name:
                raise FormatError(f"the pickle holds the opcode {name}, which no theanets file has")
    raise ArgumentError("it has no end")


def _global(module: Any, name: Any) -> Global:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ArgumentError("a name is no text")
    full = f"{module}.{name}"
    if not all(part.isidentifier() for part in full.split(".")):
        raise ArgumentError("a name is no identifier")
    allowed = full in ARRAY_NAMES | RECONSTRUCT | FROM_BUFFER | OTHER_NAMES
    if not (allowed or full.split(".")[0] in ("theanets", "theano")):
        raise FormatError(f"the pickle names {full}, which no theanets network needs: it may be hostile; not opened")
    return Global(module, name)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ArgumentError("items for something that is no list")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ArgumentError("keys for something that is no dict")
    return value


def _key(value: Any) -> Any:
    # Tuples inside tuples would let a short file hash for ever.
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, str | bytes | int | float | Global | Made | None) for part in parts):
        raise ArgumentError("a dict has a key of an unusual kind")
    return value


def array(value: Any) -> np.ndarray | None:
    """The array of a record that NumPy's pickling made, in its own dtype; None if it is something else.

    Raises:
        FormatError: its shape, dtype and bytes do not fit each other.
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
            raise ArgumentError("its shape is no tuple of whole numbers")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, UnicodeError) as error:
        raise FormatError(f"an array is damaged: {error}") from error


def _dtype(value: Any) -> np.dtype[Any]:
    code = value.args[0] if isinstance(value, Made) and value.name == "numpy.dtype" and value.args else None
    if not isinstance(code, str) or code not in NUMBERS:
        raise ArgumentError(f"its dtype is not one of {', '.join(sorted(NUMBERS))}")
    swap = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    return np.dtype(code).newbyteorder(">" if swap == ">" else "<")


def with_array(value: Made, new: np.ndarray) -> Made:
    """The record of an array with other contents, cast to the dtype that it had."""
    if value.name in RECONSTRUCT:
        version, _, dtype, _, data = value.state
        raw = np.ascontiguousarray(new, _dtype(dtype)).tobytes()
        state = (version, new.shape, dtype, False, Bytes2(raw.decode("latin-1")) if isinstance(data, str) else raw)
        return Made(value.function, value.args, value.new, state)
    data, dtype, _, _ = value.args
    raw = np.ascontiguousarray(new, _dtype(dtype)).tobytes()
    return Made(value.function, (type(data)(raw), dtype, new.shape, "C"), value.new, value.state)


def write(value: Any, protocol: int, replaced: Mapping[int, Any]) -> bytes:
    """The pickle of what `read` gave, with the records of these ids replaced.

    >>> read(write({"a": [1.5, None, (True,)]}, 2, {}))[0]
    {'a': [1.5, None, (True,)]}
    """
    out = [b"\x80" + bytes([max(2, protocol)])]
    memo: dict[int, int] = {}

    def memoized(item: Any) -> None:
        memo[id(item)] = len(memo)
        out.append(b"r" + struct.pack("<I", memo[id(item)]))

    def save(item: Any) -> None:
        original = item
        item = replaced.get(id(item), item)
        if id(original) in memo:
            out.append(b"j" + struct.pack("<I", memo[id(original)]))
            return
        if item is None:
            out.append(b"N")
        elif isinstance(item, bool):
            out.append(b"\x88" if item else b"\x89")
        elif isinstance(item, int):
            if -(1 << 31) <= item < 1 << 31:
                out.append(b"J" + struct.pack("<i", item))
            else:
                raw = item.to_bytes(item.bit_length() // 8 + 1, "little", signed=True)
                out.append(b"\x8a" + bytes([len(raw)]) + raw)
        elif isinstance(item, float):
            out.append(b"G" + struct.pack(">d", item))
        elif isinstance(item, Bytes2):
            raw = item.encode("latin-1")
            out.append(b"T" + struct.pack("<i", len(raw)) + raw)
        elif isinstance(item, str):
            raw = item.encode("utf-8", "surrogatepass")
            out.append(b"X" + struct.pack("<I", len(raw)) + raw)
        elif isinstance(item, bytearray):
            out.append(b"\x96" + struct.pack("<Q", len(item)) + bytes(item))
            memoized(original)
        elif isinstance(item, bytes):
            out.append(b"B" + struct.pack("<I", len(item)) + item)
        elif isinstance(item, Global):
            if "." in item.name:
                save(item.module)
                save(item.name)
                out.append(b"\x93")
            else:
                out.append(f"c{item.module}\n{item.name}\n".encode())
        elif isinstance(item, tuple):
            out.append(b"(")
            for part in item:
                save(part)
            out.append(b"t")
            if item:
                memoized(original)
        elif isinstance(item, list):
            out.append(b"\x8f" if isinstance(item, Items) else b"]")
            memoized(original)
            out.append(b"(")
            for part in item:
                save(part)
            out.append(b"\x90" if isinstance(item, Items) else b"e")
        elif isinstance(item, dict):
            out.append(b"}")
            memoized(original)
            out.append(b"(")
            for key, part in item.items():
                save(key)
                save(part)
            out.append(b"u")
        else:
            save(item.function)
            save(item.args)
            out.append(b"\x81" if item.new else b"R")
            memoized(original)
            if item.state is not None:
                save(item.state)
                out.append(b"b")

    try:
        save(value)
    except RecursionError as error:
        raise FormatError("the network is nested too deeply to be written") from error
    return b"".join([*out, b"."])
