"""Tables as features: sparse SciPy matrices and pandas DataFrames become arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from extend.core.errors import DataError


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


def _is_frame(given: object) -> bool:
    """Whether this is a pandas DataFrame, told without importing pandas."""
    return any(
        one.__name__ == "DataFrame" and one.__module__.partition(".")[0] == "pandas" for one in type(given).__mro__
    )
