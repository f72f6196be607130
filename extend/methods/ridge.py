"""Ridge regression to one-hot targets, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from extend.core.errors import ArgumentError
from extend.core.linalg import eigh, gram, solve
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.linear import LinearHead
from extend.memory.inverse import Inverse
from extend.memory.memory import Memory
from extend.memory.statistics import Statistics
from extend.methods.base import statistics_of


@dataclass(frozen=True)
class Ridge:
    """``min_W,b sum_i v_i ||y_i - W' x_i - b||^2 + strength ||W||^2`` with one-hot y (Hoerl & Kennard 1970).

    ``W = (T + strength I)^-1 C`` with T the total scatter and ``C_c = n_c (m_c - m)``: scikit-learn's ``Ridge(alpha)``
    on one-hot targets. On a backbone with ``width=`` it is RanPAC (McDonnell et al. 2023, equation 4) and, updated
    through the inverse, ACIL (Zhuang et al. 2022, theorem 1); both leave out b (``intercept=False``).

    Costs O(d^3 + k d^2), whatever the number of samples; O(k d n + k^2 d) a step where the memory keeps an inverse
    (`extend.wrap(recursive=True)`) and that is less. Memory: the scatter, 4 d^2 bytes (balanced: a class). Not, unless
    `balanced`, for classes of very different size: small ones hardly count.

    Args:
        strength: in scatter units (scikit-learn's ``alpha``); None: the one frozen when the classifier was wrapped,
            else chosen by generalised cross-validation (Golub, Heath & Wahba 1979).
        balanced: every class weighs the same, ``v_i = n / (k n_c)`` (AIR, Fang et al. 2024, equation 7); needs a
            scatter a class.
        intercept: fit b.

    >>> from extend.methods import Ridge
    >>> Ridge(strength=10.0).strength
    10.0
    """

    strength: float | None = None
    balanced: bool = False
    intercept: bool = True
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 <= self.strength < np.inf:
            raise ArgumentError(f"strength is {self.strength}; expected a number >= 0, or None")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "ridge")
        known = memory.statistics
        strength = self._strength(memory)
        kept = memory.inverse_at(strength) if self.intercept and not self.balanced else None
        if kept is not None and _shorter(*known.mean.shape):
            kernel = _through(kept, known)
            centre = known.count @ known.mean / known.count.sum()
            return LinearHead.of(kernel, known.count / known.count.sum() - centre @ kernel, memory.offset)
        total, cross, centre, share = self._moments(known)
        total.flat[:: len(total) + 1] += strength
        kernel = solve(total, cross)
        bias = share - centre @ kernel if self.intercept else np.zeros(len(share))
        return LinearHead.of(kernel, bias, memory.offset)

    def leave_one_out(self, memory: Memory, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores ``[m, k]`` of rows that are in the memory, each as if it alone were not, at the same class weights.

        ``y - (y - y_fit) / (1 - h)`` with h the row's leverage (Allen 1974).
        """
        known = memory.statistics
        total, cross, centre, share = self._moments(known)
        total.flat[:: len(total) + 1] += self._strength(memory)
        away = rows - centre
        solved = solve(total, np.concatenate([cross, away.T], axis=1))
        k = cross.shape[1]
        fitted = away @ solved[:, :k] + (share if self.intercept else 0)
        weight = self._weights(known)[labels]
        leverage = (away.T * solved[:, k:]).sum(axis=0) + (1 / known.count.sum() if self.intercept else 0)
        target = np.eye(k)[labels]
        return target - (target - fitted) / np.maximum(1 - weight * leverage, 1e-9)[:, None]

    def _strength(self, memory: Memory) -> float:
        known = memory.statistics
        strength = self.strength if self.strength is not None else memory.ridge
        if strength is None:
            strength = gcv(known)
        # A strength of nothing leaves a singular scatter singular.
        return max(strength, 1e-10 * float(np.trace(known.within)) / known.within.shape[0], 1e-12)

    def _weights(self, known: Statistics) -> np.ndarray:
        if not self.balanced:
            return np.ones(len(known.count))
        return known.count.sum() / (np.maximum(known.count, 1) * max(1, (known.count > 0).sum()))

    def _moments(self, known: Statistics) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Scatter ``[d, d]``, cross scatter with the targets ``[d, k]``, centre ``[d]``, the targets' mean ``[k]``."""
        weights = self._weights(known)
        within = known.within
        if self.balanced:
            if known.scatters is None:
                raise ArgumentError('ridge(balanced=True) needs a scatter a class: wrap with scatter="class"')
            within = known.weighted(weights)
        count = known.count * weights
        centre = count @ known.mean / count.sum() if self.intercept else np.zeros(known.mean.shape[1])
        away = known.mean - centre
        scatter = within + gram(np.sqrt(count)[:, None] * away)
        return scatter, (count[:, None] * away).T, centre, count / count.sum()


def _shorter(k: int, d: int) -> bool:
    """Whether the way through the inverse (``4 d k^2 + k^3 / 3`` flops) is shorter than a new solve."""
    return 4 * d * k**2 + k**3 / 3 < d**3 / 3 + 2 * d**2 * k


def _through(kept: Inverse, known: Statistics) -> np.ndarray:
    """Ridge from ``A^-1`` of the within-class scatter: ``W = G (1 / N + M' G)^-1``, ``G = A^-1 M``, M centred means.

    The total scatter is ``A + M N M'``; pushing the inverse through (Henderson & Searle 1981) leaves a k x k system.
    """
    share = known.count / known.count.sum()
    means = (known.mean - share @ known.mean).T
    directions = kept.product - (kept.product @ share)[:, None]
    system = means.T @ directions
    system.flat[:: len(system) + 1] += 1 / np.maximum(known.count, 1e-9)
    return solve((system + system.T) / 2, directions.T).T


def gcv(known: Statistics) -> float:
    """The strength that minimises ``RSS(strength) / (1 - trace(H) / n)^2``, from the statistics alone.

    One eigendecomposition, O(d^3); then 81 strengths between 1e-8 and 1 times the largest eigenvalue.
    """
    total, cross, _, _ = Ridge()._moments(known)
    n = int(known.count.sum())
    values, vectors = eigh(total)
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
