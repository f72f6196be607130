"""Nearest class mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from extend.features import Features
from extend.head import LinearHead
from extend.memory import Memory
from extend.methods.method import statistics_of


@dataclass(frozen=True)
class NearestMean:
    """The class whose mean is nearest: ``argmin_c ||x - m_c||^2`` (Mensink et al. 2013, equation 1).

    Linear: ``score_c = m_c . x - ||m_c||^2 / 2``. Costs O(k d). Not for features whose dimensions differ much in scale
    or are correlated: use `LDA`.

    >>> from extend.methods import NearestMean
    >>> NearestMean()
    NearestMean()
    """

    needs_memory: ClassVar[bool] = True

    def fit(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "nearest_mean")
        mean = memory.statistics.mean
        return LinearHead.of(mean.T, -0.5 * (mean**2).sum(axis=1), memory.offset)
