"""The few dense float64 operations that statistics and closed forms stand on.

Small problems run on one BLAS thread: on a busy machine the threaded Cholesky factor of a 512 x 512 matrix took 520 ms
where one thread takes 2 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import scipy.linalg
from threadpoolctl import ThreadpoolController

SINGLE_THREAD_BELOW = 1024


def gram(rows: np.ndarray) -> np.ndarray:
    """``rows.T @ rows`` of float64 ``[n, d]``: symmetric ``[d, d]``, n d^2 flops (BLAS's syrk)."""
    if not len(rows):
        return np.zeros((rows.shape[1], rows.shape[1]))
    with one_thread(rows.shape[1]):
        lower = scipy.linalg.blas.dsyrk(1.0, rows.T, lower=1)
    return _mirror(lower)


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric positive definite system ``[d, d] x = [d, k]`` by Cholesky: d^3 / 3 + 2 d^2 k flops.

    Raises:
        ValueError: the matrix is not positive definite.
    """
    with one_thread(len(matrix)):
        try:
            factor = scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "the scatter is singular at this strength: give a larger shrinkage or ridge strength, or more samples"
            ) from error
        return scipy.linalg.cho_solve(factor, right, check_finite=False)


def pack(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle of a symmetric ``[d, d]``, row by row: ``[d (d + 1) / 2]``."""
    return matrix[_upper(len(matrix))]


def unpack(packed: np.ndarray) -> np.ndarray:
    """The symmetric matrix whose upper triangle this is."""
    d = int((np.sqrt(8 * len(packed) + 1) - 1) / 2)
    matrix = np.zeros((d, d))
    matrix[_upper(d)] = packed
    return _mirror(matrix.T)


def _mirror(lower: np.ndarray) -> np.ndarray:
    full = lower + lower.T
    np.fill_diagonal(full, np.diagonal(lower))
    return full


@cache
def _upper(d: int) -> np.ndarray:
    return np.triu(np.ones((d, d), bool))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread(size: int) -> Iterator[None]:
    """Limit BLAS to one thread for problems below a size where threads pay."""
    if size >= SINGLE_THREAD_BELOW:
        yield
    else:
        with _controller().limit(limits=1, user_api="blas"):
            yield
