"""The one way in for a user's data: arrays, a mapping of names to arrays, a folder or an archive become `Samples`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from extend.core.errors import DataError
from extend.data.files import read_npz
from extend.data.input_spec import InputSpec
from extend.data.labels import mapping_names, read_labels
from extend.data.pictures import pictures, read_images
from extend.data.samples import Progress, Samples, array_keys
from extend.data.tables import TEXT


def read(
    data: Any,
    spec: InputSpec,
    *,
    names: Sequence[str] | None = None,
    known: Sequence[str] = (),
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Samples:
    """Bring a user's data to checked `Samples`.

    Parameters
    ----------
    data
        `Samples`; ``{name: inputs}``, or the path of an .npz file with one array for each class; ``(inputs, labels)``
        with class names as labels, or integers of `names` (`extend.data.labels` says what an integer means);
        ``(inputs, labels, names)``; or the path of a folder or archive that holds one folder of images for each class,
        or of a table of paths and labels. In ``{name: inputs}`` inputs may be a folder of images too.
    spec
        What one input is. Inputs are ``[n, *shape]``; where they are pictures, uint8 arrays are normalised later. A
        sparse SciPy matrix or a pandas DataFrame of numbers stands for ``[n, columns]``.
    names
        The classes that labels are of; None where the labels name them.
    known
        The classes of a classifier that the data's classes join.
    skip_broken
        Leave out images that cannot be read, and list them in `Samples.skipped`.
    progress
        Wraps the iteration over image files, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError
        Wrong shape or dtype, NaN or infinity, no samples, missing labels, integer labels without names, a folder
        without images, an image that cannot be read. The message says what was given and what was expected.

    Examples
    --------
    >>> from extend.data import Array
    >>> read({"a": np.zeros((2, 3)), "b": np.ones((1, 3))}, Array((3,))).labels.tolist()
    [0, 0, 1]
    """
    if isinstance(data, Samples):
        return data
    if isinstance(data, str | os.PathLike):
        if Path(data).suffix.lower() != ".npz":
            return read_images(data, spec, skip_broken=skip_broken, progress=progress)
        data = read_npz(Path(data))
    if isinstance(data, Mapping):
        if not data:
            raise DataError("no classes given: the mapping of names to samples is empty")
        classes = mapping_names(data)
        if any(isinstance(inputs, str | os.PathLike) for inputs in data.values()):
            return _named_folders(data, classes, spec, skip_broken, progress)
        parts = [spec.check(inputs, f"class {name!r}") for name, inputs in data.items()]
        if len({tuple(leaf.dtype for leaf in jax.tree.leaves(part)) for part in parts}) > 1:  # 8 bits, and not.
            parts = [spec.prepare(part) for part in parts]
        labels = np.repeat(np.arange(len(parts)), [_count(part) for part in parts])
        inputs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        return Samples(inputs, labels, classes, array_keys(inputs))
    if isinstance(data, tuple) and len(data) in (2, 3):
        inputs = spec.check(data[0], "the samples")
        listed = len(data) == 3
        given = data[2] if listed else names
        labels, classes = read_labels(data[1], _count(inputs), given, known=known, listed=listed)
        return Samples(inputs, labels, classes, array_keys(inputs))
    raise DataError(
        f"data is a {type(data).__name__}; expected {{name: array}}, (inputs, labels) with class names as labels, "
        "(inputs, integer labels, names), or the path of a folder or archive with one folder of images a class"
    )


def _named_folders(
    data: Mapping[Any, Any], classes: Sequence[str], spec: InputSpec, skip_broken: bool, progress: Progress | None
) -> Samples:
    """Classes of which some are given as folders or archives of pictures; the others as arrays."""
    parts = [
        read_images(inputs, spec, name=name, skip_broken=skip_broken, progress=progress)
        if isinstance(inputs, str | os.PathLike)
        else read({name: inputs}, spec)
        for name, inputs in zip(classes, data.values(), strict=True)
    ]
    if len({tuple(part.dtypes) for part in parts}) > 1:
        parts = [part.prepared(spec) for part in parts]
    return parts[0].concatenate(*parts[1:])


def read_into(
    classes: Sequence[str],
    data: Any,
    spec: InputSpec,
    what: str,
    *,
    hint: str = "",
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Samples:
    """Read a user's data, labelled into `classes`.

    Integer labels mean the classes of these names or, where names are no integers, places: see `extend.data.labels`.

    Parameters
    ----------
    what, hint
        What the data are, such as ``"held_out"``, and what to do about a class that is not known; for messages.

    Raises
    ------
    DataError
        As `read`; or a class is not one of `classes`.

    Examples
    --------
    >>> from extend.data import Array
    >>> read_into(("a", "b"), (np.zeros((2, 3)), [1, 0]), Array((3,)), "data").labels.tolist()
    [1, 0]
    """
    samples = read(data, spec, names=tuple(classes), skip_broken=skip_broken, progress=progress)
    return samples.relabel(classes, what, hint)


def unlabelled(inputs: Any, spec: InputSpec) -> Samples:
    """Return checked inputs without labels, which are all 0.

    Parameters
    ----------
    inputs
        Inputs ``[n, *input shape]``, of which n may be 0; or a single one without the batch axis. Where inputs are
        pictures, also Pillow's pictures, and paths: of pictures, of folders and archives of them (every picture in
        them, in the order of their names), and of ``.npy`` files of arrays; one of these, or a list.
    spec
        What one input is.

    Raises
    ------
    DataError
        Wrong shape or dtype, NaN or infinity, a file that cannot be read or is no picture.

    Examples
    --------
    >>> from extend.data import Array
    >>> unlabelled([1, 2, 3], Array((3,))).inputs.shape, unlabelled([], Array((3,))).inputs.shape
    ((1, 3), (0, 3))
    """
    what = "the inputs"
    listed = list(inputs) if _is_list_of_texts(inputs) else inputs
    paths = listed if isinstance(listed, list | tuple) else [listed]
    if paths and all(_is_path(part, spec) for part in paths):
        checked = _from_files(paths, spec, what)
    elif _is_empty(listed, spec):
        checked = jax.tree.map(lambda one: np.zeros(one.shape, one.dtype), spec.structs(0, stored=True))
    else:
        checked = spec.check(spec.with_batch_axis(listed), what)
    count = _count(checked)
    return Samples(checked, np.zeros(count, np.int64), ("",), np.zeros(count, np.uint64))


def _is_list_of_texts(given: Any) -> bool:
    """Whether this is an array or a column of a table that holds texts, which may be paths."""
    return getattr(given, "ndim", 0) == 1 and all(isinstance(one, str | os.PathLike) for one in given)


def _is_path(given: Any, spec: InputSpec) -> bool:
    """Whether this names a file: a path as such, and a text where inputs are pictures, or of an array file."""
    if isinstance(given, str):
        arrays = all(leaf.dtype != TEXT for leaf in spec.leaves())
        return spec.as_image() is not None or (arrays and given.lower().endswith(".npy"))
    return isinstance(given, os.PathLike)


def _from_files(paths: Sequence[Any], spec: InputSpec, what: str) -> Any:
    """The inputs that lie in files, folders and archives."""
    found = []
    for _, one in pictures([Path(path) for path in paths], spec):
        if isinstance(one, str):
            raise DataError(f"{what}: {one}")
        found.append(one)
    return np.stack(found)


def _is_empty(given: Any, spec: InputSpec) -> bool:
    """Whether this is a batch of no inputs: of the right shape, or an empty list."""
    if isinstance(given, list | tuple) and not given:
        return True
    arrays, wanted = jax.tree.leaves(given), spec.leaves()
    return len(arrays) == len(wanted) and all(
        np.shape(array) in ((0,), (0, *part.shape)) for array, part in zip(arrays, wanted, strict=True)
    )


def _count(inputs: Any) -> int:
    return len(jax.tree.leaves(inputs)[0])
