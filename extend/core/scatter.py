"""A scatter matrix that is whole, or a factor of it where samples are fewer than features: then nothing is d x d."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from extend.core.linalg import eigh, gram, one_thread, solve, solve_and_trace


@dataclass(frozen=True, eq=False)
class Scatter:
    """A positive semidefinite matrix M ``[d, d]``: `whole`, or ``factor.T @ factor``.

    Through a factor of r rows all costs O(r^2 d) in place of O(d^3), by the identity of Woodbury 1950.

    Examples
    --------
    >>> rows = np.array([[1.0, 0.0, 2.0]])
    >>> thin, thick = Scatter(None, rows), Scatter(rows.T @ rows, None)
    >>> bool(np.allclose(thin.solve(0.5, np.eye(3)), thick.solve(0.5, np.eye(3)))), thin.trace(), thick.trace()
    (True, 5.0, 5.0)
    """

    whole: Float[np.ndarray, "d d"] | None
    factor: Float[np.ndarray, "r d"] | None

    @property
    def dim(self) -> int:
        """The number of features, d."""
        return self._rows.shape[1] if self.whole is None else len(self.whole)

    @property
    def _rows(self) -> np.ndarray:
        assert self.factor is not None
        return self.factor

    def _inner(self) -> Float[np.ndarray, "r r"]:
        """The products of the factor's rows with each other."""
        with one_thread(self._rows.size * len(self._rows)):
            return self._rows @ self._rows.T

    def trace(self) -> float:
        """Return the trace."""
        return float(np.trace(self.whole)) if self.whole is not None else float(np.vdot(self._rows, self._rows))

    def diagonal(self) -> Float[np.ndarray, " d"]:
        """Return the diagonal."""
        return np.diag(self.whole) if self.whole is not None else np.einsum("rd,rd->d", self._rows, self._rows)

    def square(self) -> float:
        """Return the sum of the squares of all entries."""
        inner = self.whole if self.whole is not None else self._inner()
        return float(np.vdot(inner, inner))

    def plus(self, rows: Float[np.ndarray, "n d"]) -> Scatter:
        """Return M + ``rows.T @ rows``."""
        if self.whole is not None:
            return Scatter(self.whole + gram(rows), None)
        return thinnest(np.concatenate([self._rows, rows]))

    def solve(self, strength: float, right: Float[np.ndarray, "d k"]) -> Float[np.ndarray, "d k"]:
        """Return ``(M + strength I)^-1 @ right``."""
        if self.whole is not None:
            return solve(_regularised(self.whole, strength), right)
        if not len(self._rows):
            return right / strength
        return self._through(right, solve(_regularised(self._inner(), strength), self._rows @ right), strength)

    def solve_and_trace(self, strength: float, right: Float[np.ndarray, "d k"]) -> tuple[np.ndarray, float]:
        """Return what `solve` does, and the trace of ``(M + strength I)^-1``."""
        if self.whole is not None:
            return solve_and_trace(_regularised(self.whole, strength), right)
        if not len(self._rows):
            return right / strength, self.dim / strength
        inner, trace = solve_and_trace(_regularised(self._inner(), strength), self._rows @ right)
        return self._through(right, inner, strength), trace + (self.dim - len(self._rows)) / strength

    def eigen(self) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "d r"]]:
        """Return eigenvalues, rising, and their vectors; of a factor those that are not 0 alone."""
        if self.whole is not None:
            return eigh(self.whole)
        values, turned = eigh(self._inner())
        kept = values > 1e-12 * max(float(values[-1]), 1e-300) if len(values) else np.zeros(0, bool)
        return values[kept], self._rows.T @ (turned[:, kept] / np.sqrt(values[kept]))

    def _through(self, right: np.ndarray, inner: np.ndarray, strength: float) -> np.ndarray:
        with one_thread(2 * self._rows.size * right.shape[1]):
            return (right - self._rows.T @ inner) / strength


def thinnest(factor: Float[np.ndarray, "r d"]) -> Scatter:
    """Return ``factor.T @ factor``: by its factor while that is smaller."""
    return Scatter(None, factor) if len(factor) < (factor.shape[1] + 1) / 2 else Scatter(gram(factor), None)


def _regularised(matrix: np.ndarray, strength: float) -> np.ndarray:
    system = matrix.copy()
    system.flat[:: len(system) + 1] += strength
    return system
