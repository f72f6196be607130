"""What every format gives: a model as features, a dense head and class names, and a way to write it back wider.

Here is, once, what all of them need: the head (`DenseHead`) with its rule for a single sigmoid unit, the checks before
a file is written, the protocol of an opened model (`Foreign`), and the reading and writing of whole files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from extend.core.checkpoint import sync_folder
from extend.core.errors import FormatError
from extend.heads import Activation


@dataclass(frozen=True)
class DenseHead:
    """The last layer of a model: ``scores = features @ kernel + bias``.

    Parameters
    ----------
    kernel, bias
        The layer's numbers, in the file's own dtype: one column and one bias for each class.
    activation
        What turns scores into probabilities: "softmax", or "sigmoid" where the classes do not exclude each other.

    Raises
    ------
    FormatError
        If the shapes do not fit each other, or a number is not finite.

    Examples
    --------
    >>> DenseHead(np.eye(3, 2), np.zeros(2)).num_classes
    2
    """

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    activation: Activation = "softmax"

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or self.bias.shape != self.kernel.shape[1:] or 0 in self.kernel.shape:
            raise FormatError(
                f"the head has kernel {list(self.kernel.shape)} and bias {list(self.bias.shape)}; expected [d, k], [k]"
            )
        if not (np.isfinite(self.kernel).all() and np.isfinite(self.bias).all()):
            raise FormatError("the head's parameters hold NaN or infinity")

    @classmethod
    def from_single_unit(cls, kernel: Float[np.ndarray, "d 1"], bias: Float[np.ndarray, " 1"]) -> DenseHead:
        """Make the head of a model that tells two classes apart by one sigmoid unit.

        The unit becomes two columns with softmax, the first of them zero: ``softmax([0, z])[1]`` is ``sigmoid(z)``, so
        the probabilities are the same, and further columns can stand beside these two.

        Examples
        --------
        >>> DenseHead.from_single_unit(np.ones((3, 1)), np.ones(1)).bias.tolist()
        [0.0, 1.0]
        """
        return cls(np.concatenate([np.zeros_like(kernel), kernel], axis=1), np.concatenate([np.zeros_like(bias), bias]))

    def single_unit(self) -> tuple[Float[np.ndarray, "d 1"], Float[np.ndarray, " 1"]] | None:
        """Return the one sigmoid unit that this head is equal to, or None if it is not made of one.

        Examples
        --------
        >>> DenseHead(np.eye(2), np.zeros(2)).single_unit() is None
        True
        >>> DenseHead.from_single_unit(np.ones((3, 1)), np.ones(1)).single_unit()[1].tolist()
        [1.0]
        """
        if self.num_classes != 2 or self.activation != "softmax" or self.kernel[:, 0].any() or self.bias[0]:
            return None
        return self.kernel[:, 1:], self.bias[1:]

    @property
    def num_classes(self) -> int:
        """The number of columns."""
        return self.kernel.shape[1]

    @property
    def num_features(self) -> int:
        """The number of features that the head reads."""
        return self.kernel.shape[0]

    def astype(self, dtype: Any) -> DenseHead:
        """Return the same head in another dtype; a number that is too large for it raises a FormatError."""
        with np.errstate(over="ignore"):
            return DenseHead(self.kernel.astype(dtype), self.bias.astype(dtype), self.activation)

    def equals(self, other: DenseHead) -> bool:
        """Return whether both heads hold the same numbers and have the same activation."""
        same = np.array_equal(self.kernel, other.kernel) and np.array_equal(self.bias, other.bias)
        return same and self.activation == other.activation


def check_width(head: DenseHead, features: int) -> None:
    """Check that a head reads as many features as the model gives.

    Raises
    ------
    FormatError
        If their numbers differ.
    """
    if head.num_features != features:
        raise FormatError(f"the new head reads {head.num_features} features; the model gives {features}")


def check_names(names: Sequence[str], columns: int) -> None:
    """Check that there is one class name for each column of a head.

    Raises
    ------
    FormatError
        If their numbers differ.
    """
    if len(names) != columns:
        raise FormatError(f"{len(names)} classes are named; the head has {columns} columns")


def check_unlike(names: Sequence[str]) -> None:
    """Check that no two classes have the same name.

    Raises
    ------
    FormatError
        If two have; the message says the name.
    """
    if len(set(names)) != len(names):
        raise FormatError(f"two classes have the name {Counter(names).most_common(1)[0][0]!r}")


def check_replacement(
    new: DenseHead, own: DenseHead, classes: Sequence[str], *, fewest: int = 1, where: str | os.PathLike[str] = ""
) -> None:
    """Check, before a file is written, that a head and its class names can take the place of the model's own head.

    Parameters
    ----------
    new, own
        The head that is to be written, and the one that the model was opened with.
    classes
        The names of the new head's columns.
    fewest
        The least number of classes that the format can hold.
    where
        The file that is to be written, for the message.

    Raises
    ------
    FormatError
        If the new head reads another number of features, the number of names is not that of its columns, two names
        are alike, or there are too few classes.

    Examples
    --------
    >>> check_replacement(DenseHead(np.eye(2), np.zeros(2)), DenseHead(np.eye(2), np.zeros(2)), ["cat", "cat"])
    Traceback (most recent call last):
    ...
    extend.core.errors.FormatError: two classes have the name 'cat'
    """
    try:
        check_width(new, own.num_features)
        check_names(classes, new.num_classes)
        check_unlike(classes)
        if len(classes) < fewest:
            raise FormatError(f"the classes are {', '.join(map(repr, classes))}; this format needs {fewest} or more")
    except FormatError as error:
        raise FormatError(f"{where}: {error}" if str(where) else str(error)) from error


def same_columns(old: DenseHead, new: DenseHead) -> list[int | None]:
    """Find, for each column of the new head, the column of the old one that holds the same bits.

    Raises
    ------
    FormatError
        If the heads read different numbers of features.

    Examples
    --------
    >>> old = DenseHead(np.eye(2), np.zeros(2))
    >>> same_columns(old, DenseHead(np.array([[0.0, 5.0], [1.0, 5.0]]), np.zeros(2)))
    [1, None]
    """
    check_width(new, old.num_features)

    def keys(head: DenseHead) -> list[bytes]:
        rows = np.concatenate([head.kernel, head.bias[None]]).astype(np.float64)
        return [np.ascontiguousarray(row).tobytes() for row in rows.T]

    places = {key: place for place, key in reversed(list(enumerate(keys(old))))}
    return [places.get(key) for key in keys(new)]


@dataclass(frozen=True)
class Input:
    """One input of a model, without the axis of samples.

    Parameters
    ----------
    shape
        The length of each axis; None stands for any length.
    dtype
        What the model reads.
    channels_first
        Whether a picture is ``[channels, height, width]``.
    columns
        The names of the columns, for a row of a table that names them.
    missing
        Whether NaN may stand for a missing value.
    is_picture
        False where the model is known to take something else, such as a spectrogram, in the shape of a picture.

    Examples
    --------
    >>> Input((3, 224, 224), np.dtype("float32"), channels_first=True).picture
    (224, 224, 3)
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    channels_first: bool = False
    columns: tuple[str, ...] = ()
    missing: bool = False
    is_picture: bool = True

    @property
    def picture(self) -> tuple[int | None, int | None, int] | None:
        """``(height, width, channels)`` if this can be a picture of 1 or 3 channels, else None."""
        if len(self.shape) != 3 or not self.is_picture:
            return None
        c, h, w = self.shape if self.channels_first else (self.shape[2], *self.shape[:2])
        return (h, w, c) if c in (1, 3) else None


