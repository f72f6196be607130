"""The weights of a layers model: what ``weightsManifest`` says of them, their bytes, and their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.tfjs._source import MOST_WEIGHTS, Source, checked_name

SHARD = 4 << 20
"""Bytes of one file of weights, as TensorFlow.js' converter cuts them: what browsers cache."""

DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|b1", "uint8": "|u1"}
QUANTIZED = {"uint8": "|u1", "uint16": "<u2", "float16": "<f2"}
MOST_ENTRIES = 100_000


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight as the file holds it.

    Parameters
    ----------
    name
        Such as ``"dense/kernel"``.
    shape, dtype
        Of the numbers that it stands for.
    data
        Its bytes in the file.
    quantization
        How small integers or half-precision numbers become these numbers, as the file says it; None if they are stored
        as they are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: bytes = field(repr=False)
    quantization: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, name: str, array: np.ndarray) -> Weight:
        """Return an array as a weight of float32."""
        return cls(name, array.shape, "float32", np.ascontiguousarray(array, "<f4").tobytes())

    def array(self) -> np.ndarray:
        """Return the numbers, computed as TensorFlow.js computes them: in double precision, then rounded."""
        if self.quantization is None:
            return np.frombuffer(self.data, DTYPES[self.dtype]).reshape(self.shape)
        stored = np.frombuffer(self.data, QUANTIZED[self.quantization["dtype"]]).reshape(self.shape)
        if self.quantization["dtype"] == "float16":
            return stored.astype(np.float32)
        with np.errstate(over="ignore"):
            values = stored * np.float64(self.quantization["scale"]) + np.float64(self.quantization["min"])
            return np.floor(values + 0.5).astype(np.int32) if self.dtype == "int32" else values.astype(np.float32)

    def entry(self) -> dict[str, Any]:
        """Return what ``weightsManifest`` says of it."""
        said = {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}
        return said if self.quantization is None else said | {"quantization": dict(self.quantization)}


Groups = list[list[Weight]]
"""The groups of ``weightsManifest``; each has files of its own."""


def read(manifest: Any, source: Source) -> tuple[Groups, list[list[str]]]:
    """Read the weights; return them by group, and the names of each group's files.

    Raises
    ------
    FormatError
        If the manifest is damaged, a file of it is missing or not of the size that it says, or a dtype is not known.
    """
    if not isinstance(manifest, list) or not manifest:
        raise FormatError("weightsManifest is missing or empty: the file holds no weights; expected a saved model")
    groups: Groups = []
    files: list[list[str]] = []
    total, seen = 0, set[str]()
    for number, group in enumerate(manifest, 1):
        paths, entries = (group.get("paths"), group.get("weights")) if isinstance(group, dict) else (None, None)
        if not isinstance(paths, list) or not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
            raise FormatError(f"group {number} of weightsManifest has no lists of paths and weights")
        heads = [_entry(entry) for entry in entries]
        sizes = [_size(weight) for weight in heads]
        total += sum(sizes)
        if total > MOST_WEIGHTS:
            raise FormatError(f"weightsManifest declares more than {MOST_WEIGHTS} bytes")
        if twice := [weight.name for weight in heads if weight.name in seen or seen.add(weight.name)]:  # type: ignore[func-returns-value]
            raise FormatError(f"weightsManifest names {twice[0][:100]!r} twice")
        names = [checked_name(path) for path in paths]
        content = _joined(names, sum(sizes), source)
        ends = np.cumsum([0, *sizes]).tolist()
        groups.append(
            [
                Weight(w.name, w.shape, w.dtype, content[start:end], w.quantization)
                for w, start, end in zip(heads, ends, ends[1:], strict=False)
            ]
        )
        files.append(names)
    return groups, files


