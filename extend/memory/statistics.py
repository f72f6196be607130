"""Count, mean and scatter of each class's features: what every closed-form head needs, and what adds up.

Merged by the pairwise update of Chan, Golub & LeVeque 1979; all float64.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from extend.core.errors import ArgumentError
from extend.core.linalg import eigh, gram, packed_gram, unpack


@dataclass(frozen=True)
class Statistics:
    """Per-class sample count, feature mean and scatter matrix of k classes.

    Parameters
    ----------
    count
        The number of samples of each class.
    mean
        The mean of each class.
    within
        The sum of the scatter matrices of all classes, each about the mean of its class.
    scatters
        One scatter matrix for each class: the packed upper triangle ``[d (d + 1) / 2]``, or an exact factor ``[r, d]``
        with ``scatter = factor.T @ factor`` while that is smaller. None where the scatter is pooled.
    factor
        A factor of `within`, if the statistics were just measured from few rows.
    """

    count: Int[np.ndarray, " k"]
    mean: Float[np.ndarray, "k d"]
    within: Float[np.ndarray, "d d"]
    scatters: tuple[np.ndarray, ...] | None
    factor: Float[np.ndarray, "r d"] | None = None

    def scatter(self, label: int) -> Float[np.ndarray, "d d"]:
        """Return the scatter matrix of one class.

        Raises
        ------
        ArgumentError
            The memory keeps one pooled scatter only.
        """
        if self.scatters is None:
            raise ArgumentError('the memory keeps one pooled scatter; wrap with scatter="class" to keep one a class')
        return full(self.scatters[label])

    @property
    def nbytes(self) -> int:
        """The bytes of counts, means and packed scatters."""
        d = self.mean.shape[1]
        within = d * (d + 1) // 2 * self.within.itemsize
        ranks = 8 * len(self.scatters) if self.scatters is not None else 0
        return self.count.nbytes + self.mean.nbytes + within + ranks + sum(s.nbytes for s in self.scatters or ())

    def weighted(self, weights: Float[np.ndarray, " k"]) -> Float[np.ndarray, "d d"]:
        """Return the sum of the scatter matrices of all classes, each times its weight."""
        assert self.scatters is not None
        scaled = (s * (w if s.ndim == 1 else np.sqrt(w)) for s, w in zip(self.scatters, weights, strict=True))
        return total_scatter(scaled, self.mean.shape[1])

    def draw(self, label: int, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Draw n feature vectors from a class's Gaussian.

        The covariance is the class's own, or the pooled one where only that is kept, and for a single sample.
        """
        count, mean = int(self.count[label]), self.mean[label]
        own = self.scatters[label] if self.scatters is not None and count > 1 else None
        if own is not None and own.ndim == 2:
            return (mean + rng.standard_normal((n, len(own))) @ own / np.sqrt(count - 1)).astype(np.float32)
        root = _root(full(own) / (count - 1)) if own is not None else self._pooled_root
        return (mean + rng.standard_normal((n, len(mean))) @ root.T).astype(np.float32)

    @cached_property
    def _pooled_root(self) -> Float[np.ndarray, "d d"]:
        """A root of the pooled covariance, by one eigendecomposition for all classes."""
        return _root(self.within / max(1, int(self.count.sum()) - len(self.count)))


def measure(features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], k: int, mode: str) -> Statistics:
    """Return the statistics of features that are labelled into k classes; `mode` is "class" or "pooled"."""
    features = np.asarray(features, np.float64)
    d = features.shape[1]
    count = np.bincount(labels, minlength=k)
    mean = np.zeros((k, d))
    parts: list[np.ndarray] = []
    for label in range(k):
        rows = features[labels == label]
        if len(rows):
            mean[label] = rows.mean(axis=0)
            rows = rows - mean[label]
        parts.append(rows)
    if mode == "pooled":
        rows = np.concatenate([np.zeros((0, d)), *parts])
        return Statistics(count, mean, gram(rows), None, rows if len(rows) < (d + 1) / 2 else None)
    scatters = tuple(_smaller(part) for part in parts)
    return Statistics(count, mean, total_scatter(scatters, d), scatters)


def merge(one: Statistics, two: Statistics, place: Int[np.ndarray, " k2"], k: int) -> Statistics:
    """Return the statistics of both data sets, by Chan's pairwise update.

    Class i of `two` is class ``place[i]`` of the k classes of the result.
    """
    d = one.mean.shape[1]
    pad = k - len(one.count)
    count = np.concatenate([one.count, np.zeros(pad, one.count.dtype)])
    mean = np.concatenate([one.mean, np.zeros((pad, d))])
    scatters = None if one.scatters is None else [*one.scatters, *(np.zeros((0, d)) for _ in range(pad))]
    shifts = []
    for i in np.flatnonzero(two.count):
        c, n1, n2 = place[i], count[place[i]], two.count[i]
        difference = two.mean[i] - mean[c]
        shift = np.sqrt(n1 * n2 / (n1 + n2)) * difference[None]
        if n1:
            shifts.append(shift)
        if scatters is not None and two.scatters is not None:
            scatters[c] = _join(scatters[c], two.scatters[i], shift if n1 else shift[:0])
        mean[c] = mean[c] + difference * (n2 / (n1 + n2))
        count[c] = n1 + n2
    within = one.within + two.within
    if shifts:
        within = within + gram(np.concatenate(shifts))
    factor = None
    if one.factor is not None and two.factor is not None and len(one.factor) + len(two.factor) < (d + 1) / 2:
        factor = np.concatenate([one.factor, two.factor, *shifts])
    return Statistics(count, mean, within, None if scatters is None else tuple(scatters), factor)


def _join(one: np.ndarray, two: np.ndarray, shift: np.ndarray) -> np.ndarray:
    if not len(one) and not len(shift):
        return two
    if one.ndim == 2 and two.ndim == 2:
        return _smaller(np.concatenate([one, two, shift]))
    return sum((part if part.ndim == 1 else packed_gram(part) for part in (one, two)), packed_gram(shift))


def _smaller(factor: np.ndarray) -> np.ndarray:
    """A factor ``[r, d]`` as it is, or its packed Gram where that takes less room."""
    return factor if len(factor) < (factor.shape[1] + 1) / 2 else packed_gram(factor)


def full(scatter: np.ndarray) -> Float[np.ndarray, "d d"]:
    """Return the scatter matrix of one class, which is given packed or as a factor."""
    return gram(scatter) if scatter.ndim == 2 else unpack(scatter)


def total_scatter(scatters: Iterable[np.ndarray], d: int) -> Float[np.ndarray, "d d"]:
    """Return the sum of scatter matrices, which are given packed or as factors."""
    packed, factors = np.zeros(d * (d + 1) // 2), [np.zeros((0, d))]
    for scatter in scatters:
        if scatter.ndim == 2:
            factors.append(scatter)
        else:
            packed += scatter
    return unpack(packed + packed_gram(np.concatenate(factors)))


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """R with ``R R'`` = covariance."""
    values, vectors = eigh(covariance)
    return vectors * np.sqrt(values)
