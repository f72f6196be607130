"""Records written as the pickle that they were read from, with some of them replaced."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

from extend.core.errors import FormatError
from extend.formats.pickles._records import Bytes2, Global, Items, Made

_PYTHONS: Any = pickle._Pickler  # In Python, so that its methods can be added to.


class Pickler(_PYTHONS):
    """Python's pickler, which also writes records: as what they were read from, without importing anything."""

    dispatch: ClassVar[dict[type, Any]] = dict(_PYTHONS.dispatch)

    def _global(self, item: Global) -> None:
        if "." in item.name or self.proto >= 4:
            self.save(item.module)
            self.save(item.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
        self.memoize(item)

    def _made(self, item: Made) -> None:
        self.save(item.function)
        self.save(item.args)
        self.write(pickle.NEWOBJ if item.new else pickle.REDUCE)
        self.memoize(item)
        self._all(item.items, pickle.APPENDS)
        self._all([part for pair in item.pairs for part in pair], pickle.SETITEMS)
        if item.state is not None:
            self.save(item.state)
            self.write(pickle.BUILD)

    def _all(self, items: list[Any], opcode: bytes) -> None:
        if items:
            self.write(pickle.MARK)
            for item in items:
                self.save(item)
            self.write(opcode)

    def _items(self, item: Items) -> None:
        self.write(pickle.EMPTY_SET)
        self.memoize(item)
        self._all(item, pickle.ADDITEMS)

    def _bytes2(self, item: Bytes2) -> None:
        raw = item.encode("latin-1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(item)

    dispatch |= {Global: _global, Made: _made, Items: _items, Bytes2: _bytes2}


class _Replacing(Pickler):
    """Writes other records in place of some."""

    def __init__(self, file: Any, protocol: int, replaced: Mapping[int, Any]) -> None:
        super().__init__(file, protocol)
        self.replaced = replaced

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        super().save(self.replaced.get(id(obj), obj), save_persistent_id)


def write(value: Any, protocol: int, replaced: Mapping[int, Any]) -> bytes:
    """Return the pickle of what `extend.formats.pickles.read` gave.

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
    >>> from extend.formats.pickles import read
    >>> read(write({"a": [1.5, None, (True,)]}, 2, {}))[0]
    {'a': [1.5, None, (True,)]}
    """
    file = io.BytesIO()
    try:
        _Replacing(file, max(2, protocol), replaced).dump(value)
    except RecursionError as error:
        raise FormatError("the network is nested too deeply to be written") from error
    return file.getvalue()
