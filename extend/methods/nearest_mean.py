"""Nearest class mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.linear import LinearHead
from extend.memory.memory import Memory
from extend.methods.base import statistics_of
from extend.methods.lda import LDA


@dataclass(frozen=True)
class NearestMean:
    """The class whose mean is nearest: ``argmin_c ||x - m_c||^2`` (Mensink et al. 2013, equation 1).

    Linear: ``score_c = m_c . x - ||m_c||^2 / 2``. ``metric="cosine"``: ``score_c = m_c . x / ||m_c||``, for a backbone
    with ``transform="l2"``. Below 1, `shrinkage` goes along the path to `LDA`: distances under ``(1 - s) S + s tr(S)/d
    I`` (Friedman 1989), which at 0 is LDA without shrinkage.

    Costs O(k d) (below 1: what LDA costs) and no scatter at all. Not for features whose dimensions differ much in scale
    or are correlated: use `LDA`.

    >>> from extend.methods import NearestMean
    >>> NearestMean().metric
    'euclidean'
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"
    shrinkage: float = 1.0
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.metric not in ("euclidean", "cosine") or not 0 <= self.shrinkage <= 1:
            raise ArgumentError(f"{self}: expected metric 'euclidean' or 'cosine', and shrinkage from 0 to 1")
        if self.metric == "cosine" and self.shrinkage < 1:
            raise ArgumentError(f"{self}: the path to LDA is of euclidean distances; leave shrinkage at 1 for cosine")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "nearest_mean")
        if self.shrinkage < 1:
            return LDA(self.shrinkage, empirical_bayes=False).fit(head, memory, new, key)
        mean = memory.statistics.mean
        if self.metric == "cosine":
            return LinearHead.of((mean / _length(mean)).T, np.zeros(len(mean)), memory.offset)
        return LinearHead.of(mean.T, -0.5 * (mean**2).sum(axis=1), memory.offset)

    def leave_one_out(self, memory: Memory, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores ``[m, k]`` of rows that are in the memory, each as if it alone were not."""
        if self.shrinkage < 1:
            return LDA(self.shrinkage, empirical_bayes=False).leave_one_out(memory, rows, labels)
        known = memory.statistics
        moved = known.mean[labels] - (rows - known.mean[labels]) / (known.count[labels] - 1)[:, None]
        if self.metric == "cosine":
            scores, own = rows @ (known.mean / _length(known.mean)).T, (rows * moved / _length(moved)).sum(axis=1)
        else:
            scores = rows @ known.mean.T - 0.5 * (known.mean**2).sum(axis=1)
            own = (rows * moved).sum(axis=1) - 0.5 * (moved**2).sum(axis=1)
        scores[np.arange(len(rows)), labels] = own
        return scores


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
