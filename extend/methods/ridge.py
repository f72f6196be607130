"""Ridge regression to one-hot targets, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg

from extend.features import Features
from extend.head import LinearHead
from extend.memory import Memory, Statistics
from extend.methods.method import statistics_of
from extend.numerics import gram, one_thread, solve


@dataclass(frozen=True)
class Ridge:
    """``min_W,b ||Y - X W - b||^2 + strength ||W||^2`` with one-hot Y (Hoerl & Kennard 1970; Zhuang et al. 2022).

    ``W = (T + strength I)^-1 C`` with T the total scatter and ``C_c = n_c (m_c - m)``: scikit-learn's ``Ridge(alpha)``
    on one-hot targets. Costs O(d^3 + k d^2), whatever the number of samples. Not for classes of very different size.

    Args:
        strength: in scatter units (scikit-learn's ``alpha``); None: the one frozen when the classifier was wrapped,
            else chosen by generalised cross-validation (Golub, Heath & Wahba 1979).

    >>> from extend.methods import Ridge
    >>> Ridge(strength=10.0).strength
    10.0
    """

    strength: float | None = None
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.strength is not None and self.strength < 0:
            raise ValueError(f"strength is {self.strength}; expected a number >= 0, or None")

    def fit(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "ridge")
        known = memory.statistics
        strength = self.strength if self.strength is not None else memory.ridge
        if strength is None:
            strength = gcv(known)
        total, cross, centre = _moments(known)
        total.flat[:: len(total) + 1] += strength
        kernel = solve(total, cross)
        bias = known.count / known.count.sum() - centre @ kernel
        return LinearHead.of(kernel, bias, memory.offset)


def gcv(known: Statistics) -> float:
    """The strength that minimises ``RSS(strength) / (1 - trace(H) / n)^2``, from the statistics alone.

    One eigendecomposition, O(d^3); then 81 strengths between 1e-8 and 1 times the largest eigenvalue.
    """
    total, cross, _ = _moments(known)
    n = int(known.count.sum())
    with one_thread(9 * len(total) ** 3):
        values, vectors = scipy.linalg.eigh(total, check_finite=False)
    values = np.maximum(values, 0)
    if values[-1] == 0:
        return 1.0  # No variance at all: the strength changes nothing.
    power = ((vectors.T @ cross) ** 2).sum(axis=1)
    square = float((known.count * (1 - known.count / n)).sum())
    strengths = values[-1] * np.logspace(-8, 0, 81)
    shrunk = values + strengths[:, None]
    residual = square - (power * (values + 2 * strengths[:, None]) / shrunk**2).sum(axis=1)
    freedom = 1 + (values / shrunk).sum(axis=1)
    left = np.maximum(1 - freedom / n, 1e-6)
    return float(strengths[np.argmin(np.maximum(residual, 0) / left**2)])


def _moments(known: Statistics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Total scatter ``[d, d]``, cross scatter with the one-hot targets ``[d, k]``, overall mean ``[d]``."""
    centre = known.count @ known.mean / known.count.sum()
    away = known.mean - centre
    return known.within + gram(np.sqrt(known.count)[:, None] * away), (known.count[:, None] * away).T, centre
