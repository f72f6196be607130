"""A pickle as inert data: its opcodes are followed by a stack machine of our own that calls and imports nothing.

Objects come out as records of what the pickle would have built. The opcodes are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

from extend.core.errors import FormatError
from extend.formats.pickles._records import Bytes2, Global, Items, Made

MOST_OPCODES, MOST_IN_A_KEY = 2_000_000, 50
"""A network of a hundred layers has some fifty thousand opcodes; a key of a dict is hashed whole."""

_MARK = object()
_VALUES = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_SET": Items,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}


def read(
    content: bytes | BinaryIO,
    *,
    check: Callable[[Global], None] | None = None,
    call: Callable[[Made], Any] | None = None,
    load: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Return the object that a pickle describes, and the pickle's protocol; a stream is left behind the pickle.

    Parameters
    ----------
    content
        The pickle.
    check
        Raises a FormatError for a name that may not occur.
    call
        Gives what stands for the record of a call, such as a real tensor; by default the record itself.
    load
        Gives what stands for a persistent id (PyTorch's storages); without it, such an opcode is an error.

    Raises
    ------
    FormatError
        If the pickle is damaged, or holds an opcode that no pickle of data has.

    Examples
    --------
    >>> read(b"\\x80\\x02}q\\x00X\\x01\\x00\\x00\\x00aK\\x01s.")
    ({'a': 1}, 2)
    """
    machine = _Machine(check or (lambda name: None), call or (lambda made: made), load)
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
        raise damaged(str(error)) from error
    raise damaged("it has no end")


def damaged(why: str) -> FormatError:
    """Return the error for a damaged pickle."""
    return FormatError(f"the pickle is damaged: {why}")


class _Machine:
    """The stack and the memo that opcodes work on."""

    def __init__(
        self, check: Callable[[Global], None], call: Callable[[Made], Any], load: Callable[[Any], Any] | None
    ) -> None:
        self.check, self.call, self.load = check, call, load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0

    def result(self) -> Any:
        """The one object that is left at the end."""
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise damaged("it does not end with one object")
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
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "INT" | "LONG" | "BINFLOAT" | "FLOAT":
                stack.append(given)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(given)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(str(given))
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(Bytes2(given))
            case "GLOBAL":
                stack.append(self._global(*given.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(self._global(stack.pop(), name))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[given] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[given])
            case "BINPERSID" if self.load is not None:
                stack.append(self.load(stack.pop()))
            case _:
                self._compose(opcode)

    def _compose(self, opcode: str) -> None:
        """Follow an opcode that puts things of the stack together."""
        stack = self.stack
        match opcode:
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if any(part is _MARK for part in stack[-count:]) or len(stack) < count:
                    raise damaged("a tuple reaches over a mark")
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
                _put(stack[-1], [key, value])
            case "SETITEMS":
                items = self._since_mark()
                _put(stack[-1], items)
            case "FROZENSET":
                stack.append(Made(Global("builtins", "frozenset"), (self._since_mark(),), False))
            case "NEWOBJ" | "REDUCE":
                arguments = stack.pop()
                function = stack.pop()
                if not isinstance(arguments, tuple) or not isinstance(function, Global | Made):
                    raise damaged("a call of something that is no name")
                stack.append(self.call(Made(function, arguments, opcode == "NEWOBJ")))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Made):
                    stack[-1].state = state
                elif isinstance(stack[-1], OrderedDict) and isinstance(state, dict):  # PyTorch keeps versions there.
                    vars(stack[-1])["_metadata"] = state.get("_metadata")
                else:
                    raise damaged("a state for something that is no object")
            case _:
                raise FormatError(f"the pickle holds the opcode {opcode}, which no pickle of data has")

    def _global(self, module: Any, name: Any) -> Global:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise damaged("a name is no text")
        if not all(part.isidentifier() for part in f"{module}.{name}".split(".")):
            raise damaged("a name is no identifier")
        found = Global(module, name)
        self.check(found)
        return found

    def _since_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack, and the mark with it."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise damaged("a mark is missing")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items


def _list(value: Any) -> list[Any]:
    if isinstance(value, Made):
        return value.items
    if not isinstance(value, list):
        raise damaged("items for something that is no list")
    return value


def _put(value: Any, items: list[Any]) -> None:
    """Store pairs of keys and values in a dict, or in the record of something like one."""
    pairs = zip(items[::2], items[1::2], strict=True)
    if isinstance(value, Made):
        value.pairs.extend(pairs)
        return
    if not isinstance(value, dict):
        raise damaged("keys for something that is no dict")
    for key, part in pairs:
        _check_key(key)
        value[key] = part


def _check_key(value: Any) -> None:
    """Tuples that hold each other would let a short file hash for ever."""
    left, count = [value], 0
    while left:
        part, count = left.pop(), count + 1
        if count > MOST_IN_A_KEY or not isinstance(part, str | bytes | int | float | Global | Made | tuple | None):
            raise damaged("a dict has a key of an unusual kind")
        if isinstance(part, tuple):
            left.extend(part)
