"""The elements of a MAT 5 file, checked before SciPy reads them: sizes, nesting, compression, and what may lie inside.

Source: MathWorks, "MAT-File Format" (MAT 5: a header of 128 bytes, then tagged elements; compressed ones are zlib).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from extend.core.errors import FormatError

BYTES, DEPTH = 192 << 20, 16
"""The most that a file may hold when decompressed, and how deep its cells and structs may nest."""
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
WIDTH = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
CELL, STRUCT, OBJECT, CHAR, NUMERIC = 1, 2, 3, 4, range(6, 16)
OTHER = {5: "a sparse matrix", 16: "a function handle", 17: "an object"}


@dataclass(frozen=True)
class Scan:
    """A file's readable variables as an uncompressed MAT 5 file, and what each of the others is, by name."""

    content: bytes
    others: dict[str, str]


def scan(content: bytes, where: str) -> Scan:
    """Check a file's elements.

    Raises
    ------
    FormatError
        If the file is not MAT 5, or an element of it does not fit in its place or is too large.

    Examples
    --------
    >>> import io, scipy.io
    >>> file = io.BytesIO()
    >>> scipy.io.savemat(file, {"b": [[1.0]]}, do_compression=True)
    >>> len(scan(file.getvalue(), "b.mat").content)
    192
    """
    if b"\x89HDF\r\n\x1a\n" in (content[:8], content[512:520]):
        raise FormatError(f"{where}: a MAT 7.3 file (HDF5); save it in MATLAB with save(..., '-v7')")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or struct.unpack(order + "H", content[124:126])[0] != 0x0100:
        raise FormatError(f"{where}: not a MAT file of version 5 to 7; save it in MATLAB with save(..., '-v7')")
    try:
        return _scan(content, order)
    except (FormatError, struct.error) as error:
        raise FormatError(f"{where}: damaged or hostile: {error}") from error


def _scan(content: bytes, order: str) -> Scan:
    kept: list[bytes | memoryview] = [content[:116] + bytes(8) + content[124:128]]
    others: dict[str, str] = {}
    left, place = BYTES, 128
    while place < len(content):
        kind, size = struct.unpack_from(order + "II", content, place)
        body = memoryview(content)[place + 8 : place + 8 + size]
        if len(body) != size:
            raise FormatError(f"the element at byte {place} has {size} bytes, past the file's end")
        place += 8 + size
        if kind == COMPRESSED:
            inflated = _inflate(body, left)
            kind, size = struct.unpack_from(order + "II", inflated, 0)
            body = memoryview(inflated)[8:]
            if len(body) != size:
                raise FormatError(f"a compressed element has {len(body)} bytes; its tag says {size}")
        left -= len(body)
        if kind != MATRIX or left < 0:
            raise FormatError(f"an element of type {kind}; expected variables of {BYTES} bytes in all")
        name, found = _matrix(body, order, 0)
        if found:
            others[name] = found
        elif name:  # A variable without a name holds what objects refer to.
            kept += [struct.pack(order + "II", MATRIX, size), body]
    return Scan(b"".join(kept), others)


def _inflate(body: memoryview, most: int) -> bytes:
    worker = zlib.decompressobj()
    try:
        result = worker.decompress(body, most + 1)
    except zlib.error as error:
        raise FormatError(f"a compressed element: {error}") from error
    if len(result) > most or not worker.eof:
        raise FormatError(f"a compressed element is cut off, or holds more than {most} bytes")
    return result


def _elements(body: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    place = 0
    while place < len(body):
        kind, size = struct.unpack_from(order + "II", body, place)
        if kind >> 16:  # Up to four bytes lie in the tag itself.
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            place, fits = place + 8, size <= 4
        else:
            start = place + 8
            place, fits = start + size + -size % 8, start + size <= len(body)
        if not fits or start + size > len(body):
            raise FormatError(f"a part of {size} bytes lies past the end of its element")
        yield kind, body[start : start + size]


def _matrix(body: memoryview, order: str, depth: int) -> tuple[str, str]:
    """The array's name, and what in it cannot be read, or ""."""
    if not body:
        return "", ""
    if depth > DEPTH:
        raise FormatError(f"cells or structs nested deeper than {DEPTH}")
    parts = _elements(body, order)
    flags = _part(parts, UINT32)
    if len(flags) != 8:
        raise FormatError(f"array flags of {len(flags)} bytes; expected 8")
    word = struct.unpack(order + "II", flags)[0]
    kind = word & 0xFF
    if kind == 17:  # An object's element has no dimensions.
        return bytes(_part(parts, INT8)).decode("latin1"), OTHER[kind]
    shape = _part(parts, INT32)
    sizes = struct.unpack(f"{order}{len(shape) // 4}i", shape[: len(shape) // 4 * 4])
    if not 2 <= len(sizes) <= 8 or min(sizes) < 0:
        raise FormatError(f"an array of dimensions {list(sizes)}")
    count = 1
    for size in sizes:
        count *= size
    name = bytes(_part(parts, INT8)).decode("latin1")
    if kind in OTHER:
        return name, OTHER[kind]
    if kind == OBJECT:  # A struct with the name of a class before its fields, such as "network".
        _part(parts, INT8)
    if kind in (CELL, STRUCT, OBJECT):
        return name, _inside(parts, order, kind, count, depth)
    if kind not in (CHAR, *NUMERIC):
        raise FormatError(f"array {name!r} is of class {kind}, which is not known")
    stored, data = next(parts, (0, body[:0]))
    # SciPy looks a type up before it sees that nothing is stored: one that is not known ends the process.
    widths = WIDTH if kind != CHAR else WIDTH | {16: 1, 17: 2, 18: 4}
    if stored not in widths:
        raise FormatError(f"array {name!r} is stored as type {stored}, which is not known")
    if kind == CHAR:
        if count > len(data) or len(data) % widths[stored]:
            raise FormatError(f"text {name!r} of {count} characters has {len(data)} bytes")
    elif word & 0x0800:
        return name, "complex numbers"
    elif count * WIDTH[stored] != len(data):
        raise FormatError(f"array {name!r} of {count} numbers has {len(data)} bytes of type {stored}")
    return name, "" if next(parts, None) is None else "an array with more parts than it should have"


def _inside(parts: Iterator[tuple[int, memoryview]], order: str, kind: int, count: int, depth: int) -> str:
    """Check the arrays of a cell, a struct or an object."""
    if kind != CELL:
        length = struct.unpack(order + "i", _part(parts, INT32))[0]
        names = _part(parts, INT8)
        if not 0 < length <= 64 or len(names) % length:
            raise FormatError(f"a struct's field names of {length} bytes each, {len(names)} in all")
        fields = [bytes(names[i : i + length]).split(b"\0")[0] for i in range(0, len(names), length)]
        if len(set(fields)) != len(fields) or not all(f.isalnum() or f.replace(b"_", b"a").isalnum() for f in fields):
            raise FormatError(f"a struct's field names are {fields}")
        count *= len(fields)
    found, seen = "", 0
    for stored, data in parts:
        if stored != MATRIX:
            raise FormatError(f"a cell or struct holds a part of type {stored}; expected arrays")
        found = _matrix(data, order, depth + 1)[1] or found
        seen += 1
    if seen != count:
        raise FormatError(f"a cell or struct of {count} arrays holds {seen}")
    return found


def _part(parts: Iterator[tuple[int, memoryview]], kind: int) -> memoryview:
    found, data = next(parts, (0, memoryview(b"")))
    if found != kind:
        raise FormatError(f"a part of type {found}; expected {kind}")
    return data
