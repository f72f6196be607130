"""Records written as the pickle that they were read from, with some of them replaced."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from extend.core.errors import FormatError
from extend.formats.theanets._records import Bytes2, Global, Items


def write(value: Any, protocol: int, replaced: Mapping[int, Any]) -> bytes:
    """Return the pickle of what `extend.formats.theanets._unpickler.read` gave.

    Parameters
    ----------
    value, protocol
        What `read` gave.
    replaced
        Other records, by the `id` of those that they stand in for.

    Raises
    ------
    FormatError
        If the records are nested too deeply.

    Examples
    --------
    >>> from extend.formats.theanets._unpickler import read
    >>> read(write({"a": [1.5, None, (True,)]}, 2, {}))[0]
    {'a': [1.5, None, (True,)]}
    """
    pickler = _Pickler(replaced)
    try:
        pickler.save(value)
    except RecursionError as error:
        raise FormatError("the network is nested too deeply to be written") from error
    return b"".join([b"\x80", bytes([max(2, protocol)]), *pickler.out, b"."])


class _Pickler:
    """The opcodes as they are collected; what was written before is only referred to."""

    def __init__(self, replaced: Mapping[int, Any]) -> None:
        self.replaced = replaced
        self.out: list[bytes] = []
        self.memo: dict[int, int] = {}

    def save(self, original: Any) -> None:
        """Write an object, or what replaces it, with all that it holds."""
        item = self.replaced.get(id(original), original)
        if id(original) in self.memo:
            self.out.append(b"j" + struct.pack("<I", self.memo[id(original)]))
            return
        match item:
            case None | bool() | int() | float() | str() | bytes():
                self.out.append(_plain(item))
            case bytearray():
                self.out.append(b"\x96" + struct.pack("<Q", len(item)) + bytes(item))
                self._memoize(original)
            case Global() if "." in item.name:
                self._all([item.module, item.name])
                self.out.append(b"\x93")
            case Global():
                self.out.append(f"c{item.module}\n{item.name}\n".encode())
            case tuple():
                self.out.append(b"(")
                self._all(item)
                self.out.append(b"t")
                if item:
                    self._memoize(original)
            case list():
                many = isinstance(item, Items)
                self.out.append(b"\x8f" if many else b"]")
                self._memoize(original)
                self.out.append(b"(")
                self._all(item)
                self.out.append(b"\x90" if many else b"e")
            case dict():
                self.out.append(b"}")
                self._memoize(original)
                self.out.append(b"(")
                for pair in item.items():
                    self._all(pair)
                self.out.append(b"u")
            case _:  # Made
                self._all([item.function, item.args])
                self.out.append(b"\x81" if item.new else b"R")
                self._memoize(original)
                if item.state is not None:
                    self.save(item.state)
                    self.out.append(b"b")

    def _all(self, items: Any) -> None:
        for item in items:
            self.save(item)

    def _memoize(self, item: Any) -> None:
        self.memo[id(item)] = len(self.memo)
        self.out.append(b"r" + struct.pack("<I", self.memo[id(item)]))


def _plain(item: Any) -> bytes:
    """The opcode of a number, a text, bytes or None."""
    match item:
        case None:
            return b"N"
        case bool():
            return b"\x88" if item else b"\x89"
        case int() if -(1 << 31) <= item < 1 << 31:
            return b"J" + struct.pack("<i", item)
        case int():
            raw = item.to_bytes(item.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(raw)]) + raw
        case float():
            return b"G" + struct.pack(">d", item)
        case Bytes2():
            raw = item.encode("latin-1")
            return b"T" + struct.pack("<i", len(raw)) + raw
        case str():
            raw = item.encode("utf-8", "surrogatepass")
            return b"X" + struct.pack("<I", len(raw)) + raw
        case _:
            return b"B" + struct.pack("<I", len(item)) + item