class Foreign(Protocol):
    """A model of another framework, opened."""

    @property
    def format(self) -> str:
        """The name of the format, such as "onnx"."""
        ...

    @property
    def input(self) -> Input | Mapping[str, Input]:
        """The model's one input, or ``{name: Input}`` for a model of several."""
        ...

    @property
    def head(self) -> DenseHead:
        """The model's last dense layer; a single sigmoid unit is read as `DenseHead.from_single_unit` says."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes' names, in the order of the head's columns; None if the file has none."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything before the head; it is the same in a file that `save` wrote."""
        ...

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads of a batch (an array ``[n, *input shape]``, or a dict of them)."""
        ...

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the model with this head in place of its own, in the same format; what was opened is not changed.

        Raises
        ------
        FormatError
            If the format, or a file of the path's suffix, cannot hold the head.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Describe for `extend.inspect`: "backbone" (its layers), "head" (where it was found), "limits", ..."""
        ...


def digest(parts: Iterable[tuple[str, Any]]) -> str:
    """Return the SHA-256 over named arrays and texts, for `Foreign.fingerprint`.

    Examples
    --------
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
    """Return a file's bytes.

    Raises
    ------
    FormatError
        If the file is missing, a folder, empty, or larger than `most` bytes.

    Examples
    --------
    >>> read_bytes("/no/such/file")
    Traceback (most recent call last):
    ...
    extend.core.errors.FormatError: /no/such/file: no such file
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    if not 0 < file.stat().st_size <= most:
        raise FormatError(f"{file}: {file.stat().st_size or 'no'} bytes; expected 1 to {most}")
    return file.read_bytes()


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, whole, even after a power failure.

    Raises
    ------
    FormatError
        If it cannot be written; what was there is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "model.bin")
    >>> replace_file(path, b"new")
    >>> read_bytes(path)
    b'new'
    """
    file = Path(path)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
        sync_folder(file.parent)
    except OSError as error:
        raise FormatError(f"{file}: cannot be written ({error}); what was there is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
