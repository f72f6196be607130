"""Checked samples: inputs, labels into named classes, and a content key for each sample.

The key is the start of the SHA-256 of the image file's bytes, or of the array's bytes, so it depends on nothing but the
sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import jax
import numpy as np
from jaxtyping import Bool, Int, UInt64

from extend.data.input_spec import Batch, InputSpec
from extend.data.labelled import Labelled
from extend.data.tables import TEXT


class Progress(Protocol):
    """What wraps an iteration to show how far it is: ``tqdm.tqdm``, or a function like it."""

    def __call__(self, steps: Iterable[Any], /, *, total: int) -> Iterable[Any]:
        """Return the steps, which are `total` in number, one by one."""
        ...


def shown(steps: Iterable[Any], total: int, progress: Progress | None, what: str = "") -> Iterable[Any]:
    """Return the steps, wrapped by `progress` if there is one; it is told what they are if it can be (``named``)."""
    if progress is None:
        return steps
    named = getattr(progress, "named", None)
    bar: Progress = named(what) if named is not None and what else progress
    return bar(steps, total=total)


@dataclass(frozen=True, eq=False)
class Samples(Labelled):
    """Checked inputs with labels into `classes` and content keys.

    Parameters
    ----------
    inputs
        A tree of arrays ``[n, ...]``. Pictures stay 8-bit until `batch` normalises them.
    skipped
        Image files that could not be read and were left out.
    notes
        What else was noticed while they were read, in sentences.
    files
        The file of each sample, where each has one.

    Examples
    --------
    >>> Samples(np.eye(2), np.array([0, 1]), ("a", "b"), np.arange(2, dtype=np.uint64)).present
    ('a', 'b')
    """

    inputs: Batch
    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    keys: UInt64[np.ndarray, " n"]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    rows_in: ClassVar[str] = "inputs"

    def take(self, rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Samples:
        """Return these samples: numbers, or a mask."""
        found = super().take(rows)
        return replace(found, files=tuple(np.asarray(self.files, object)[rows].tolist())) if self.files else found

    def concatenate(self, *others: Samples) -> Samples:
        """Return the samples of all parts, in this order, labelled into all of their classes."""
        parts = (self, *others)
        found = super().concatenate(*others)
        named = all(part.files for part in parts)
        return replace(
            found,
            skipped=tuple(name for part in parts for name in part.skipped),
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            files=tuple(name for part in parts for name in part.files) if named else (),
        )

    def batch(self, start: int, stop: int, spec: InputSpec) -> Batch:
        """Return rows ``start:stop`` as the backbone takes them."""
        return spec.prepare(jax.tree.map(lambda a: a[start:stop], self.inputs))

    def prepared(self, spec: InputSpec) -> Samples:
        """Return these samples with all inputs as the backbone takes them."""
        return replace(self, inputs=self.batch(0, len(self), spec))

    @property
    def dtypes(self) -> list[np.dtype]:
        """The dtype of each array of the inputs."""
        return [leaf.dtype for leaf in jax.tree.leaves(self.inputs)]

    def join(self, other: Samples, spec: InputSpec) -> Samples:
        """Return both; where one holds 8-bit pictures and the other arrays, both become arrays."""
        if self.dtypes == other.dtypes:
            return self.concatenate(other)
        return self.prepared(spec).concatenate(other.prepared(spec))


def content_key(*parts: bytes | memoryview) -> np.uint64:
    """The first 8 bytes, big-endian, of the SHA-256 of a sample's bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return np.uint64(int.from_bytes(digest.digest()[:8], "big"))


def array_keys(inputs: Batch) -> UInt64[np.ndarray, " n"]:
    """Return the content key of each row of a tree of arrays."""
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(inputs)]
    if any(leaf.dtype == TEXT for leaf in leaves):
        # A text's end is marked, so that two columns of texts are not read as one.
        parts = [[f"{one}\0".encode() if isinstance(one, str) else one.tobytes() for one in leaf] for leaf in leaves]
        return np.asarray([content_key(*row) for row in zip(*parts, strict=True)], np.uint64)
    if len(leaves) > 1:
        keys = [content_key(*(leaf[i].tobytes() for leaf in leaves)) for i in range(len(leaves[0]))]
        return np.asarray(keys, np.uint64)
    n, size = len(leaves[0]), leaves[0].nbytes // max(1, len(leaves[0]))
    content, sha256 = leaves[0].reshape(-1).view(np.uint8).data, hashlib.sha256
    digests = b"".join([sha256(content[start : start + size]).digest()[:8] for start in range(0, n * size, size)])
    return np.frombuffer(digests, ">u8").astype(np.uint64) if size else np.full(n, content_key(b""), np.uint64)
