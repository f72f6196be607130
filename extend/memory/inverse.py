"""The inverse of a regularised scatter, kept up to date by rank-n updates instead of new solves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from extend.core.linalg import one_thread, solve


@dataclass(frozen=True, eq=False)
class Inverse:
    """``matrix = (S + strength I)^-1`` and ``product = matrix @ means.T``, S the within-class scatter of k classes.

    It is the recursive least squares of ACIL (Zhuang et al. 2022, theorem 1) and of streaming LDA, for blocks of rows
    (Woodbury 1950).

    Examples
    --------
    >>> old = Inverse.of(np.diag([1.0, 3.0]), np.eye(2), 1.0)
    >>> old.add(np.array([[0.0, 2.0]]), np.eye(2)).matrix.round(3).tolist()
    [[0.5, 0.0], [0.0, 0.125]]
    """

    strength: float
    matrix: Float[np.ndarray, "d d"]
    product: Float[np.ndarray, "d k"]

    @classmethod
    def of(cls, within: Float[np.ndarray, "d d"], means: Float[np.ndarray, "k d"], strength: float) -> Inverse:
        """Compute the inverse from a scatter and the class means; it costs d^3 + 2 d^2 k flops."""
        system = within.copy()
        system.flat[:: len(system) + 1] += strength
        matrix = solve(system, np.eye(len(system)))
        matrix = (matrix + matrix.T) / 2
        with one_thread(2 * matrix.size * len(means)):
            return cls(strength, matrix, matrix @ means.T)

    @property
    def nbytes(self) -> int:
        """The bytes of the packed inverse and of its product with the means."""
        d = len(self.matrix)
        return d * (d + 1) // 2 * self.matrix.itemsize + self.product.nbytes

    def add(self, rows: Float[np.ndarray, "n d"], means: Float[np.ndarray, "k2 d"]) -> Inverse:
        """Return the inverse after ``rows.T @ rows`` joined the scatter.

        It costs ``4 d^2 n + 4 d n k + 2 d^2 new`` flops.

        Parameters
        ----------
        means
            The means of all classes now; the first k must be the old ones.
        """
        n, d = rows.shape
        old = self.product.shape[1]
        with one_thread(2 * d**2 * n):
            side = self.matrix @ rows.T
            inner = rows @ side
            inner.flat[:: n + 1] += 1
            lower = scipy.linalg.cholesky((inner + inner.T) / 2, lower=True, check_finite=False)
            half = scipy.linalg.solve_triangular(lower, side.T, lower=True, check_finite=False)
            matrix = half.T @ half  # NumPy sees that this is symmetric, and keeps it so to the bit.
            np.subtract(self.matrix, matrix, out=matrix)
            product = self.product - half.T @ (half @ means[:old].T)
            fresh = matrix @ means[old:].T
        return Inverse(self.strength, matrix, np.concatenate([product, fresh], axis=1))


def shorter(n: int, d: int, k: int) -> bool:
    """Return whether a rank-n update takes fewer flops than a new inverse of ``[d, d]`` for k means."""
    return 4 * d**2 * n + 4 * d * n * k < d**3 + 2 * d**2 * k
