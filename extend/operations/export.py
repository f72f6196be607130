"""Write a classifier for others to use: in its own format, in another, or as ONNX or StableHLO."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from extend.classifier.classifier import Classifier
from extend.core.errors import ArgumentError, FormatError
from extend.formats import DenseHead, DenseNetwork, Foreign, to_keras_h5, to_mat, to_onnx, to_pmml, to_stablehlo
from extend.heads.base import Head
from extend.heads.linear import LinearHead


@dataclass(frozen=True)
class Origin:
    """What a backbone came from: the model, and its classes' names when it was opened."""

    model: Foreign
    classes: tuple[str, ...]


def export(classifier: Classifier, path: str | os.PathLike[str]) -> Path:
    """Write a classifier for others to use: what was opened goes back in its own format, or into another.

    A model that was opened keeps its format; a dense network (MATLAB, PMML, theanets, scikit-learn's MLP) can also be
    written as ``.pmml``, ``.mat`` or ``.h5``. Old classes' weights are the very numbers of the file where
    no method changed them. What the file cannot hold (memory, what an input is, history) is written to the folder
    beside it, ``<file>.extend``, which `open` reads; whoever only serves the model can leave that behind. Into another
    format goes the network alone, without memory: its features are those of another file. A Flax
    classifier is written as ``.onnx`` or ``.stablehlo`` (`extend.formats.jax_export.onnx_writer`, `extend.formats.jax_export.stablehlo_writer`).

    Raises:
        FormatError: the suffix is not one that this model can be written as.
        ValueError: the head is no dense layer (Gaussians), or the backbone is a function.

    >>> import tempfile, extend
    >>> from sklearn.linear_model import LogisticRegression
    >>> x = np.eye(3).repeat(4, axis=0)
    >>> clf = extend.open(LogisticRegression().fit(x, np.repeat(["a", "b", "c"], 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     extend.open(export(clf, Path(folder) / "model.skops")).classes
    ('a', 'b', 'c')
    """
    target = Path(path)
    origin: Origin | None = classifier.backbone.origin
    if origin is None:
        _export_flax(classifier, target)
        return target
    head = dense_head(origin, classifier.head, classifier.classes)
    network = getattr(origin.model, "network", None)
    if isinstance(network, DenseNetwork) and _convert(network.with_head(head, classifier.classes), origin, target):
        return target
    origin.model.save(target, head, classifier.classes)
    classifier.save(memory_folder(target))
    return target


def memory_folder(path: str | os.PathLike[str]) -> Path:
    """Where `export` keeps what the file cannot hold."""
    return Path(path).with_name(Path(path).name + ".extend")


def dense_head(origin: Origin, head: Head, classes: tuple[str, ...]) -> DenseHead:
    """Return the head in the file's own dtype; columns that are still the file's own are its very numbers.

    Raises
    ------
    ArgumentError
        The head is one of Gaussians.
    """
    own, linear = origin.model.head, head.as_linear()
    if linear is None:
        raise ArgumentError(
            "the head is one of Gaussians, and a file of another framework holds a dense layer: add the classes with "
            "method='lda', 'ridge' or 'auto'"
        )
    kernel, bias = linear.dense(own.kernel.shape[0])
    written, shift = kernel.astype(own.kernel.dtype), bias.astype(own.bias.dtype)
    origins = [block.origin for block in linear.blocks for _ in range(block.bias.shape[0])]
    for column, (name, came_from) in enumerate(zip(classes, origins, strict=True)):
        if came_from == "file":
            was = origin.classes.index(name)
            written[:, column], shift[column] = own.kernel[:, was], own.bias[was]
    return DenseHead(written, shift, own.activation)


def _convert(network: DenseNetwork, origin: Origin, target: Path) -> bool:
    """Write a dense network in another format than its own; False if the target is its own format."""
    match target.suffix.lower():
        case ".pmml" | ".xml" if origin.model.format != "pmml":
            to_pmml(network, target)
        case ".mat" if origin.model.format != "matlab":
            to_mat(network, target)
        case ".h5" | ".hdf5" if origin.model.format != "keras":
            to_keras_h5(network, target)
        case _:
            return False
    return True


def _export_flax(classifier: Classifier, target: Path) -> None:
    if not classifier.backbone.traceable:
        raise ArgumentError("the backbone is a function that JAX cannot trace: export what it calls with its own tools")
    backbone, head = classifier.backbone, classifier.head
    if (linear := head.as_linear()) is not None:  # One matrix for all columns: one layer in the file.
        head = LinearHead.of(*linear.dense(backbone.feature_dim), link=head.link)

    def score(x: Any) -> tuple[jax.Array, jax.Array]:
        logits = head.logits(backbone.apply(backbone.params, x))
        probable = head.link.probabilities(logits)
        return logits, probable

    match target.suffix.lower():
        case ".onnx":
            to_onnx(score, backbone.inputs, classifier.classes, target)
        case ".stablehlo":
            to_stablehlo(score, backbone.inputs, classifier.classes, target)
        case _:
            raise FormatError(f"{target}: a Flax classifier is written as .onnx or .stablehlo; checkpoints by save()")
