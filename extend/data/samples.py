"""What a user hands in, checked and brought to one form: arrays, ``{name: array}``, or a folder or archive of images.

Everything becomes `Samples`: inputs, integer labels, class names, and a content key for every sample. The key is the
start of the SHA-256 of the image file's bytes, or of the array's bytes, so it depends on nothing but the sample.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from extend.data.images import Image
from extend.data.input_spec import InputSpec


@dataclass(frozen=True)
class Samples:
    """Checked samples: a tree of arrays ``[n, ...]``, labels int64 ``[n]`` into `classes`, content keys uint64 ``[n]``.

    Pictures stay 8-bit until `batch` normalises them.
    """

    inputs: Any
    labels: np.ndarray
    classes: tuple[str, ...]
    keys: np.ndarray
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: np.ndarray) -> Samples:
        """The samples at these row numbers (or where this mask is true)."""
        inputs = jax.tree.map(lambda a: a[rows], self.inputs)
        return Samples(inputs, self.labels[rows], self.classes, self.keys[rows], self.skipped)

    def batch(self, start: int, stop: int, spec: InputSpec) -> Any:
        """Rows ``start:stop`` as the backbone wants them."""
        rows = jax.tree.map(lambda a: a[start:stop], self.inputs)
        return spec.normalise(rows) if isinstance(spec, Image) and rows.dtype == np.uint8 else rows


def content_key(*parts: bytes | memoryview) -> np.uint64:
    """The first 8 bytes, big-endian, of the SHA-256 of a sample's bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return np.uint64(int.from_bytes(digest.digest()[:8], "big"))


def _array_keys(inputs: Any) -> np.ndarray:
    leaves = jax.tree.leaves(inputs)
    return np.asarray([content_key(*(leaf[i].tobytes() for leaf in leaves)) for i in range(len(leaves[0]))], np.uint64)
