"""Weights of Flax models in single files: msgpack, as `flax.serialization` writes it, safetensors and ``.npz``.

An Orbax folder goes on to `extend.core.orbax`. Nothing that a file holds is executed: no pickle in an ``.npz`` is read.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from flax import serialization

from extend.core import orbax
from extend.core.errors import CheckpointError
from extend.core.matching import Wanted, places

NAMES = ("flax_model.msgpack", "model.msgpack", "model.safetensors")
"""The file that is meant in a folder of Hugging Face's."""
MOST_MSGPACK, MOST_HEADER, DEPTH = 8 << 30, 100_000_000, 200
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
    "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
"""The dtypes of safetensors."""


@dataclass(frozen=True)
class _Stored:
    """An array in a file: its shape, and a function that reads it."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def restore(path: str | os.PathLike[str], wanted: Wanted, prefix: str | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a Flax model, by dotted path, from a file, a folder of files or an Orbax checkpoint.

    Parameters
    ----------
    path
        A msgpack file, ``.safetensors``, ``.npz``; a folder of `flax.training.checkpoints` (the newest is taken) or of
        Hugging Face; or an Orbax checkpoint.
    wanted
        Dotted path -> (shape, dtype) of every array of the model.
    prefix
        A part of the path before the model's own, where the model is there more than once.

    Raises
    ------
    CheckpointError
        The file is damaged, or holds no arrays of these names and shapes, or holds them more than once.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "weights.npz")
    >>> np.savez(file, **{"params/out/bias": np.ones(2)})
    >>> restore(file, {"params.out.bias": ((2,), np.float32)})["params.out.bias"].tolist()
    [1.0, 1.0]
    """
    file = _file(Path(path))
    if file is None:
        return orbax.restore(path, wanted, prefix)
    try:
        stored = _stored(file)
        found = {".".join(filter(None, name.replace("/", ".").split("."))): one for name, one in stored.items()}
    except CheckpointError:
        raise
    except Exception as error:  # msgpack, json and zipfile raise errors of many kinds for damaged files.
        raise CheckpointError(f"{file}: not readable as weights of a Flax model ({_brief(error)})") from error
    named = places(file, {name: one.shape for name, one in found.items()}, wanted, prefix)
    try:
        return {name: _as(found[full].read(), wanted[name][1]) for name, full in named.items()}
    except Exception as error:  # As above.
        raise CheckpointError(f"{file}: its arrays cannot be read ({_brief(error)})") from error


def _file(path: Path) -> Path | None:
    """The one file of weights that is meant by a path; None if it is an Orbax folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        return None
    numbered = [entry for entry in path.iterdir() if re.fullmatch(r"(.*_)?\d+(\.\d+)?", entry.name)]
    newest = max(numbered, key=lambda entry: float(entry.name.rpartition("_")[2]), default=None)
    if newest is not None:
        return newest if newest.is_file() else None
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def _stored(file: Path) -> dict[str, _Stored]:
    """The arrays in a file, by the names that it gives them."""
    with file.open("rb") as stream:
        start = stream.read(9)
    if start[:4] == b"PK\x03\x04":
        return dict(_npz(file))
    if start[8:] == b"{":
        return dict(_safetensors(file))
    if file.stat().st_size > MOST_MSGPACK:
        raise CheckpointError(f"{file}: {file.stat().st_size} bytes; expected at most {MOST_MSGPACK}")
    tree = serialization.msgpack_restore(file.read_bytes())
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"{file}: holds a {type(tree).__name__}; expected a dict of arrays, as Flax saves it")
    return dict(_leaves(tree, ""))


def _leaves(tree: Any, name: str, depth: int = 0) -> Iterator[tuple[str, _Stored]]:
    if depth > DEPTH:
        raise CheckpointError(f"dicts are nested deeper than {DEPTH}")
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            inner = name if key in ("value", "raw_value") and len(tree) == 1 and name else f"{name}.{key}"
            yield from _leaves(value, inner, depth + 1)
    elif isinstance(tree, np.ndarray | np.generic | int | float):
        array = np.asarray(tree)
        yield name, _Stored(array.shape, lambda: array)


def _npz(file: Path) -> Iterator[tuple[str, _Stored]]:
    """The arrays of an ``.npz`` file, by the headers of its members."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(stream)
            if not dtype.hasobject:
                name = member.removesuffix(".npy")
                yield name, _Stored(tuple(shape), lambda name=name: _member(file, name))  # type: ignore[misc]


def _member(file: Path, name: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as arrays:
        found: np.ndarray = arrays[name]
        return found


def _safetensors(file: Path) -> Iterator[tuple[str, _Stored]]:
    """The arrays of a safetensors file: a length of 8 bytes, JSON of dtypes, shapes and places, and the numbers."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(MOST_HEADER, size - 8):
            raise CheckpointError(f"{file}: its header claims {length} bytes; the file has {size}")
        header = json.loads(stream.read(length))
    for name, one in header.items():
        if name == "__metadata__" or one["dtype"] not in DTYPES:
            continue
        dtype, shape = np.dtype(DTYPES[one["dtype"]]), tuple(map(int, one["shape"]))
        begin, end = map(int, one["data_offsets"])
        if end - begin != math.prod(shape) * dtype.itemsize or not 0 <= begin <= end <= size - 8 - length:
            raise CheckpointError(f"{file}: {name!r} of shape {list(shape)} does not fit its place in the file")

        def read(begin: int = begin, end: int = end, dtype: np.dtype = dtype, shape: Any = shape) -> np.ndarray:
            with file.open("rb") as stream:
                stream.seek(8 + length + begin)
                return np.frombuffer(stream.read(end - begin), dtype).reshape(shape)

        yield name, _Stored(shape, read)


def _as(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array in the model's dtype, where both are numbers with a fraction."""
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # NumPy keeps bfloat16 in an .npz as two plain bytes.
        array = array.view(ml_dtypes.bfloat16)
    floats = all(np.dtype(kind).kind == "f" or np.dtype(kind) == ml_dtypes.bfloat16 for kind in (array.dtype, dtype))
    return array.astype(dtype) if floats else np.array(array)


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
