"""What one input of a classifier is: an array, a picture or a tree of these; inputs are checked and prepared by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import jax
import numpy as np
from jaxtyping import PyTree

from extend.core.errors import ArgumentError, DataError
from extend.data.labels import rows_in_words
from extend.data.tables import TEXT, TEXT_KINDS, chosen_columns, column_names, from_table, is_table, texts

if TYPE_CHECKING:
    from extend.data.images import Image

Batch: TypeAlias = Any
Json: TypeAlias = dict[str, Any]
"""Inputs of n samples: an array ``[n, ...]``, or a dict, tuple or list of such arrays."""
FLOAT32 = np.dtype(np.float32)
HOW_TO_SAY = (
    "extend.Image(height, width, ...) for pictures, extend.Array(shape, dtype) for arrays, or inputs as an "
    "example, such as x[:1]"
)

ONE_SHAPE = "bring them to one shape first: cut or pad signals to one length, resize pictures"
NO_TEXTS = (
    "a backbone takes arrays of numbers: pass token ids, or features of the texts from an embedding model; a function "
    "of texts takes inputs=extend.Array((), 'str')"
)


class InputSpec(Protocol):
    """What one input is, without the batch axis."""

    def leaves(self) -> list[Array | Image]:
        """Return the parts that are one array each."""
        ...

    def names(self) -> list[str]:
        """Return a name for each of these parts, for a file that names its inputs."""
        ...

    def check(self, given: object, what: str) -> Batch:
        """Return the inputs as arrays of the right shapes and dtypes; `what` names them in errors.

        Raises
        ------
        DataError
            Shape, dtype or number of arrays differ, there are no samples, or some hold NaN or infinity.
        """
        ...

    def with_batch_axis(self, given: object) -> Batch:
        """Return a single input as a batch of one, and anything else as it is."""
        ...

    def prepare(self, batch: Batch) -> Batch:
        """Return a batch of checked inputs as the backbone takes it; pictures are normalised here."""
        ...

    def structs(self, n: int, *, stored: bool = False) -> PyTree[jax.ShapeDtypeStruct]:
        """Return shape and dtype of n inputs, as the backbone takes them or (`stored`) as they are kept."""
        ...

    def as_image(self) -> Image | None:
        """Return the `Image` if inputs are pictures, else None."""
        ...

    def to_dict(self) -> Json:
        """Return the spec for JSON; `spec_from_dict` reads it back."""
        ...


@dataclass(frozen=True)
class Array:
    """Inputs are arrays of one shape and dtype.

    Parameters
    ----------
    shape
        The shape of one input, without the batch axis.
    dtype
        A NumPy dtype, or its name. "str" is for texts, one for each sample: their shape is ``()``.
    columns
        The names of the columns, where inputs are rows of a table: a DataFrame is brought to their order.
    missing
        Whether NaN may stand for a missing value.

    Examples
    --------
    >>> Array((4,)).check([[1, 2, 3, 4]], "the inputs").dtype
    dtype('float32')
    >>> Array((), "str").check(["a text", "and another"], "the inputs").tolist()
    ['a text', 'and another']
    """

    shape: tuple[int, ...]
    dtype: np.dtype = FLOAT32
    columns: tuple[str, ...] = field(default=(), compare=False, repr=False)
    missing: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        try:
            shape, dtype = tuple(int(axis) for axis in self.shape), np.dtype(self.dtype)
        except TypeError as error:
            raise ArgumentError(
                f"Array({self.shape!r}, {self.dtype!r}): expected a shape such as (4,) and a dtype such as 'float32'"
            ) from error
        if dtype.kind in TEXT_KINDS:
            dtype = TEXT
            if shape:
                raise ArgumentError(f"Array({shape}, 'str'): texts are one for each sample; expected the shape ()")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)

    def __str__(self) -> str:
        return "texts" if self.dtype == TEXT else f"arrays {list(self.shape)} {self.dtype.name}"

    def leaves(self) -> list[Array | Image]:
        return [self]

    def names(self) -> list[str]:
        return ["inputs"]

    def check(self, given: object, what: str) -> np.ndarray:
        if self.dtype == TEXT:
            return texts(given, what)
        if self.columns:
            given = chosen_columns(given, self.columns, what)
        return converted(checked_shape(given, self.shape, self.dtype, what), self.dtype, what, missing=self.missing)

    def with_batch_axis(self, given: object) -> Batch:
        return with_batch_axis(given, self.shape)

    def prepare(self, batch: Batch) -> Batch:
        return batch

    def structs(self, n: int, *, stored: bool = False) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *self.shape), self.dtype)

    def as_image(self) -> None:
        return None

    def to_dict(self) -> Json:
        told: Json = {"shape": list(self.shape), "dtype": "str" if self.dtype == TEXT else self.dtype.name}
        told |= {"columns": list(self.columns)} if self.columns else {}
        return told | ({"missing": True} if self.missing else {})


@dataclass(frozen=True)
class Tree:
    """Inputs are several arrays each: a dict of them by name, or a tuple.

    Parameters
    ----------
    parts
        What each of them is: `Array`, `Image` or `Tree`.

    Examples
    --------
    >>> Tree({"ids": Array((8,), "int32"), "mask": Array((8,), "int32")}).structs(2)["ids"].shape
    (2, 8)
    """

    parts: Mapping[str, InputSpec] | tuple[InputSpec, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ArgumentError(
                "Tree() holds no part; expected names and what each is, such as {'x': extend.Array((4,))}"
            )
        if isinstance(self.parts, Mapping):
            parts: object = {str(name): input_spec(self.parts[name]) for name in sorted(self.parts)}
        else:
            parts = tuple(input_spec(part) for part in self.parts)
        object.__setattr__(self, "parts", parts)

    def __str__(self) -> str:
        return ", ".join(map(str, self.leaves()))

    def items(self) -> Iterator[tuple[str | int, InputSpec]]:
        """Return each part with its name, or its place in a tuple."""
        return iter(self.parts.items() if isinstance(self.parts, Mapping) else enumerate(self.parts))

    def _built(self, made: Mapping[str | int, Batch]) -> Batch:
        return dict(made) if isinstance(self.parts, Mapping) else tuple(made.values())

    def leaves(self) -> list[Array | Image]:
        return [leaf for _, part in self.items() for leaf in part.leaves()]

    def names(self) -> list[str]:
        count = len(self.leaves())
        if isinstance(self.parts, Mapping) and count == len(self.parts):
            return list(self.parts)
        return ["inputs"] if count == 1 else [f"inputs_{number}" for number in range(count)]

    def check(self, given: object, what: str) -> Batch:
        if isinstance(self.parts, Mapping) and is_table(given):
            frame = cast(Any, chosen_columns(given, tuple(self.parts), what))
            return {name: part.check(frame[name], f"{what}, column {name!r}") for name, part in self.parts.items()}
        arrays, wanted = jax.tree.leaves(given), self.leaves()
        if len(arrays) != len(wanted):
            raise DataError(f"{what}: {len(arrays)} arrays given; expected {len(wanted)}: {self}")
        checked = [leaf.check(array, what) for array, leaf in zip(arrays, wanted, strict=True)]
        if len({len(array) for array in checked}) > 1:
            raise DataError(f"{what}: the arrays have different lengths {[len(array) for array in checked]}")
        return jax.tree.unflatten(jax.tree.structure(self.structs(1)), checked)

    def with_batch_axis(self, given: object) -> Batch:
        arrays, wanted = jax.tree.leaves(given), self.leaves()
        if len(arrays) != len(wanted):
            return given
        made = [leaf.with_batch_axis(array) for array, leaf in zip(arrays, wanted, strict=True)]
        single = all(len(np.shape(one)) > len(np.shape(array)) for one, array in zip(made, arrays, strict=True))
        return jax.tree.unflatten(jax.tree.structure(given), made) if single else given

    def prepare(self, batch: Batch) -> Batch:
        return self._built({name: part.prepare(batch[name]) for name, part in self.items()})

    def structs(self, n: int, *, stored: bool = False) -> PyTree[jax.ShapeDtypeStruct]:
        return self._built({name: part.structs(n, stored=stored) for name, part in self.items()})

    def as_image(self) -> None:
        return None

    def to_dict(self) -> Json:
        made = {name: part.to_dict() for name, part in self.items()}
        return {"tree": made} if isinstance(self.parts, Mapping) else {"list": list(made.values())}


def input_spec(given: object) -> InputSpec:
    """Return what one input is, from the forms in which users say it.

    Parameters
    ----------
    given
        `Array`, `Image` or `Tree`; ``jax.ShapeDtypeStruct``; a dict, tuple or list of these; or inputs ``[n, ...]`` as
        an example, of which the batch axis is left out. A sparse matrix or a DataFrame stands for rows of float32.

    Raises
    ------
    ArgumentError
        It is none of these.

    Examples
    --------
    >>> input_spec(np.zeros((3, 4), np.float64))
    Array(shape=(4,), dtype=dtype('float32'))
    """
    if hasattr(given, "structs"):
        return cast(InputSpec, given)
    if isinstance(given, jax.ShapeDtypeStruct):
        return Array(given.shape, given.dtype)
    if is_table(given):
        return Array(cast(Any, given).shape[1:], columns=column_names(given))
    if isinstance(given, Mapping | tuple | list) and given and not _is_plain_numbers(given) and not _is_list(given):
        return Tree(dict(given) if isinstance(given, Mapping) else tuple(given))
    if isinstance(given, tuple) and given and all(isinstance(axis, int) for axis in given):
        raise ArgumentError(f"inputs is {given}, which is a shape: pass inputs=extend.Array({given}, 'float32')")
    try:
        array = np.asarray(given) if given is not None else np.zeros(())
    except ValueError as error:
        raise ArgumentError(f"inputs are of different shapes; {ONE_SHAPE}; expected {HOW_TO_SAY}") from error
    if array.ndim and is_text(array):
        raise ArgumentError(f"inputs are texts; {NO_TEXTS}")
    if array.ndim < 1 or array.dtype.kind not in "biuf":
        raise ArgumentError(f"inputs is {type(given).__name__}; expected {HOW_TO_SAY}")
    return Array(array.shape[1:], np.dtype(np.float32) if array.dtype.kind == "f" else array.dtype)


def spec_from_dict(saved: Json) -> InputSpec:
    """Read back what `InputSpec.to_dict` gave."""
    from extend.data.images import Image

    if "image" in saved:
        fields: Json = {key: tuple(v) if isinstance(v, list) else v for key, v in saved["image"].items()}
        return Image(**fields)
    if "tree" in saved:
        return Tree({name: spec_from_dict(part) for name, part in saved["tree"].items()})
    if "list" in saved:
        return Tree(tuple(spec_from_dict(part) for part in saved["list"]))
    dtype = TEXT if saved["dtype"] == "str" else jax.numpy.dtype(saved["dtype"])
    return Array(tuple(saved["shape"]), dtype, tuple(saved.get("columns", ())), saved.get("missing", False))


def checked_shape(given: object, shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
    """Return the inputs as an array ``[n, *shape]`` of numbers, n at least 1."""
    wanted = ", ".join(map(str, ("n", *shape)))
    if is_table(given):
        given = from_table(given, dtype, what)
    refuse_masked(given, what)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what}: samples of different shapes; expected [{wanted}]; {ONE_SHAPE}") from error
    if is_text(array):
        raise DataError(f"{what}: texts given (dtype {array.dtype} given; expected {dtype.name}); {NO_TEXTS}")
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise DataError(f"{what}: dtype {array.dtype} given; expected {dtype.name}")
    if array.ndim and len(array) == 0:
        raise DataError(f"{what}: no samples given; at least one is needed")
    if array.shape[1:] != shape or not array.ndim:
        hint = "; add a leading axis for a single sample" if array.shape == shape else ""
        raise DataError(f"{what}: shape {list(array.shape)} given; expected [{wanted}]{hint}")
    return array


def with_batch_axis(given: Any, shape: tuple[int, ...]) -> Batch:
    """Return one array of this shape with a leading axis, and anything else as it is."""
    if is_table(given):
        return given
    try:
        array = given if hasattr(given, "ndim") else np.asarray(given)
    except ValueError:  # Of different shapes, which the check refuses.
        return given
    return np.asanyarray(array)[None] if array.shape == shape else given


def refuse_masked(given: object, what: str) -> None:
    """Refuse a masked array, or a list of such, of which values are masked: what lies under a mask is no value."""
    if isinstance(given, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(given)
        rows = np.asarray(masked.reshape(len(masked) if masked.ndim else 1, -1).any(axis=1))
    elif isinstance(given, list | tuple) and any(isinstance(part, np.ma.MaskedArray) for part in given):
        rows = np.asarray([bool(np.any(np.ma.getmaskarray(part))) for part in given])
    else:
        return
    if rows.any():
        many = f"{rows.sum()} samples hold" if rows.sum() > 1 else "1 sample holds"
        raise DataError(f"{what}: {many} masked values, {rows_in_words(rows)}: fill them, or leave these samples out")


def is_text(array: np.ndarray) -> bool:
    """Whether inputs are texts."""
    first = array.flat[0] if array.dtype.kind == "O" and array.size else None
    return array.dtype.kind in "UST" or isinstance(first, str | bytes)


def converted(array: np.ndarray, dtype: np.dtype, what: str, *, missing: bool = False) -> np.ndarray:
    """Return the array in this dtype; refuse fractions for integers, infinity, and NaN unless values may be missing."""
    if dtype.kind in "iu" and array.dtype.kind == "f":
        raise DataError(f"{what}: dtype {array.dtype} given; expected {dtype.name}")
    good = np.isfinite(array) | (np.isnan(array) if missing else False) if array.dtype.kind == "f" else np.True_
    if not good.all():
        bad = np.flatnonzero(~good.reshape(len(array), -1).all(axis=1))
        raise DataError(f"{what}: {len(bad)} samples hold NaN or infinity, the first at row {bad[0]}")
    return np.ascontiguousarray(array, dtype)


def _is_list(given: object) -> bool:
    """Whether this is a list of samples, and not of several inputs each: vectors, or arrays of different lengths."""
    if not isinstance(given, list) or not all(isinstance(part, np.ndarray) and part.ndim for part in given):
        return False
    return all(part.ndim == 1 for part in given) or len({len(part) for part in given}) > 1


def _is_plain_numbers(given: object) -> bool:
    """Whether this is nested lists or tuples of numbers: an example of one array, and not several inputs."""
    if isinstance(given, list | tuple):
        return all(map(_is_plain_numbers, given))
    return isinstance(given, int | float)
