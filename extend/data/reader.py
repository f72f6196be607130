"""TODO"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from extend.core.errors import DataError
from extend.data.files import _read_npz, read_images
from extend.data.images import Image
from extend.data.input_spec import InputSpec, describe
from extend.data.samples import Samples, _array_keys


def read(
    data: Any,
    spec: InputSpec,
    *,
    names: Sequence[str] | None = None,
    skip_broken: bool = False,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> Samples:
    """Bring a user's data to checked `Samples`.

    Args:
        data: `Samples`; ``{name: inputs}``, or the path of an .npz file with one array a class; ``(inputs, labels)``
            with the labels class names, or integers into `names`; ``(inputs, labels, names)``; or the path of a folder
            or archive that holds one folder of images a class.
        spec: what one input is. Inputs are ``[n, *shape]``; for an `Image`, uint8 arrays are pictures to normalise.
        names: what integer labels mean.
        skip_broken: leave out images that cannot be read, and list them in `Samples.skipped`.
        progress: wraps the iteration over image files (`total` given), such as a progress bar.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity, no samples, integer labels without names, a folder without
            images, an image that cannot be read. The message says what was given and what was expected.
    """
    if isinstance(data, Samples):
        return data
    if isinstance(data, (str, os.PathLike)):
        if Path(data).suffix.lower() != ".npz":
            return read_images(data, spec, skip_broken=skip_broken, progress=progress)
        data = _read_npz(Path(data))
    if isinstance(data, Mapping):
        if not data:
            raise DataError("no classes given: the mapping of names to samples is empty")
        parts = [_checked(inputs, spec, f"class {name!r}") for name, inputs in data.items()]
        counts = [_count(part) for part in parts]
        inputs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        labels = np.repeat(np.arange(len(parts)), counts)
        return Samples(inputs, labels, _names(data), _array_keys(inputs))
    if isinstance(data, tuple) and len(data) in (2, 3):
        inputs = _checked(data[0], spec, "the samples")
        labels, classes = _labels(data[1], data[2] if len(data) == 3 else names, _count(inputs))
        return Samples(inputs, labels, classes, _array_keys(inputs))
    raise DataError(
        f"data is a {type(data).__name__}; expected {{name: array}}, (inputs, labels) with class names as labels, "
        "(inputs, integer labels, names), or the path of a folder or archive with one folder of images a class"
    )


def unlabelled(inputs: Any, spec: InputSpec) -> Samples:
    """Checked inputs without labels: arrays ``[n, *shape]``. The labels are all 0.

    Raises:
        ValueError: wrong shape or dtype, NaN or infinity, no samples.
    """
    checked = _checked(inputs, spec, "the inputs")
    count = _count(checked)
    return Samples(checked, np.zeros(count, np.int64), ("",), np.zeros(count, np.uint64))


def _names(names: Iterable[Any]) -> tuple[str, ...]:
    result = tuple(str(name) for name in names)
    if doubled := sorted({name for name in result if result.count(name) > 1}):
        raise DataError(f"class {doubled[0]!r} is named twice; names must differ")
    return result


def _labels(labels: Any, names: Sequence[str] | None, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    given = np.asarray(labels)
    if given.shape != (count,):
        raise DataError(f"labels have shape {list(given.shape)}; expected one a sample, [{count}]")
    if given.dtype.kind in "UOS":
        text = [label.decode() if isinstance(label, bytes) else str(label) for label in given.tolist()]
        classes = _names(names) if names is not None else tuple(dict.fromkeys(text))
        index = {name: number for number, name in enumerate(classes)}
        if unknown := sorted(set(text) - set(index)):
            raise DataError(f"label {unknown[0]!r} is not one of the classes {', '.join(classes)}")
        return np.asarray([index[label] for label in text], np.int64), classes
    if given.dtype.kind not in "iub":
        raise DataError(f"labels are {given.dtype}; expected class names, or integers with names")
    if names is None:
        raise DataError("integer labels without names: pass (inputs, labels, names), names[i] being what label i means")
    classes = _names(names)
    if given.min() < 0 or given.max() >= len(classes):
        raise DataError(f"labels run from {given.min()} to {given.max()}, but there are {len(classes)} names")
    return given.astype(np.int64), classes


def _count(inputs: Any) -> int:
    return len(jax.tree.leaves(inputs)[0])


def _checked(inputs: Any, spec: InputSpec, what: str) -> Any:
    """The inputs as arrays of the spec's dtype; an error says both shapes where they differ."""
    leaves, structure = jax.tree.flatten(spec)
    single = len(leaves) == 1 and str(structure) == str(jax.tree.structure(0))
    given = [inputs] if single else jax.tree.leaves(inputs)
    if len(given) != len(leaves):
        raise DataError(f"{what}: {len(given)} arrays given; expected {len(leaves)}: {describe(spec)}")
    checked = [_checked_array(array, leaf, what) for array, leaf in zip(given, leaves, strict=True)]
    if len({len(array) for array in checked}) > 1:
        raise DataError(f"{what}: the arrays have different lengths {[len(array) for array in checked]}")
    return jax.tree.unflatten(structure, checked)


def _checked_array(given: Any, leaf: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what}: samples of different shapes; expected [n, {_dims(leaf.shape)}]") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise DataError(f"{what}: dtype {array.dtype} given; expected {np.dtype(leaf.dtype).name}")
    if array.ndim and len(array) == 0:
        raise DataError(f"{what}: no samples given; at least one is needed")
    if array.shape[1:] != tuple(leaf.shape):
        hint = "; add a leading axis for a single sample" if array.shape == tuple(leaf.shape) else ""
        raise DataError(f"{what}: shape {list(array.shape)} given; expected [n, {_dims(leaf.shape)}]{hint}")
    wanted = np.dtype(leaf.dtype)
    if isinstance(leaf, Image) and array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if wanted.kind in "iu" and array.dtype.kind == "f":
        raise DataError(f"{what}: dtype {array.dtype} given; expected {wanted.name}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        raise DataError(f"{what}: {len(bad)} samples hold NaN or infinity, the first at row {bad[0]}")
    return np.ascontiguousarray(array, wanted)


def _dims(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