def _joined(names: Sequence[str], size: int, source: Source) -> bytes:
    """The bytes of a group's files, one after the other."""
    if size == 0:
        return b""
    parts, left = [], size
    for name in names:
        part = source.read(name, MOST_WEIGHTS)
        parts.append(part)
        left -= len(part)
        if left < 0:
            break
    if left:
        found = sum(map(len, parts))
        more = "" if left > 0 or len(parts) == len(names) else " or more"
        raise FormatError(
            f"weightsManifest declares {size} bytes in {', '.join(names[:10])}; found {found}{more}: a file is cut, or "
            "of another export"
        )
    return b"".join(parts)


def _entry(entry: Any) -> Weight:
    name, shape, dtype, quantization = (
        (entry.get(key) for key in ("name", "shape", "dtype", "quantization"))
        if isinstance(entry, dict)
        else (None,) * 4
    )
    if not isinstance(name, str) or not isinstance(shape, list):
        raise FormatError("weightsManifest has a weight without name and shape")
    if len(shape) > 32 or any(type(n) is not int or not 0 <= n < 1 << 31 for n in shape):
        raise FormatError(f"weight {name[:100]!r} has the shape {str(shape)[:100]}; expected whole numbers")
    if dtype not in DTYPES:
        raise FormatError(f"weight {name[:100]!r} has the dtype {str(dtype)[:50]!r}; expected {', '.join(DTYPES)}")
    if quantization is not None:
        _check_quantization(name[:100], dtype, quantization)
    return Weight(name, tuple(shape), dtype, b"", quantization)


def _check_quantization(name: str, dtype: str, quantization: Any) -> None:
    kind = quantization.get("dtype") if isinstance(quantization, dict) else None
    if kind not in QUANTIZED:
        raise FormatError(
            f"weight {name!r} is quantized as {str(kind)[:50]!r}; expected {', '.join(QUANTIZED)}: convert the model "
            "without quantization"
        )
    if dtype not in ({"float32"} if kind == "float16" else {"float32", "int32"}):
        raise FormatError(f"weight {name!r} of {dtype} cannot be quantized as {kind}")
    for key in () if kind == "float16" else ("scale", "min"):
        value = quantization.get(key)
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e38:
            raise FormatError(f"weight {name!r} is quantized with the {key} {str(value)[:50]}; expected a number")


def _size(weight: Weight) -> int:
    stored = DTYPES[weight.dtype] if weight.quantization is None else QUANTIZED[weight.quantization["dtype"]]
    return math.prod(weight.shape) * np.dtype(stored).itemsize


def files_of(groups: Groups, names: Sequence[Sequence[str]]) -> tuple[list[list[str]], dict[str, bytes]]:
    """Cut groups into files: their names for each group, and what is in each.

    A single file that was not cut, such as Teachable Machine's ``weights.bin``, stays one file of its name.

    Parameters
    ----------
    groups
        The weights.
    names
        The names of the files that the model was read from; nothing if it comes from elsewhere.

    Examples
    --------
    >>> files_of([[Weight.of("dense/bias", np.zeros(3))]], [["weights.bin"]])[0]
    [['weights.bin']]
    >>> files_of([[Weight.of("dense/bias", np.zeros(3))]], [])[0]
    [['group1-shard1of1.bin']]
    """
    old = [name for group in names for name in group]
    whole = len(groups) == len(old) == 1 and not re.fullmatch(r"group\d+-shard\d+of\d+(\.bin)?", old[0])
    paths: list[list[str]] = []
    content: dict[str, bytes] = {}
    for number, group in enumerate(groups, 1):
        data = b"".join(weight.data for weight in group)
        starts = range(0, len(data), len(data) if whole else SHARD) if data else range(0)
        shards = [data[start : start + starts.step] for start in starts]
        own = [f"group{number}-shard{i}of{len(shards)}.bin" for i in range(1, len(shards) + 1)]
        if whole and shards:
            own = [PurePosixPath(old[0]).name]
        content |= dict(zip(own, shards, strict=True))
        paths.append(own)
    return paths, content
