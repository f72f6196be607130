"""Count, mean and scatter of each class's features: what every closed-form head needs, and what adds up.

Merged by the pairwise update of Chan, Golub & LeVeque 1979; all float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.core.errors import ArgumentError
from extend.core.linalg import eigh, gram, packed_gram, unpack
from extend.core.scatter import Scatter, thinnest

BLOCK = 1 << 24
"""Numbers of which a scatter is made at a time: 128 MB."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Per-class sample count, feature mean and scatter matrix of k classes.

    Parameters
    ----------
    count
        The number of samples of each class.
    mean
        The mean of each class.
    pooled
        The sum of the scatter matrices of all classes, each about the mean of its class; None where `factor` gives it.
    scatters
        One scatter matrix for each class: the packed upper triangle ``[d (d + 1) / 2]``, or an exact factor ``[r, d]``
        with ``scatter = factor.T @ factor`` while that is smaller. None where the scatter is pooled.
    factor
        A factor of the pooled scatter, if the statistics were just measured from few rows.
    """

    count: Int[np.ndarray, " k"]
    mean: Float[np.ndarray, "k d"]
    pooled: Float[np.ndarray, "d d"] | None
    scatters: Scatters | None
    factor: Float[np.ndarray, "r d"] | None = None

    @classmethod
    def empty(cls, k: int, d: int, mode: str) -> Statistics:
        """Return the statistics of no samples of k classes."""
        nothing = np.zeros((0, d))
        scatters = Scatters((nothing,) * k, d) if mode == "class" else None
        return cls(np.zeros(k, np.int64), np.zeros((k, d)), None, scatters, nothing)

    @cached_property
    def within(self) -> Float[np.ndarray, "d d"]:
        """The sum of the scatter matrices of all classes, each about the mean of its class."""
        if self.pooled is not None:
            return self.pooled
        assert self.factor is not None
        return gram(self.factor)

    @property
    def pool(self) -> Scatter:
        """The same as `within`, by a factor of it where there is one."""
        return Scatter(self.pooled, None if self.pooled is not None else self.factor)

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

    def without(self, label: int) -> Statistics:
        """Return the statistics without one class, which must have no samples where the scatter is pooled."""
        stay = np.arange(len(self.count)) != label
        if self.scatters is None or not self.count[label]:
            scatters = None if self.scatters is None else _kept(self.scatters, stay)
            return replace(self, count=self.count[stay], mean=self.mean[stay], scatters=scatters)
        scatters = _kept(self.scatters, stay)
        return Statistics(self.count[stay], self.mean[stay], total_scatter(scatters, self.mean.shape[1]), scatters)

    def weighted(self, weights: Float[np.ndarray, " k"]) -> Scatter:
        """Return the sum of the scatter matrices of all classes, each times its weight."""
        assert self.scatters is not None
        scaled = (s * (w if s.ndim == 1 else np.sqrt(w)) for s, w in zip(self.scatters, weights, strict=True))
        parts = list(scaled)
        if all(part.ndim == 2 for part in parts):
            return thinnest(np.concatenate([np.zeros((0, self.mean.shape[1])), *parts]))
        return Scatter(total_scatter(parts, self.mean.shape[1]), None)

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


class _Later:
    """A scatter that is computed when it is asked for: few heads ask. It will have `rank` rows, or be packed (None)."""

    def __init__(self, rank: int | None, make: Callable[..., np.ndarray], *arguments: Any) -> None:
        self.rank = rank
        self._make = partial(make, *arguments)

    @cached_property
    def value(self) -> np.ndarray:
        return self._make()


class Scatters(Sequence[np.ndarray]):
    """The scatter of each class, some of which are still to be computed."""

    def __init__(self, parts: Sequence[np.ndarray | _Later], dim: int) -> None:
        self._parts, self._dim = tuple(parts), dim

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, label: Any) -> Any:
        if isinstance(label, slice):
            raise TypeError("scatters are taken one at a time")
        return _value(self._parts[label])

    def nbytes(self, label: int) -> int:
        """Return the bytes of one scatter, whether it is computed yet or not."""
        rank = _rank_of(self._parts[label])
        return 4 * self._dim * (self._dim + 1) if rank is None else 8 * rank * self._dim


def _value(part: np.ndarray | _Later) -> np.ndarray:
    return part if isinstance(part, np.ndarray) else part.value


def measure(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    k: int,
    mode: str,
    copies: Int[np.ndarray, " n"] | None = None,
    pooled: Float[np.ndarray, "d d"] | None = None,
) -> Statistics:
    """Return the statistics of features that are labelled into k classes.

    Parameters
    ----------
    mode
        ``"class"`` or ``"pooled"``.
    copies
        How often each row counts; None: once.
    pooled
        The pooled scatter, if it is known.
    """
    if (labels[1:] < labels[:-1]).any():
        order = np.argsort(labels, kind="stable")
        features, labels = features[order], labels[order]
        copies = copies[order] if copies is not None else None
    d = features.shape[1]
    if not len(features):
        return Statistics.empty(k, d, mode)
    starts = np.searchsorted(labels, np.arange(k + 1))
    present = np.flatnonzero(np.diff(starts))
    weight = np.ones(len(labels)) if copies is None else copies.astype(np.float64)
    count, mean = np.bincount(labels, weights=weight, minlength=k), np.zeros((k, d))
    for label in present:
        rows = slice(starts[label], starts[label + 1])
        base = features[starts[label]].astype(np.float64)  # About one of its rows: exact whatever all have in common.
        mean[label] = base + weight[rows] @ (features[rows] - base) / count[label]
    few = pooled is None and len(features) < (d + 1) / 2
    if pooled is None and not few:
        pooled = _pooled(features, labels, mean, weight)
    factor = _away(features, labels, mean, weight) if few else None
    scatters: Scatters | None = None
    if mode == "class":
        parts: list[np.ndarray | _Later] = [np.zeros((0, d))] * k
        for label in present:
            rows = slice(starts[label], starts[label + 1])
            parts[label] = _Later(
                _rank(rows.stop - rows.start, d), _own_scatter, features[rows], mean[label], weight[rows]
            )
        scatters = Scatters(parts, d)
    return Statistics(count.astype(np.int64), mean, pooled, scatters, factor)


def _away(features: np.ndarray, labels: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Features less the mean of their class, times the root of their weight: a factor of the scatter."""
    away = features - mean[labels]
    if (weight != 1).any():
        away *= np.sqrt(weight)[:, None]
    return away


