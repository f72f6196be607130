"""What every format gives: a model as features, a dense head, and class names, and a way to write it back wider."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from extend.core.errors import FormatError
from extend.heads.links import Activation


@dataclass(frozen=True)
class DenseHead:
    """The last layer: ``scores = features @ kernel + bias``; kernel ``[d, k]``, bias ``[k]``, in the file's own dtype.

    `activation` is what turns scores into probabilities: softmax, or sigmoid where classes do not exclude each other.

    Raises:
        FormatError: the shapes do not fit each other, or a number is not finite.

    >>> DenseHead(np.eye(3, 2), np.zeros(2)).num_classes
    2
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: Activation = "softmax"

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or self.bias.shape != self.kernel.shape[1:] or 0 in self.kernel.shape:
            raise FormatError(
                f"the head has kernel {list(self.kernel.shape)} and bias {list(self.bias.shape)}; expected [d, k], [k]"
            )
        if not (np.isfinite(self.kernel).all() and np.isfinite(self.bias).all()):
            raise FormatError("the head's parameters hold NaN or infinity")

    @property
    def num_classes(self) -> int:
        return self.kernel.shape[1]

    def astype(self, dtype: Any) -> DenseHead:
        """The same head in another dtype; what is too large for it is an error."""
        with np.errstate(over="ignore"):
            return DenseHead(self.kernel.astype(dtype), self.bias.astype(dtype), self.activation)


@dataclass(frozen=True)
class Input:
    """One input of the model, without the batch axis: None stands for an axis of any length.

    `channels_first` says that a picture is ``[channels, height, width]``.

    >>> Input((3, 224, 224), np.dtype("float32"), channels_first=True).picture
    (224, 224, 3)
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    channels_first: bool = False

    @property
    def picture(self) -> tuple[int | None, int | None, int] | None:
        """``(height, width, channels)`` if this can be a picture of 1 or 3 channels, else None."""
        if len(self.shape) != 3:
            return None
        c, h, w = self.shape if self.channels_first else (self.shape[2], *self.shape[:2])
        return (h, w, c) if c in (1, 3) else None


class Foreign(Protocol):
    """A model of another framework, opened."""

    @property
    def format(self) -> str:
        """Its name, such as "onnx"."""
        ...

    @property
    def input(self) -> Input | Mapping[str, Input]:
        """One input, or ``{name: Input}`` for a model of several."""
        ...

    @property
    def head(self) -> DenseHead:
        """Its last dense layer; one sigmoid unit for two classes is two columns, the first zero, with softmax."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names, in the order of the head's columns; None if the file has none."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything before the head; the same in a file that `save` wrote."""
        ...

    def features(self, batch: Any) -> np.ndarray:
        """What the head reads, float ``[n, d]``, of a batch (an array ``[n, *input shape]``, or a dict of them)."""
        ...

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the model with this head in place of its own, in the same format; what was opened is not changed.

        Raises:
            FormatError: the format or the path's suffix cannot hold it.
        """
        ...

    def describe(self) -> dict[str, str]:
        """For `extend inspect`: "backbone" (its layers, in words), "head" (where it was found), "limits", ..."""
        ...


def digest(parts: Iterable[tuple[str, Any]]) -> str:
    """SHA-256 over named arrays and texts, for `Foreign.fingerprint`.

    >>> digest([("w", np.zeros(2)), ("kind", "dense")])[:8]
    '02d8ec9d'
    """
    sha = hashlib.sha256()
    for name, value in parts:
        if isinstance(value, np.ndarray):
            sha.update(f"{name} {value.shape} {value.dtype}".encode())
            sha.update(np.ascontiguousarray(value).tobytes())
        else:
            sha.update(f"{name}={value}".encode())
    return sha.hexdigest()


def read_bytes(path: str | os.PathLike[str], most: int = 4 << 30) -> bytes:
    """A file's bytes.

    Raises:
        FormatError: it is missing, a folder, empty, or larger than `most`.
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    if not 0 < file.stat().st_size <= most:
        raise FormatError(f"{file}: {file.stat().st_size or 'no'} bytes; expected 1 to {most}")
    return file.read_bytes()


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, whole."""
    file = Path(path)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
