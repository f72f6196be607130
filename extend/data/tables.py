"""Tables and texts as inputs: sparse SciPy matrices, pandas DataFrames and lists of texts become arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from extend.core.errors import DataError

TEXT = np.dtypes.StringDType()
"""The dtype of texts: each as long as it is."""
TEXT_KINDS = "UST"


def is_table(given: object) -> bool:
    """Whether this is a sparse SciPy matrix or a pandas DataFrame.

    Examples
    --------
    >>> is_table(scipy.sparse.csr_matrix(np.eye(2))), is_table(np.eye(2))
    (True, False)
    """
    return bool(scipy.sparse.issparse(given)) or _is_frame(given)


def from_table(given: Any, dtype: np.dtype, what: str) -> np.ndarray:
    """Return a table as an array ``[n, columns]``.

    Columns of a DataFrame may be of bool, int and float at once; what is missing becomes NaN.

    Parameters
    ----------
    given
        A table, as `is_table` tells.
    dtype
        What the array is wanted in. Sparse numbers are brought to it before they are spread out, to save room.
    what
        What the table is of; for messages.

    Raises
    ------
    DataError
        Columns of the DataFrame hold no numbers; they are named.

    Examples
    --------
    >>> from_table(scipy.sparse.csr_matrix(np.eye(2)), np.dtype("float32"), "the samples").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if scipy.sparse.issparse(given):
        array: np.ndarray = (given.astype(dtype) if given.dtype.kind == dtype.kind == "f" else given).toarray()
        return array
    kinds = [getattr(kind, "kind", "O") for kind in given.dtypes]
    columns = zip(given.columns, given.dtypes, kinds, strict=True)
    if wrong := [f"{str(name)!r} ({dtype})" for name, dtype, kind in columns if kind not in "biuf"]:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise DataError(
            f"{what}: columns {', '.join(wrong[:5])}{more} of the DataFrame hold no numbers: encode them (such as by "
            "pandas.get_dummies), or leave them out"
        )
    if "f" in kinds or given.isna().to_numpy().any():
        return np.asarray(given.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(given.to_numpy(dtype=bool if set(kinds) == {"b"} else np.int64))


def column_names(given: Any) -> tuple[str, ...]:
    """Return the names of a DataFrame's columns where all are texts; none of a sparse matrix."""
    names = list(given.columns) if _is_frame(given) else []
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def chosen_columns(given: Any, names: tuple[str, ...], what: str) -> Any:
    """Return these columns of a DataFrame, in this order; what is no DataFrame of named columns comes back as it is.

    Raises
    ------
    DataError
        The DataFrame lacks some of the columns; they are named.
    """
    if not _is_frame(given) or not column_names(given):
        return given
    if lost := [name for name in names if name not in given.columns]:
        more = f" and {len(lost) - 10} more" if len(lost) > 10 else ""
        raise DataError(f"{what}: the DataFrame lacks the columns {', '.join(map(repr, lost[:10]))}{more}")
    return given[list(names)]


def texts(given: Any, what: str) -> np.ndarray:
    """Return texts as an array ``[n]`` of `TEXT`.

    Parameters
    ----------
    given
        A list, an array or a Series of texts, or a DataFrame of one column of them.
    what
        What they are; for messages.

    Raises
    ------
    DataError
        There are none, or some are no texts; the first is named.

    Examples
    --------
    >>> texts(["a", "bc"], "the samples").tolist()
    ['a', 'bc']
    """
    if _is_frame(given) and given.shape[1] == 1:
        given = given.iloc[:, 0]
    array = np.asarray(given) if isinstance(given, np.ndarray) else np.asarray(given, object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        raise DataError(f"{what}: shape {list(array.shape)} given; expected texts, one for each sample")
    wrong = [row for row, one in enumerate(array.tolist()) if not isinstance(one, str)]
    if wrong:
        first = array.tolist()[wrong[0]]
        raise DataError(f"{what}: {len(wrong)} samples are no texts, the first at row {wrong[0]}: {str(first)[:50]!r}")
    return array.astype(TEXT)


def _is_frame(given: object) -> bool:
    """Whether this is a pandas DataFrame, told without importing pandas."""
    return any(
        one.__name__ == "DataFrame" and one.__module__.partition(".")[0] == "pandas" for one in type(given).__mro__
    )
