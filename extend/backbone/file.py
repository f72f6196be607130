"""The backbone that is the model of another framework, run by its own runtime, which takes a wider head back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extend.backbone.base import Arrays, BaseBackbone, Outputs
from extend.backbone.feature_space import Space
from extend.backbone.function import host_shape
from extend.core.errors import ArgumentError, FormatError
from extend.data import Array, Batch, InputSpec, Tree, class_names
from extend.formats import DenseHead, DenseNetwork, Foreign, Input, to_keras_h5, to_mat, to_pmml
from extend.heads import Head, LinearHead, Origin, link_named

BATCH_SIZE = 32
"""Inputs are padded to batches of this size."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FileBackbone(BaseBackbone):
    """The features of a model of another framework; made by `FileBackbone.of`.

    Parameters
    ----------
    model
        The opened model.
    columns
        The names of the classes in the order of the columns of the model's own head.
    """

    model: Foreign
    columns: tuple[str, ...]

    @classmethod
    def of(cls, model: Foreign, inputs: InputSpec | None = None, classes: Sequence[str] | None = None) -> FileBackbone:
        """Make a backbone of an opened model.

        Parameters
        ----------
        model
            What `extend.formats.registry.read` gives.
        inputs
            What one input is, where the model does not say; pictures are brought to its layout of axes.
        classes
            The names of the columns of the model's head, in their order, where the model has none or others are
            wanted.

        Raises
        ------
        ArgumentError
            What one input is must be said, or there are more or fewer names than columns.
        FormatError
            The features do not fit the head.

        Examples
        --------
        >>> from extend.formats import read
        >>> from sklearn.linear_model import LogisticRegression
        >>> FileBackbone.of(read(LogisticRegression().fit(np.eye(3), ["a", "b", "c"]))).columns
        ('a', 'b', 'c')
        """
        spec = inputs if inputs is not None else inputs_of(model)
        features = _laid_out(model, spec)

        def run(network: Arrays, x: Batch) -> Outputs:
            return features(x), ()

        width = host_shape(run, {}, spec)[-1]
        if width != model.head.kernel.shape[0]:
            raise FormatError(f"the model gave {width} features; its head reads {model.head.kernel.shape[0]}")
        space = Space(keep=True)
        return cls(
            run=run,
            params={"network": {}, "space": space.init(width)},
            inputs=spec,
            parts=(width,),
            space=space,
            description={"kind": "function", "class": model.format, "head": None, "origin": model.fingerprint},
            own_head=_linear(model.head),
            batch_size=BATCH_SIZE,
            model=model,
            columns=column_names(model, classes),
        )

    @property
    def can_trace(self) -> bool:
        """No: the features come from another runtime."""
        return False

    @property
    def own_format(self) -> str:
        """The name of the model's format."""
        return self.model.format

    @property
    def needs_pixels(self) -> bool:
        """Whether the model takes pictures, and inputs are not said to be any."""
        return self.inputs.as_image() is None and getattr(self.model.input, "picture", None) is not None

    def holds(self, head: Head) -> bool:
        """Return whether the file can hold this head, which is whether some linear head has the same scores."""
        return head.as_linear() is not None

    def with_columns(self, classes: Sequence[str]) -> FileBackbone:
        """Return this backbone with its own head's columns in another order, as a format may sort its classes."""
        own = self._reordered(classes)
        return replace(self, own_head=_linear(own)) if own is not None else self

    def agrees(self, head: Head, classes: Sequence[str]) -> bool:
        """Return whether this head gives the same probabilities as the model's own, up to the rounding of a file."""
        own = self._reordered(classes)
        return own is not None and _same(self._in_own_dtype(head), own)

    def _reordered(self, classes: Sequence[str]) -> DenseHead | None:
        if set(classes) != set(self.columns):
            return None
        order = [self.columns.index(name) for name in classes]
        own = self.model.head
        return DenseHead(own.kernel[:, order], own.bias[order], own.activation)

    def origin_of(self, kernel: np.ndarray, bias: np.ndarray, start: int) -> Origin:
        """Return "file" for a block of columns with the very bits of the file's own, else "solved"."""
        own = self._bits(*self.model.head.kernel.T, bias=self.model.head.bias)
        return "file" if not start and self._bits(*kernel.T, bias=bias) <= own else "solved"

    @staticmethod
    def _bits(*columns: np.ndarray, bias: np.ndarray) -> set[bytes]:
        pairs = zip(columns, bias, strict=True)
        return {np.asarray([*column, shift], np.float32).tobytes() for column, shift in pairs}

    def dense_head(self, head: Head, classes: Sequence[str]) -> DenseHead:
        """Return a head in the file's own dtype; columns that are still the file's own are its very numbers.

        Raises
        ------
        ArgumentError
            The file cannot hold the head.
        """
        linear, own = self._in_own_dtype(head), self.model.head
        for column, (name, came_from) in enumerate(zip(classes, _origins(head), strict=True)):
            if came_from == "file" and name in self.columns:
                was = self.columns.index(name)
                linear.kernel[:, column], linear.bias[column] = own.kernel[:, was], own.bias[was]
        return linear

    def _in_own_dtype(self, head: Head) -> DenseHead:
        """The head as a new dense layer of the file."""
        own, linear = self.model.head, head.as_linear()
        if linear is None:
            raise ArgumentError(
                f"the head is one of Gaussians, and a {self.own_format} file holds a dense layer: add the classes "
                "with method='lda', 'ridge' or 'auto'"
            )
        kernel, bias = linear.dense(own.kernel.shape[0])
        return DenseHead(kernel.astype(own.kernel.dtype), bias.astype(own.bias.dtype), own.activation)

    def beside(self, path: str | os.PathLike[str]) -> Path | None:
        """Return the folder for the memory; None for a file in another format, which has features of its own."""
        return None if self._writer(Path(path)) is not None else memory_folder(path)

    def write(self, head: Head, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
        """Write the model with a head in place of its own, in its own format or, if it is a dense network, in another.

        Columns that no method changed are the very numbers of the file.
        """
        target, names = Path(path), tuple(classes)
        dense = self.dense_head(head, names)
        if (writer := self._writer(target)) is not None:
            network: DenseNetwork = self.model.network.with_head(dense, names)  # type: ignore[attr-defined]
            writer(network, target)
        else:
            self.model.save(target, dense, names)

    def _writer(self, target: Path) -> Callable[[DenseNetwork, Path], None] | None:
        """What writes a dense network in another format than the model's own, if this is one and the suffix says so."""
        is_dense = getattr(self.model, "network", None) is not None
        return _converter(self.own_format, target) if is_dense else None


def memory_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder that keeps what a file cannot hold: beside it, or beside ``model.json`` in a folder."""
    file = Path(path)
    if (file / "model.json").is_file():
        file = file / "model.json"
    return file.with_name(file.name + ".extend")


def column_names(model: Foreign, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of the columns of a model's head: those given, the file's own, or "0", "1", ...

    Raises
    ------
    ArgumentError
        There are more or fewer names than columns.
    """
    k = model.head.num_classes
    if classes is None:
        return model.classes or tuple(map(str, range(k)))
    if len(classes) != k:
        raise ArgumentError(f"{len(classes)} classes are named; the head of this {model.format} model has {k} outputs")
    return class_names(classes)


def inputs_of(model: Foreign) -> InputSpec:
    """Return what one input of a model is, as the model says it.

    Raises
    ------
    ArgumentError
        It leaves the length of an axis open.
    """
    own: InputSpec | None = getattr(model, "image", None)
    if own is not None:
        return own
    parts = model.input if isinstance(model.input, Mapping) else {"": model.input}
    if any(axis is None for part in parts.values() for axis in part.shape):
        raise ArgumentError(
            f"the model takes {inputs_in_words(model)}, where ? is any length: pass inputs=extend.Array(shape, dtype), "
            "without the batch axis, or pixels= and size= for pictures"
        )
    specs = {
        name: Array(tuple(map(int, filter(None, part.shape))), part.dtype, part.columns, part.missing)
        for name, part in parts.items()
    }
    return Tree(specs) if isinstance(model.input, Mapping) else specs[""]


def inputs_in_words(model: Foreign) -> str:
    """Return what the inputs of a model are, for people; ? is an axis of any length."""
    parts = model.input if isinstance(model.input, Mapping) else {"": model.input}
    shown = {name: ", ".join("?" if axis is None else str(axis) for axis in part.shape) for name, part in parts.items()}
    return ", ".join(f"{name} [{shown[name]}] {part.dtype}".strip() for name, part in parts.items())


def _laid_out(model: Foreign, spec: InputSpec) -> Callable[[Batch], Any]:
    """The model's features of a batch that is laid out as `spec` says."""
    one = model.input if isinstance(model.input, Input) else None
    turn = spec.as_image() is not None and one is not None and one.channels_first

    def features(batch: Batch) -> Any:
        if isinstance(batch, Mapping):
            return model.features({name: np.asarray(part) for name, part in batch.items()})
        rows = np.asarray(batch)
        if turn:
            rows = np.ascontiguousarray(np.moveaxis(rows, -1, 1))
        return model.features(rows.astype(one.dtype if one is not None else None, copy=False))

    return features


def _origins(head: Head) -> list[Origin]:
    """Where each column of a linear head came from."""
    linear = head.as_linear()
    return [] if linear is None else [block.origin for block in linear.blocks for _ in range(block.bias.shape[0])]


def _linear(head: DenseHead) -> LinearHead:
    kernel, bias = head.kernel.astype(np.float32), head.bias.astype(np.float32)
    return LinearHead.of(kernel, bias, link=link_named(head.activation), origin="file")


def _same(one: DenseHead, two: DenseHead) -> bool:
    """Whether both give the same probabilities: softmax does not see what is added to all columns."""

    def rows(head: DenseHead) -> np.ndarray:
        whole = np.concatenate([head.kernel, head.bias[None]]).astype(np.float64)
        return whole - whole.mean(axis=1, keepdims=True) if head.activation == "softmax" else whole

    return bool(np.allclose(rows(one), rows(two), rtol=1e-4, atol=1e-5 * np.abs(rows(one)).max()))


def _converter(own_format: str, target: Path) -> Callable[[DenseNetwork, Path], None] | None:
    """What writes a dense network in the format of this suffix; None if that is its own format, or none for it."""
    others: dict[str, tuple[str, Callable[[DenseNetwork, Path], None]]] = {
        ".pmml": ("pmml", to_pmml),
        ".xml": ("pmml", to_pmml),
        ".mat": ("matlab", to_mat),
        ".h5": ("keras", to_keras_h5),
        ".hdf5": ("keras", to_keras_h5),
    }
    name, writer = others.get(target.suffix.lower(), (own_format, None))
    return writer if name != own_format else None
