"""Ridge regression to one-hot targets, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from extend.core.errors import ArgumentError
from extend.core.linalg import solve
from extend.core.scatter import Scatter
from extend.heads import LinearHead
from extend.memory import Inverse, Memory, Statistics, gcv, held_centre, moments, spreads, unit_scatter
from extend.methods.base import ClosedForm

UNEVEN = 4
"""How many times as large as the smallest class the largest may be, for the plain form to be compared with others."""


@dataclass(frozen=True)
class Ridge(ClosedForm):
    """Minimise ``sum_i v_i ||y_i - W' x_i - b||^2 + strength ||W||^2`` over W and b, with one-hot y.

    The solution is ``W = (T + strength I)^-1 C`` with T the total scatter and ``C_c = n_c (m_c - m)``, which is
    scikit-learn's ``Ridge(alpha)`` on one-hot targets. On a backbone with ``width=`` it is RanPAC and, updated through
    the inverse, ACIL; both leave out b (``intercept=False``).

    It costs O(d^3 + k d^2), whatever the number of samples; O(k d n + k^2 d) a step where the memory keeps an inverse
    (`keep=extend.Keep(inverse=True)`) and that is less. The memory is the scatter, 4 d^2 bytes (if balanced, for each
    class). Unless it is balanced, do not use it for classes of very different size: small ones hardly count.

    Parameters
    ----------
    strength
        The strength in scatter units (scikit-learn's ``alpha``). None takes the one that was frozen when the classifier
        was wrapped, or else chooses by generalised cross-validation.
    balanced
        Let every class weigh the same, ``v_i = n / (k n_c)``; this needs a scatter matrix for each class.
    intercept
        Fit b.

    References
    ----------
    Hoerl & Kennard 1970, Ridge regression; McDonnell et al. 2023, RanPAC, equation 4; Zhuang et al. 2022, ACIL, theorem
    1; Fang et al. 2024, AIR, equation 7 (balanced); Golub, Heath & Wahba 1979 (the strength).

    Examples
    --------
    >>> from extend.methods import Ridge
    >>> Ridge(strength=10.0).strength
    10.0
    """

    strength: float | None = None
    balanced: bool = False
    intercept: bool = True
    name: ClassVar[str] = "ridge"

    def __post_init__(self) -> None:
        if self.strength is not None and not 0 <= self.strength < np.inf:
            raise ArgumentError(f"strength is {self.strength}; expected a number >= 0, or None")

    @property
    def title(self) -> str:
        return "ridge balanced" if self.balanced else self.name

    @property
    def needs_class_scatter(self) -> bool:
        return self.balanced

    def comparable(self, memory: Memory) -> bool:
        """Whether there is a point in comparing.

        For classes of one size the balanced form is the same as the plain; the plain one loses classes that are much
        smaller than others.
        """
        count = memory.statistics.count
        if self.balanced:
            return super().comparable(memory) and len(np.unique(count)) > 1
        return bool(count.max() <= UNEVEN * count.min())

    def fit(self, memory: Memory) -> LinearHead:
        known = memory.statistics
        strength = self._strength(memory)
        kept = memory.inverse_at(strength) if self.intercept and not self.balanced else None
        if kept is not None and _shorter(*known.mean.shape):
            kernel = _through(kept, known)
            share = known.count / known.count.sum()
            return _about(share @ known.mean, kernel, share, memory)
        total, cross, centre, share = self._moments(known)
        kernel = total.solve(strength, cross)
        if not self.intercept:
            centre, share = np.zeros(len(kernel)), np.zeros(len(share))
        return _about(centre, kernel, share, memory)

    def leave_one_out(
        self, memory: Memory, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        """Return the scores of rows that are in the memory, each row as if it alone were not, at the same weights.

        The score is ``y - (y - y_fit) / (1 - h)`` with h the row's leverage (Allen 1974).
        """
        known = memory.statistics
        total, cross, centre, share = self._moments(known)
        away = rows - centre
        solved = total.solve(self._strength(memory), np.concatenate([cross, away.T], axis=1))
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
        return max(strength, 1e-10 * unit_scatter(known))

    def _weights(self, known: Statistics) -> Float[np.ndarray, " k"]:
        """The weight of each sample of a class."""
        if not self.balanced:
            return np.ones(len(known.count))
        return known.count.sum() / (np.maximum(known.count, 1) * max(1, (known.count > 0).sum()))

    def _moments(self, known: Statistics) -> tuple[Scatter, np.ndarray, np.ndarray, np.ndarray]:
        """Scatter ``[d, d]``, cross scatter with the targets ``[d, k]``, centre ``[d]``, the targets' mean ``[k]``."""
        if self.balanced and known.scatters is None:
            raise ArgumentError('ridge(balanced=True) needs a scatter a class: wrap with scatter="class"')
        return moments(known, self._weights(known), centred=self.intercept, weighted=self.balanced)


def _about(centre: np.ndarray, kernel: np.ndarray, bias: np.ndarray, memory: Memory) -> LinearHead:
    """A head of these scores about a centre; it holds the mean of all samples where they lie far from 0."""
    known = memory.statistics
    held = held_centre(known.count @ known.mean / known.count.sum(), spreads(known))
    return LinearHead.of(kernel, bias - (centre - held) @ kernel, memory.offset, centre=held)


def _shorter(k: int, d: int) -> bool:
    """Whether the way through the inverse (``4 d k^2 + k^3 / 3`` flops) is shorter than a new solve."""
    return 4 * d * k**2 + k**3 / 3 < d**3 / 3 + 2 * d**2 * k


def _through(kept: Inverse, known: Statistics) -> Float[np.ndarray, "d k"]:
    """Ridge from ``A^-1`` of the within-class scatter: ``W = G (1 / N + M' G)^-1``, ``G = A^-1 M``, M centred means.

    The total scatter is ``A + M N M'``; pushing the inverse through (Henderson & Searle 1981) leaves a k x k system.
    """
    share = known.count / known.count.sum()
    means = (known.mean - share @ known.mean).T
    directions = kept.product - (kept.product @ share)[:, None]
    system = means.T @ directions
    system.flat[:: len(system) + 1] += 1 / np.maximum(known.count, 1e-9)
    return solve((system + system.T) / 2, directions.T).T
