"""A pickle as inert data: its opcodes are followed by a stack machine of our own that calls and imports nothing.

Objects come out as records of what the pickle would have built. Only names of theanets, Theano and NumPy's arrays may
occur. The opcodes are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from extend.core.errors import FormatError
from extend.formats.theanets._records import FROM_BUFFER, RECONSTRUCT, Bytes2, Global, Items, Made

MOST_OPCODES = 1_000_000
"""A network of a hundred layers has some fifty thousand."""

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

_MARK = object()
_VALUES = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_SET": Items,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}


def read(content: bytes) -> tuple[Any, int]:
    """Return the object that a pickle describes, and the pickle's protocol.

    Raises
    ------
    FormatError
        If the pickle is damaged, or holds a name that is not of theanets, Theano or NumPy's arrays, or an opcode that
        no theanets file has.

    Examples
    --------
    >>> read(b"\\x80\\x02}q\\x00X\\x01\\x00\\x00\\x00aK\\x01s.")
    ({'a': 1}, 2)
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if number > MOST_OPCODES:
                raise FormatError(f"more than {MOST_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.result(), machine.protocol
            machine.step(opcode.name, argument)
    except FormatError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, OverflowError) as error:
        raise _damaged(str(error)) from error
    raise _damaged("it has no end")


def _damaged(why: str) -> FormatError:
    return FormatError(f"the pickle is damaged: {why}")


class _Machine:
    """The stack and the memo that opcodes work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0

    def result(self) -> Any:
        """The one object that is left at the end."""
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise _damaged("it does not end with one object")
        return self.stack[0]

    def step(self, opcode: str, given: Any) -> None:
        """Follow one opcode."""
        stack = self.stack
        match opcode:
            case "PROTO":
                self.protocol = int(given)
            case "FRAME":
                pass
            case "MARK" | "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_VALUES[opcode])
            case "EMPTY_LIST" | "EMPTY_SET" | "EMPTY_DICT" | "EMPTY_TUPLE":
                stack.append(_EMPTY[opcode]())
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(given)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(given)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(str(given))
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(Bytes2(given))
            case "GLOBAL":
                stack.append(_global(*given.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_global(stack.pop(), name))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[given] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[given])
            case _:
                self._compose(opcode)

    def _compose(self, opcode: str) -> None:
        """Follow an opcode that puts things of the stack together."""
        stack = self.stack
        match opcode:
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if _MARK in stack[-count:] or len(stack) < count:
                    raise _damaged("a tuple reaches over a mark")
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "APPEND":
                value = stack.pop()
                _list(stack[-1]).append(value)
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _list(stack[-1]).extend(items)
            case "SETITEM":
                value = stack.pop()
                key = stack.pop()
                _dict(stack[-1])[_key(key)] = value
            case "SETITEMS":
                items = self._since_mark()
                target = _dict(stack[-1])
                for key, value in zip(items[::2], items[1::2], strict=True):
                    target[_key(key)] = value
            case "NEWOBJ" | "REDUCE":
                arguments = stack.pop()
                function = stack.pop()
                if not isinstance(arguments, tuple) or not isinstance(function, Global | Made):
                    raise _damaged("a call of something that is no name")
                stack.append(Made(function, arguments, opcode == "NEWOBJ"))
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], Made):
                    raise _damaged("a state for something that is no object")
                stack[-1].state = state
            case _:
                raise FormatError(f"the pickle holds the opcode {opcode}, which no theanets file has")

    def _since_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack, and the mark with it."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise _damaged("a mark is missing")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items


def _global(module: Any, name: Any) -> Global:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise _damaged("a name is no text")
    full = f"{module}.{name}"
    if not all(part.isidentifier() for part in full.split(".")):
        raise _damaged("a name is no identifier")
    if not (full in ALLOWED or full.split(".")[0] in ("theanets", "theano")):
        raise FormatError(f"the pickle names {full}, which no theanets network needs: it may be hostile; not opened")
    return Global(module, name)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _damaged("items for something that is no list")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise _damaged("keys for something that is no dict")
    return value


def _key(value: Any) -> Any:
    # Tuples inside tuples would let a short file hash for ever.
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(part, str | bytes | int | float | Global | Made | None) for part in parts):
        raise _damaged("a dict has a key of an unusual kind")
    return value
