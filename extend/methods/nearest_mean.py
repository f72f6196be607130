"""Nearest class mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from extend.core.errors import ArgumentError
from extend.heads import LinearHead
from extend.memory import Memory
from extend.methods.base import ClosedForm
from extend.methods.lda import LDA


@dataclass(frozen=True)
class NearestMean(ClosedForm):
    """Take the class whose mean is nearest: ``argmin_c ||x - m_c||^2``.

    The head is linear: ``score_c = m_c . x - ||m_c||^2 / 2``. It costs O(k d) and needs no scatter at all (with a
    shrinkage below 1 it costs what LDA costs). Do not use it for features whose dimensions differ much in scale or are
    correlated: use `LDA`.

    Parameters
    ----------
    metric
        ``"euclidean"``, or ``"cosine"`` for a backbone with ``transform="l2"``: ``score_c = m_c . x / ||m_c||``.
    shrinkage
        Below 1 it goes along the path to `LDA`: distances are taken under ``(1 - s) S + s tr(S)/d I`` (Friedman 1989),
        which at 0 is LDA without shrinkage.

    References
    ----------
    Mensink, Verbeek, Perronnin & Csurka 2013, Distance-based image classification, equation 1.

    Examples
    --------
    >>> from extend.methods import NearestMean
    >>> NearestMean().metric
    'euclidean'
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"
    shrinkage: float = 1.0
    name: ClassVar[str] = "nearest_mean"

    def __post_init__(self) -> None:
        if self.metric not in ("euclidean", "cosine") or not 0 <= self.shrinkage <= 1:
            raise ArgumentError(f"{self}: expected metric 'euclidean' or 'cosine', and shrinkage from 0 to 1")
        if self.metric == "cosine" and self.shrinkage < 1:
            raise ArgumentError(f"{self}: the path to LDA is of euclidean distances; leave shrinkage at 1 for cosine")

    @property
    def title(self) -> str:
        return "nearest_mean cosine" if self.metric == "cosine" else self.name

    def fit(self, memory: Memory) -> LinearHead:
        if self.shrinkage < 1:
            return self._lda.fit(memory)
        mean = memory.statistics.mean
        if self.metric == "cosine":
            return LinearHead.of((mean / _length(mean)).T, np.zeros(len(mean)), memory.offset)
        return LinearHead.of(mean.T, -0.5 * (mean**2).sum(axis=1), memory.offset)

    def leave_one_out(
        self, memory: Memory, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        if self.shrinkage < 1:
            return self._lda.leave_one_out(memory, rows, labels)
        known = memory.statistics
        moved = known.mean[labels] - (rows - known.mean[labels]) / (known.count[labels] - 1)[:, None]
        if self.metric == "cosine":
            scores, own = rows @ (known.mean / _length(known.mean)).T, (rows * moved / _length(moved)).sum(axis=1)
        else:
            scores = rows @ known.mean.T - 0.5 * (known.mean**2).sum(axis=1)
            own = (rows * moved).sum(axis=1) - 0.5 * (moved**2).sum(axis=1)
        scores[np.arange(len(rows)), labels] = own
        return scores

    @property
    def _lda(self) -> LDA:
        return LDA(self.shrinkage, empirical_bayes=False)


def _length(vectors: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k 1"]:
    """The length of each vector, never 0."""
    return np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
