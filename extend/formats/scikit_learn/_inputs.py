"""What one input of a pipeline is, by its first step: a row of numbers, a text, or a row of named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import Input

NUMBER = np.dtype(np.float64)
TEXT = np.dtypes.StringDType()
Inputs = Input | Mapping[str, Input]


def inputs_of(steps: Sequence[Any], width: int) -> Inputs:
    """Return what the first of these steps takes; `width` is how many numbers the last one reads.

    Raises
    ------
    FormatError
        If the number of columns is not known, or a column is of a kind that an array of numbers cannot hold.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> inputs_of([StandardScaler().fit(np.eye(3)), None], 3).shape
    (3,)
    """
    *before, last = steps
    if before and reads_texts(before[0]):
        return Input((), TEXT)
    first = before[0] if before else last
    names = tuple(map(str, getattr(first, "feature_names_in_", ())))
    if hasattr(first, "transformers_"):
        columns = _columns(first)
        if names:
            return {names[place]: columns[place] for place in sorted(columns)}
        if any(one.dtype == TEXT for one in columns.values()):
            raise FormatError(f"{type(first).__name__} reads columns of texts by number: fit it on a DataFrame")
        missing = any(one.missing for one in columns.values())
    else:
        missing = _takes_missing(first)
    sizes = [step.n_features_in_ for step in steps if hasattr(step, "n_features_in_")]
    if not sizes or isinstance(sizes[0], bool) or int(sizes[0]) < 1 or (not before and sizes[0] != width):
        raise FormatError(f"{type(last).__name__}: its number of inputs is not known, or is not {width}")
    size = int(sizes[0])
    return Input((size,), NUMBER, columns=names if len(names) == size else (), missing=missing)


def reads_texts(step: Any) -> bool:
    """Whether a step takes texts: a vectorizer, or a union of nothing but vectorizers."""
    if hasattr(step, "transformer_list"):
        parts = [part for _, part in step.transformer_list if part not in ("drop", "passthrough")]
        return bool(parts) and all(reads_texts(getattr(part, "steps", [("", part)])[0][1]) for part in parts)
    return hasattr(step, "build_analyzer")


def given_to(inputs: Inputs, batch: Any) -> Any:
    """Return a batch as the first step of a pipeline takes it: an array, a list of texts, or a DataFrame.

    Raises
    ------
    FormatError
        If the batch is none of these inputs.
    MissingExtraError
        If a DataFrame is needed and pandas is not installed.
    """
    if isinstance(inputs, Mapping):
        if not isinstance(batch, Mapping) or set(batch) != set(inputs):
            raise FormatError(f"expected arrays by the names of columns: {', '.join(inputs)}")
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise MissingExtraError("a pipeline of named columns", "sklearn", error) from error
        return DataFrame({
            name: np.asarray(batch[name]).astype(object if one.dtype == TEXT else one.dtype)
            for name, one in inputs.items()
        })  # fmt: skip
    if inputs.dtype == TEXT:
        return np.asarray(batch).astype(object).tolist()
    x = np.asarray(batch, np.float64)
    if x.shape[1:] != inputs.shape:
        raise FormatError(f"inputs of shape {list(x.shape)} given; expected [n, {inputs.shape[0]}]")
    return x


def in_words(inputs: Inputs) -> str:
    """Return what the inputs are, for people."""
    if isinstance(inputs, Mapping):
        return f"{len(inputs)} named columns"
    return "texts" if inputs.dtype == TEXT else f"{inputs.shape[0]} inputs"


def _columns(step: Any) -> dict[int, Input]:
    """What each column is that a fitted ColumnTransformer reads, by its place."""
    found: dict[int, Input] = {}
    for name, transformer, given in step.transformers_:
        places = step._transformer_to_input_indices.get(name, [])
        steps = [part for _, part in getattr(transformer, "steps", [("", transformer)])]
        if transformer == "drop":
            continue
        for number, place in enumerate(places):
            one = Input((), TEXT if isinstance(given, str) and reads_texts(steps[0]) else _kind(steps, number))
            missing = one.dtype != TEXT and any(map(_takes_missing, steps[:1]))
            found[int(place)] = Input((), one.dtype, missing=missing)
    return found


def _kind(steps: Sequence[Any], number: int) -> np.dtype:
    """The kind of a column, by what the first steps that saw it know of its values."""
    for step in steps:
        if (values := getattr(step, "categories_", getattr(step, "_infrequent", None))) is not None:
            return TEXT if np.asarray(values[number]).dtype.kind in "OUST" else NUMBER
        if (values := getattr(step, "statistics_", None)) is not None and np.asarray(values).dtype.kind in "OUST":
            return TEXT if isinstance(values[number], str) else NUMBER
    return NUMBER


def _takes_missing(step: Any) -> bool:
    """Whether a step fills in missing values, or passes them on to one that does."""
    return type(step).__name__ in ("SimpleImputer", "KNNImputer", "IterativeImputer", "MissingIndicator")
