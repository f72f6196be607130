"""Linear discriminant analysis with one shared, shrunk covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from extend.features import Features
from extend.head import Head, LinearHead
from extend.memory import Memory
from extend.methods.method import statistics_of
from extend.numerics import solve, solve_and_trace
from extend.statistics import Statistics


@dataclass(frozen=True)
class LDA:
    """Gaussians with a shared covariance, the Bayes rule (Fisher 1936; streaming: Hayes & Kanan 2020, equation 2).

    ``score_c = m_c' P x - m_c' P m_c / 2 + log prior_c`` with ``P = ((1 - s) S / n + s tr(S / n) / d I)^-1``, S the
    within-class scatter of n samples: scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)``. The
    mean of n_c samples is longer than the true one by noise, ``E m' P m = mu' P mu + tr(P C) / n_c``, which would count
    against small classes; `unbiased` adds half of that to the score (McLachlan 1992, section 3.3).

    Costs O(d^3 + k d^2), whatever the number of samples; O(d k + k d n) a step where the memory keeps an inverse and n
    samples came (`extend.wrap(recursive=True)`). Memory: the pooled scatter, 4 d^2 bytes. Not for classes of very
    different spread: see `Gaussian`.

    Args:
        shrinkage: s in [0, 1]; None: the strength frozen when the classifier was wrapped, else chosen by OAS (Chen et
            al. 2010, equation 23).
        priors: ``"uniform"``, or ``"empirical"`` for the classes' shares of the samples.
        unbiased: undo the noise in the means of small classes; without it, exactly scikit-learn's.

    >>> from extend.methods import LDA
    >>> LDA(shrinkage=0.1).priors
    'uniform'
    """

    shrinkage: float | None = None
    priors: Literal["uniform", "empirical"] = "uniform"
    unbiased: bool = True
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage is {self.shrinkage}; expected a number from 0 to 1, or None")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "lda")
        known = memory.statistics
        n = max(1, int(known.count.sum()))
        if self.shrinkage == 1:
            directions = known.mean.T / max(float(np.trace(known.within)) / known.within.shape[0] / n, 1e-12)
        else:
            strength, share = shared_strength(memory, self.shrinkage)
            product, noise = _solved(memory, strength, share, self.unbiased)
            directions = product * (n / (1 - share))
        bias = -0.5 * (known.mean.T * directions).sum(axis=0)
        if self.unbiased and self.shrinkage != 1:
            bias = bias + 0.5 * noise / np.maximum(known.count, 1)
        if self.priors == "empirical":
            bias = bias + np.log(np.maximum(known.count, 1e-3) / n)
        return LinearHead.of(directions, bias, memory.offset)

    def leave_one_out(self, memory: Memory, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores ``[m, k]`` of rows that are in the memory, each as if it alone were not.

        Without row x of a class of n, the scatter loses ``v v'`` with ``v = sqrt(n / (n - 1)) (x - m)``: one solve for
        all rows, then the formula of Sherman & Morrison 1950.
        """
        known = memory.statistics
        strength, share = shared_strength(memory, self.shrinkage if self.shrinkage != 1 else None)
        m, k = len(rows), len(known.count)
        solved = solve(_system(known, strength), np.concatenate([known.mean.T, rows.T], axis=1))
        means, points = solved[:, :k], solved[:, k:]
        n = known.count[labels]
        root = np.sqrt(n / (n - 1))
        away = (rows - known.mean[labels]) * root[:, None]
        u = ((points - means[:, labels]) * root).T
        left = np.maximum(1 - (away * u).sum(axis=1), 1e-9)
        moved = known.mean[labels] - (rows - known.mean[labels]) / (n - 1)[:, None]
        own = (means[:, labels] - (points - means[:, labels]) / (n - 1)).T  # The inverse times the moved mean.
        along = (rows * u).sum(axis=1) / left
        crossing = u @ known.mean.T
        scores = rows @ means + crossing * along[:, None] - 0.5 * (known.mean.T * means).sum(axis=0)
        scores -= 0.5 * crossing**2 / left[:, None]
        through = (moved * u).sum(axis=1)
        mine = (rows * own).sum(axis=1) + along * through
        scores[np.arange(m), labels] = mine - 0.5 * (moved * own).sum(axis=1) - 0.5 * through**2 / left
        scores *= (known.count.sum() - 1) / (1 - share)
        if self.unbiased:
            noise = 0.5 * mean_noise(memory, self.shrinkage if self.shrinkage != 1 else None)
            scores += noise / np.maximum(known.count, 1)
            scores[np.arange(m), labels] += noise / (n - 1) - noise / n
        return scores


def shared_strength(memory: Memory, shrinkage: float | None) -> tuple[float, float]:
    """The strength lambda in ``S + lambda I`` and the share s in ``(1 - s) S + s tr(S) / d I`` that it amounts to."""
    known = memory.statistics
    average = float(np.trace(known.within)) / known.within.shape[0]
    if shrinkage is not None:
        strength = shrinkage / (1 - shrinkage) * average
    else:
        strength = memory.shrinkage if memory.shrinkage is not None else oas(known)
    if average <= 0:
        return max(strength, 1e-12) if strength > 0 else 1.0, 0.0  # All samples of a class are equal: nearest means.
    strength = max(strength, 1e-10 * average)  # A strength of nothing leaves a singular scatter singular.
    return strength, strength / (strength + average)


def mean_noise(memory: Memory, shrinkage: float | None) -> float:
    """``tr(P C)``, C the within-class covariance: by how much ``n_c m_c' P m_c`` is too long; at most d."""
    return _solved(memory, *shared_strength(memory, shrinkage), True)[1]


def _solved(memory: Memory, strength: float, share: float, noisy: bool) -> tuple[np.ndarray, float]:
    """``(S + strength I)^-1`` times the means, ``[d, k]``, and (0 unless `noisy`) what `mean_noise` is."""
    known = memory.statistics
    kept = memory.inverse_at(strength)
    if kept is not None:
        product, trace = kept.product, float(np.trace(kept.matrix))
    elif noisy:
        product, trace = solve_and_trace(_system(known, strength), known.mean.T)
    else:
        return solve(_system(known, strength), known.mean.T), 0.0
    d, total, k = known.mean.shape[1], int(known.count.sum()), int((known.count > 0).sum())
    # With one sample a class nothing is known of their spread.
    return product, max(0.0, (d - strength * trace) * total / (1 - share) / (total - k)) if total > k else 0.0


def _system(known: Statistics, strength: float) -> np.ndarray:
    system = known.within.copy()
    system.flat[:: len(system) + 1] += strength
    return system


def oas(known: Statistics) -> float:
    """The oracle-approximating shrinkage strength, in scatter units: lambda in ``S + lambda I``.

    Chen et al. 2010, equation 23, on the pooled within-class covariance with n - k degrees of freedom.
    """
    d = known.mean.shape[1]
    freedom = max(1, int(known.count.sum()) - len(known.count))
    average = np.trace(known.within) / d
    if average == 0:
        return 1.0  # All samples of a class are equal: any strength gives nearest means.
    square = float((known.within**2).mean())
    denominator = (freedom + 1) * (square - average**2 / d)
    share = 1.0 if denominator <= 0 else min(1.0, (square + average**2) / denominator)
    return float(average * (share / (1 - share) if share < 0.999 else 999.0))
