"""Linear discriminant analysis with one shared, shrunk covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from extend.features import Features
from extend.head import LinearHead
from extend.memory import Memory, Statistics
from extend.methods.method import statistics_of
from extend.numerics import solve


@dataclass(frozen=True)
class LDA:
    """Gaussians with a shared covariance, the Bayes rule (Fisher 1936; streaming: Hayes & Kanan 2020, equation 2).

    ``score_c = m_c' P x - m_c' P m_c / 2 + log prior_c`` with ``P = ((1 - s) S / n + s tr(S / n) / d I)^-1``, S the
    within-class scatter of n samples: scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)``.

    Costs O(d^3 + k d^2), whatever the number of samples. Not for classes of very different spread.

    Args:
        shrinkage: s in [0, 1]; None: the strength frozen when the classifier was wrapped, else chosen by OAS (Chen et
            al. 2010, equation 23).
        priors: ``"uniform"``, or ``"empirical"`` for the classes' shares of the samples.

    >>> from extend.methods import LDA
    >>> LDA(shrinkage=0.1).priors
    'uniform'
    """

    shrinkage: float | None = None
    priors: Literal["uniform", "empirical"] = "uniform"
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise ValueError(f"shrinkage is {self.shrinkage}; expected a number from 0 to 1, or None")

    def fit(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "lda")
        known = memory.statistics
        d, n = known.mean.shape[1], int(known.count.sum())
        average = np.trace(known.within) / d
        if self.shrinkage == 1:
            directions = known.mean.T / max(average / n, 1e-12)
        else:
            if self.shrinkage is not None:
                strength = self.shrinkage / (1 - self.shrinkage) * average
            elif memory.shrinkage is not None:
                strength = memory.shrinkage
            else:
                strength = oas(known)
            share = strength / (strength + average) if average else 0.0
            system = known.within.copy()
            system.flat[:: d + 1] += strength
            directions = solve(system, known.mean.T) * (n / (1 - share))
        bias = -0.5 * (known.mean.T * directions).sum(axis=0)
        if self.priors == "empirical":
            bias = bias + np.log(known.count / n)
        return LinearHead.of(directions, bias, memory.offset)


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