def _own_scatter(features: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _smaller(_away(features, np.zeros(len(features), int), mean[None], weight))


def _pooled(features: np.ndarray, labels: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The pooled scatter, by blocks of rows."""
    total, size = np.zeros((features.shape[1],) * 2), max(1, BLOCK // features.shape[1])
    for start in range(0, len(features), size):
        rows = slice(start, start + size)
        total += gram(_away(features[rows], labels[rows], mean, weight[rows]))
    return total


def merge(one: Statistics, two: Statistics, place: Int[np.ndarray, " k2"], k: int) -> Statistics:
    """Return the statistics of both data sets, by Chan's pairwise update.

    Class i of `two` is class ``place[i]`` of the k classes of the result.
    """
    d, pad = one.mean.shape[1], k - len(one.count)
    count = np.concatenate([one.count, np.zeros(pad, one.count.dtype)])
    mean = np.concatenate([one.mean, np.zeros((pad, d))])
    came = np.flatnonzero(two.count)
    at = place[came]
    n1, n2 = count[at].astype(np.float64), two.count[came].astype(np.float64)
    difference = two.mean[came] - mean[at]
    shifts = np.sqrt(n1 * n2 / (n1 + n2))[:, None] * difference
    known = n1 > 0
    mean[at] = np.where(known[:, None], mean[at] + difference * (n2 / (n1 + n2))[:, None], two.mean[came])
    count[at] += two.count[came]
    pooled, factor = _pooled_of_both(one, two, shifts[known])
    scatters = None
    if one.scatters is not None and two.scatters is not None:
        parts: list[np.ndarray | _Later] = [*one.scatters._parts, *(np.zeros((0, d)) for _ in range(pad))]
        theirs = two.scatters._parts
        for i, c, shift, met in zip(came.tolist(), at.tolist(), shifts, known.tolist(), strict=True):
            parts[c] = (
                _Later(_rank_of_both(parts[c], theirs[i], d), _join, parts[c], theirs[i], shift[None])
                if met
                else theirs[i]
            )
        scatters = Scatters(parts, d)
    return Statistics(count, mean, pooled, scatters, factor)


def selected(statistics: Statistics, which: Bool[np.ndarray, " k"], *, whole: bool) -> Statistics:
    """Return some classes alone; `whole`: with the pooled scatter of all classes, else with none."""
    d = statistics.mean.shape[1]
    scatters = None if statistics.scatters is None else _kept(statistics.scatters, which)
    pooled = statistics.within if whole else np.zeros((d, d))
    return Statistics(statistics.count[which], statistics.mean[which], pooled, scatters)


def _pooled_of_both(
    one: Statistics, two: Statistics, shifts: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The pooled scatter of both, or a factor of it while that is smaller."""
    d = one.mean.shape[1]
    if one.factor is not None and two.factor is not None:
        factor = np.concatenate([one.factor, two.factor, shifts])
        if len(factor) < (d + 1) / 2:
            return None, factor
    within = one.within + two.within
    return (within + gram(shifts) if len(shifts) else within), None


def _kept(scatters: Scatters, stay: Bool[np.ndarray, " k"]) -> Scatters:
    return Scatters([part for part, keep in zip(scatters._parts, stay, strict=True) if keep], scatters._dim)


def _join(first: np.ndarray | _Later, second: np.ndarray | _Later, shift: np.ndarray) -> np.ndarray:
    one, two = _value(first), _value(second)
    if one.ndim == 2 and two.ndim == 2:
        return _smaller(np.concatenate([one, two, shift]))
    return sum((part if part.ndim == 1 else packed_gram(part) for part in (one, two)), packed_gram(shift))


def _rank(rows: int, d: int) -> int | None:
    """How many rows a scatter has, or None for a packed one; see `_smaller`."""
    return rows if rows < (d + 1) / 2 else None


def _rank_of(part: np.ndarray | _Later) -> int | None:
    return part.rank if isinstance(part, _Later) else len(part) if part.ndim == 2 else None


def _rank_of_both(one: np.ndarray | _Later, two: np.ndarray | _Later, d: int) -> int | None:
    ranks = [_rank_of(part) for part in (one, two)]
    return None if None in ranks else _rank(sum(rank or 0 for rank in ranks) + 1, d)


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
