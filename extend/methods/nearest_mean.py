"""Nearest class mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from extend.core.errors import ArgumentError
from extend.heads import LinearHead
from extend.memory import Memory, Statistics, held_centre, spreads, unit_scatter
from extend.methods.base import ClosedForm
from extend.methods.lda import LDA


@dataclass(frozen=True)
class NearestMean(ClosedForm):
    """Take the class whose mean is nearest: ``argmin_c ||x - m_c||^2``.

    The head is linear: ``score_c = (m_c . x - ||m_c||^2 / 2) / v``, v the average variance of a feature within its
    class: the Bayes rule for round Gaussians, whatever the scale of the features. It costs O(k d) and needs no more of
    the scatter than v (with a shrinkage below 1 it costs what LDA costs). Do not use it for features whose dimensions
    differ much in scale or are correlated: use `LDA`.

    Parameters
    ----------
    metric
        ``"euclidean"``, or ``"cosine"`` for a backbone with ``transform="l2"``: ``score_c = m_c . x / (||m_c|| r)``, r
        the root mean square of the lengths of all samples.
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
        known = memory.statistics
        held = held_centre(known.count @ known.mean / max(1, int(known.count.sum())), spreads(known))
        if self.metric == "cosine":
            columns = known.mean / _length(known.mean)
            if held.any():  # The same scores, less what all classes have in common.
                columns = columns - columns.mean(axis=0)
            kernel = columns.T / _size(known)
            return LinearHead.of(kernel, held @ kernel, memory.offset, centre=held)
        mean, unit = known.mean - held, _variance(known)
        return LinearHead.of(mean.T / unit, -0.5 * (mean**2).sum(axis=1) / unit, memory.offset, centre=held)

    def leave_one_out(
        self, memory: Memory, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        if self.shrinkage < 1:
            return self._lda.leave_one_out(memory, rows, labels)
        known = memory.statistics
        n, others = known.count[labels], int(known.count.sum()) - 1
        moved = known.mean[labels] - (rows - known.mean[labels]) / (n - 1)[:, None]
        if self.metric == "cosine":
            scores, own = rows @ (known.mean / _length(known.mean)).T, (rows * moved / _length(moved)).sum(axis=1)
            square = (_size(known) ** 2 * (others + 1) - (rows**2).sum(axis=1)) / others
            unit = np.sqrt(np.where(square > 0, square, 1.0))
        else:
            centre = known.count @ known.mean / max(1, int(known.count.sum()))
            rows, mean, moved = rows - centre, known.mean - centre, moved - centre
            scores = rows @ mean.T - 0.5 * (mean**2).sum(axis=1)
            own = (rows * moved).sum(axis=1) - 0.5 * (moved**2).sum(axis=1)
            gone = ((rows - mean[labels]) ** 2).sum(axis=1) * n / (n - 1)  # What the scatter is less without a row.
            left, dim = known.pool.trace() - gone, rows.shape[1]
            unit = np.where(left > 1e-12 * gone, left / (dim * others), _variance(known))
        scores[np.arange(len(rows)), labels] = own
        return scores / unit[:, None]

    @property
    def _lda(self) -> LDA:
        return LDA(self.shrinkage, empirical_bayes=False)


def _length(vectors: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k 1"]:
    """The length of each vector, or 1 for a vector of length 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, length, 1.0)


def _variance(known: Statistics) -> float:
    """The average variance of a feature within its class, never 0."""
    return unit_scatter(known) / max(1, int(known.count.sum()))


def _size(known: Statistics) -> float:
    """The root mean square of the lengths of all samples, or 1 if all of them are 0."""
    square = known.pool.trace() + float((known.count @ known.mean**2).sum())
    return float(np.sqrt(square / max(1, int(known.count.sum())))) or 1.0
