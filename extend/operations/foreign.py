"""Open a model of another framework as a backbone: what one of its inputs is, from all the ways to say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from extend.backbone import FileBackbone, inputs_in_words
from extend.core.errors import ArgumentError
from extend.data import Array, Image, InputSpec, Tree, input_spec, is_table
from extend.formats import Foreign, Input, read

Pixels: TypeAlias = Literal["raw", "unit", "symmetric", "imagenet", "caffe"]
PIXELS: dict[str, dict[str, Any]] = {
    "raw": {"scale": 1.0},
    "unit": {},
    "symmetric": {"scale": 1 / 127.5, "mean": (1.0,)},
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "caffe": {"scale": 1.0, "mean": (103.939, 116.779, 123.68), "order": "bgr"},
}
"""How 8-bit pixels become a network's inputs: as they are; 0 to 1; -1 to 1; ImageNet's mean and standard deviation
(PyTorch's networks); ImageNet's mean, blue first (VGG and ResNet in Keras)."""


def open_backbone(
    source: Any,
    *,
    classes: Sequence[str] | None = None,
    inputs: Any = None,
    pixels: Pixels | None = None,
    size: int | None = None,
    data: Any = None,
    model: Any = None,
    head: str | None = None,
    key: str | None = None,
    output: str | int | None = None,
    trust: bool = False,
) -> FileBackbone:
    """Read a file, or an object of another framework, as a backbone. The parameters are those of `extend.load`.

    Raises
    ------
    FormatError
        The format is not known, the file is damaged or unsafe, or a part of the model is not supported.
    ArgumentError
        What one input is must be said, is said twice, or does not fit; or names are not as many as the head's columns.
    """
    spec = None if inputs is None else input_spec(inputs)
    if pixels is not None and spec is not None:
        raise ArgumentError("pixels= describes pictures, and so does inputs=: give one of them")
    if size is not None and pixels is None:
        raise ArgumentError("size= is of pictures: pass pixels= with it, or inputs=extend.Image(...) alone")
    shape = module_input(spec) or _input_of_data(data, pixels is not None, size)
    opened = read(source, model=model, shape=shape, head=head, key=key, output=output, trust=trust)
    if opened.format != "torch":
        for name, given in (("key", key), ("output", output)):
            if given is not None:
                raise ArgumentError(f"{name}={given!r} is for PyTorch's modules; this is a model of {opened.format}")
    if pixels is not None:
        spec = picture(opened, pixels, size)
    return FileBackbone.of(opened, spec, classes)


def picture(model: Foreign, pixels: Pixels, size: int | None = None) -> Image:
    """Return the `Image` of a model's own input size, with its pixels scaled as said.

    Raises
    ------
    ArgumentError
        The model takes no pictures, or leaves their size open and `size` is not given.
    """
    if pixels not in PIXELS:
        raise ArgumentError(f"pixels is {pixels!r}; expected one of {', '.join(PIXELS)}")
    shape = model.input.picture if isinstance(model.input, Input) else None
    if shape is None:
        raise ArgumentError(f"pixels={pixels!r} is for models of pictures; this one takes {inputs_in_words(model)}")
    height, width = shape[0] or size, shape[1] or size
    if height is None or width is None:
        raise ArgumentError(f"the model takes pictures of any size: pass size= (it takes {inputs_in_words(model)})")
    if shape[2] == 1 and pixels in ("imagenet", "caffe"):
        raise ArgumentError(f"pixels={pixels!r} is for colour; this model takes grey pictures")
    return Image(height, width, shape[2], **PIXELS[pixels])


def module_input(spec: InputSpec | None) -> Input | Mapping[str, Input] | None:
    """What a PyTorch module is run with, to find its head."""
    if spec is None:
        return None
    if (image := spec.as_image()) is not None:
        return Input((image.channels, image.height, image.width), image.dtype, channels_first=True)
    if isinstance(spec, Tree):
        return {str(name): module_input(part) for name, part in spec.items()}  # type: ignore[misc]  # Parts are specs.
    (array,) = spec.leaves()
    channels_first = len(array.shape) == 3 and array.shape[0] in (1, 3)
    return Input(tuple(array.shape), np.dtype(array.dtype), channels_first)


def _input_of_data(data: Any, pictures: bool, size: int | None) -> Input | Mapping[str, Input] | None:
    """The same, from arrays ``(inputs, labels)`` or the size of pictures, where that tells it."""
    if pictures and size is not None:
        return Input((None, size, size), np.dtype(np.float32), channels_first=True)
    if isinstance(data, tuple) and data and is_table(data[0]):
        return module_input(input_spec(data[0]))
    shape = np.shape(data[0])[1:] if isinstance(data, tuple) and hasattr(data[0], "shape") else ()
    if pictures and len(shape) == 3:
        return Input((shape[2], *shape[:2]), np.dtype(np.float32), channels_first=True)
    return module_input(Array(shape, data[0].dtype)) if shape else None
