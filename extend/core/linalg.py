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

from extend.core.errors import ArgumentError

SINGLE_THREAD_BELOW = 3e9
"""Flops: some 60 ms of one core. Below, threads do not pay: those of NumPy's BLAS still wait, spinning, where SciPy's
begin."""


def gram(rows: np.ndarray) -> np.ndarray:
    """``rows.T @ rows`` of float64 ``[n, d]``: symmetric to the bit, n d^2 flops (NumPy takes BLAS's syrk)."""
    rows = np.ascontiguousarray(rows)
    with one_thread(rows.shape[0] * rows.shape[1] ** 2):
        return rows.T @ rows


def packed_gram(rows: np.ndarray) -> np.ndarray:
    """``pack(gram(rows))``."""
    return gram(rows)[_upper(rows.shape[1])]


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric positive definite system ``[d, d] x = [d, k]`` by Cholesky: d^3 / 3 + 2 d^2 k flops.

    Straight from LAPACK: SciPy's `cho_factor` and `cho_solve` around it take half as long again.

    Raises
    ------
    ArgumentError
        The matrix is not positive definite.
    """
    return _solve(matrix, right)[0]


def solve_and_trace(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """What `solve` gives, and the trace of the inverse from the same factor: d^3 / 3 flops more."""
    with one_thread(2 * len(matrix) ** 3 / 3 + 2 * right.size * len(matrix)):
        solution, factor = _solve(matrix, right)
        half = scipy.linalg.lapack.dtrtri(factor, lower=1)[0]
        return solution, float(np.einsum("ij,ij", half, half))


def _solve(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d, k = right.shape
    with one_thread(d**3 / 3 + 2 * d**2 * k):
        factor, failed = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, clean=1)
        if failed:
            raise ArgumentError(
                "the scatter is singular at this strength: give a larger shrinkage or ridge strength, or more samples"
            )
        return scipy.linalg.lapack.dpotrs(factor, right, lower=1)[0], factor


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, rising and none below 0, and eigenvectors of a positive semidefinite ``[d, d]``; some 9 d^3 flops.

    Always on one thread: on a busy machine the threaded one took 10 s at d = 1,152, where one thread takes 0.3 s.
    """
    with _controller().limit(limits=1, user_api="blas"):
        values, vectors = scipy.linalg.eigh(matrix, check_finite=False, driver="evr")
    return np.maximum(values, 0), vectors


def pack(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle of a symmetric ``[d, d]``, row by row: ``[d (d + 1) / 2]``."""
    return matrix[_upper(len(matrix))]


def unpack(packed: np.ndarray) -> np.ndarray:
    """The symmetric matrix whose upper triangle this is."""
    d = int((np.sqrt(8 * len(packed) + 1) - 1) / 2)
    matrix = np.zeros((d, d))
    matrix[_upper(d)] = packed
    return _mirror(matrix)


def _mirror(upper: np.ndarray) -> np.ndarray:
    """The symmetric matrix of which this holds the upper triangle (and zeros below)."""
    full = upper + upper.T
    full.flat[:: len(full) + 1] *= 0.5
    return full


@cache
def _upper(d: int) -> np.ndarray:
    return np.triu(np.ones((d, d), bool))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread(flops: float) -> Iterator[None]:
    """Limit BLAS to one thread for work too small for threads to pay."""
    if flops >= SINGLE_THREAD_BELOW:
        yield
    else:
        with _controller().limit(limits=1, user_api="blas"):
            yield
