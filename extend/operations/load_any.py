"""Models of other frameworks: open one as a classifier."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from extend.backbone.flax import Backbone
from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.classifier.serialise import load
from extend.core import checkpoint
from extend.core.errors import ArgumentError, FormatError
from extend.data import Array, Image, InputSpec, Progress, Tree, input_spec, spec_from_dict
from extend.formats.base import DenseHead, Foreign, Input
from extend.formats.registry import read
from extend.heads.linear import LinearHead
from extend.heads.links import link_named
from extend.operations.export import Origin, dense_head, memory_folder
from extend.operations.wrap import wrap

BATCH_SIZE = 32
"""Inputs are padded to batches of this size."""
Pixels = Literal["raw", "unit", "symmetric", "imagenet", "caffe"]
PIXELS: dict[str, dict[str, Any]] = {
    "raw": {"scale": 1.0},
    "unit": {},
    "symmetric": {"scale": 1 / 127.5, "mean": (1.0,)},
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "caffe": {"scale": 1.0, "mean": (103.939, 116.779, 123.68), "order": "bgr"},
}
"""How 8-bit pixels become a network's inputs: as they are; 0 to 1; -1 to 1; ImageNet's mean and standard deviation
(PyTorch's networks); ImageNet's mean, blue first (VGG and ResNet in Keras)."""


def open(
    source: Any,
    *,
    model: Any = None,
    classes: Sequence[str] | None = None,
    inputs: InputSpec | None = None,
    pixels: Pixels | None = None,
    size: int | None = None,
    head: str | None = None,
    data: Any = None,
    held_out: Any = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> Classifier:
    """A classifier from a file or a model of another framework; `docs/formats.md` says which.

    Its features come from the model in its own runtime. What `export` wrote beside the file (memory, what an input is,
    history) is read again. Without a memory, classes are added by `extend.methods.Imprint`.

    Args:
        source: a file, a folder of Hugging Face transformers, or a ``torch.nn.Module``, ``keras.Model`` or
            scikit-learn estimator.
        model: for a file of PyTorch weights: the module, or a function that makes it.
        classes: names, in the order of the model's outputs, where the file has none or others are wanted; by default
            "0", "1", ...
        inputs: what one input is, where the file does not say: `extend.Image`, or ``jax.ShapeDtypeStruct``, in
            the model's own layout of axes. Pictures are brought to the model's layout.
        pixels: instead: inputs are pictures of the model's own size, and this is how their pixels are scaled: a name in
            `PIXELS`.
        size: height and width of pictures, where the file leaves them open (PyTorch's always do).
        head: PyTorch and ONNX: path or name of the last layer, if it is not found by itself.
        data, held_out: as for `extend.wrap`: the memory is measured from them.
        trust: allow what executes code that the file names (Keras's Lambda layers, types of your own).

    Raises:
        FormatError: not a format that is known, damaged, unsafe, or with a part that is not supported (which is named).
        ValueError: the number of classes is not the head's, or what one input is must be said.

    >>> from sklearn.linear_model import LogisticRegression
    >>> x = np.eye(3).repeat(4, axis=0)
    >>> clf = open(LogisticRegression().fit(x, np.repeat(["a", "b", "c"], 4)))
    >>> clf.classes, clf.predict(x[:1]).tolist()
    (('a', 'b', 'c'), ['a'])
    """
    inputs = None if inputs is None else input_spec(inputs)
    beside = _beside(source)
    saved = spec_from_dict(checkpoint.describe(beside)["input"]) if beside is not None else None
    shape = _shape(saved if inputs is None else inputs) or _shape_of(data, pixels is not None, size)
    opened = read(source, model=model, shape=shape, head=head, trust=trust)
    names = _names(opened, classes)
    if pixels is not None:
        if inputs is not None:
            raise ArgumentError("pixels= describes pictures, and so does inputs=: give one of them")
        inputs = picture(opened, pixels, size)
    if beside is None or saved is None:
        backbone = _backbone(opened, inputs if inputs is not None else _spec(opened), names)
        clf = Classifier(backbone, _linear(opened.head), names, None, (Event("wrap", names, "own head", 0, {}),))
    else:
        if inputs is not None and inputs != saved:
            raise ArgumentError(
                f"{beside} says that inputs are {saved}; {inputs} is given: move the folder away to begin anew"
            )
        clf = _remembered(opened, beside, classes, saved)
    if data is None:
        return clf
    measured = wrap(clf.backbone, clf.classes, data, held_out=held_out, activation=clf.head.link, progress=progress)
    return replace(clf, memory=measured.memory, history=measured.history)


def picture(model: Foreign, pixels: Pixels, size: int | None = None) -> Image:
    """The `Image` of a model's own input size, with its pixels scaled as said.

    Raises:
        ValueError: the model takes no pictures, or leaves their size open and `size` is not given.
    """
    if pixels not in PIXELS:
        raise ArgumentError(f"pixels is {pixels!r}; expected one of {', '.join(PIXELS)}")
    shape = model.input.picture if isinstance(model.input, Input) else None
    if shape is None:
        raise ArgumentError(f"pixels={pixels!r} is for models of pictures; this one takes {_words(model)}")
    height, width = shape[0] or size, shape[1] or size
    if height is None or width is None:
        raise ArgumentError(f"the model takes pictures of any size: pass size= (it takes {_words(model)})")
    if shape[2] == 1 and pixels in ("imagenet", "caffe"):
        raise ArgumentError(f"pixels={pixels!r} is for colour; this model takes grey pictures")
    return Image(height, width, shape[2], **PIXELS[pixels])


def _names(opened: Foreign, classes: Sequence[str] | None) -> tuple[str, ...]:
    k = opened.head.num_classes
    if classes is None:
        return opened.classes or tuple(map(str, range(k)))
    if len(classes) != k:
        raise ArgumentError(f"{len(classes)} classes are named; the head of this {opened.format} model has {k} outputs")
    return tuple(map(str, classes))


def _backbone(opened: Foreign, spec: InputSpec, names: tuple[str, ...]) -> Backbone:
    made = Backbone.from_function(
        _features(opened, spec), spec, head=_linear(opened.head), batch_size=BATCH_SIZE, traceable=False
    )
    if made.penultimate != opened.head.kernel.shape[0]:
        raise FormatError(f"the model gave {made.penultimate} features; its head reads {opened.head.kernel.shape[0]}")
    described = {**made.description, "class": opened.format, "origin": opened.fingerprint}
    return replace(made, description=described, origin=Origin(opened, names))


def _features(opened: Foreign, spec: InputSpec) -> Callable[[Any], np.ndarray]:
    """The model's features of a batch that is laid out as `spec` says."""
    turn = isinstance(spec, Image) and isinstance(opened.input, Input) and opened.input.channels_first
    dtype = opened.input.dtype if isinstance(opened.input, Input) else None

    def features(batch: Any) -> np.ndarray:
        if isinstance(batch, Mapping):
            return opened.features({name: np.asarray(part) for name, part in batch.items()})
        rows = np.asarray(batch)
        if turn:
            rows = np.ascontiguousarray(np.moveaxis(rows, -1, 1))
        return opened.features(rows.astype(dtype, copy=False))

    return features


def _spec(opened: Foreign) -> InputSpec:
    own = getattr(opened, "image", None)
    if own is not None:
        return own
    parts = opened.input if isinstance(opened.input, Mapping) else {"": opened.input}
    if any(axis is None for part in parts.values() for axis in part.shape):
        raise ArgumentError(
            f"the model takes {_words(opened)}, where ? is any length: pass inputs=jax.ShapeDtypeStruct(shape, "
            "dtype), without the batch axis, or pixels= and size= for pictures"
        )
    specs = {name: Array(tuple(map(int, filter(None, part.shape))), part.dtype) for name, part in parts.items()}
    return Tree(specs) if isinstance(opened.input, Mapping) else specs[""]


def _shape(spec: Any) -> Any:
    """What a PyTorch module is run with, to find its head: ``Input``, or a dict of them."""
    if spec is None:
        return None
    if isinstance(spec, Tree):
        return {name: _shape(part) for name, part in spec.items()}
    if isinstance(spec, Image):
        return Input((spec.channels, spec.height, spec.width), spec.dtype, channels_first=True)
    channels_first = len(spec.shape) == 3 and spec.shape[0] in (1, 3)
    return Input(tuple(spec.shape), np.dtype(spec.dtype), channels_first)


def _shape_of(data: Any, pictures: bool, size: int | None) -> Input | None:
    """The same, from arrays ``(inputs, labels)`` or the size of pictures, where that tells it."""
    if pictures and size is not None:
        return Input((3, size, size), np.dtype(np.float32), channels_first=True)
    shape = np.shape(data[0])[1:] if isinstance(data, tuple) and hasattr(data[0], "shape") else ()
    if pictures and len(shape) == 3:
        return Input((shape[2], *shape[:2]), np.dtype(np.float32), channels_first=True)
    return _shape(Array(shape, data[0].dtype)) if shape else None


def _linear(head: DenseHead) -> LinearHead:
    return LinearHead.of(
        head.kernel.astype(np.float32), head.bias.astype(np.float32), link=link_named(head.activation), origin="file"
    )


def _remembered(opened: Foreign, folder: Path, classes: Sequence[str] | None, spec: InputSpec) -> Classifier:
    """The classifier that was exported, with its memory, on the file that lies beside it."""
    kept = checkpoint.describe(folder)
    if kept["network"].get("origin") != opened.fingerprint:
        raise FormatError(f"{folder} belongs to another network than the file beside it: move it away, or export again")
    clf = load(folder, _features(opened, spec))
    if classes is not None and tuple(classes) != clf.classes:
        raise ArgumentError(f"{folder} names the classes {', '.join(clf.classes)}; {', '.join(classes)} are given")
    named = opened.classes if opened.classes and set(opened.classes) == set(clf.classes) else clf.classes
    order = [named.index(name) for name in clf.classes]  # A format may sort its classes.
    own, origin = opened.head, Origin(opened, named)
    if len(order) == own.num_classes:
        own = DenseHead(own.kernel[:, order], own.bias[order], own.activation)
    if len(order) != own.num_classes or not _same(dense_head(origin, clf.head, clf.classes), own):
        raise FormatError(f"{folder} belongs to another version of the file beside it: move it away, or export again")
    return replace(clf, backbone=replace(clf.backbone, own_head=_linear(own), traceable=False, origin=origin))


def _same(one: DenseHead, two: DenseHead) -> bool:
    """Whether both give the same probabilities: softmax does not see what is added to all columns."""

    def rows(head: DenseHead) -> np.ndarray:
        whole = np.concatenate([head.kernel, head.bias[None]]).astype(np.float64)
        return whole - whole.mean(axis=1, keepdims=True) if head.activation == "softmax" else whole

    return bool(np.allclose(rows(one), rows(two), rtol=1e-4, atol=1e-5 * np.abs(rows(one)).max()))


def _beside(source: Any) -> Path | None:
    """The folder that `export` wrote beside a file, if there is one."""
    folder = memory_folder(source) if isinstance(source, str | os.PathLike) else None
    return folder if folder is not None and checkpoint.is_ours(folder) else None


def _words(opened: Foreign) -> str:
    parts = opened.input if isinstance(opened.input, Mapping) else {"": opened.input}
    shown = {name: ", ".join("?" if axis is None else str(axis) for axis in part.shape) for name, part in parts.items()}
    return ", ".join(f"{name} [{shown[name]}] {part.dtype}".strip() for name, part in parts.items())
