"""One Gaussian a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg

from extend.core.errors import ArgumentError
from extend.core.linalg import one_thread
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.quadratic import QuadraticHead
from extend.memory.memory import Memory
from extend.memory.statistics import Statistics
from extend.methods.base import statistics_of
from extend.methods.lda import few_sample_terms, mean_noise, shared_strength


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian a class and the Bayes rule: ``score_c = -log det C_c / 2 - (x - m_c)' C_c^-1 (x - m_c) / 2``.

    ``form="posterior"``: ``C_c = (1 - a) S_c / n_c + a C`` with ``a = v / (v + n)``, S_c the scatter of the class's n_c
    samples, C the shared covariance as `LDA` shrinks it (Friedman 1989, equation 16), and n the samples of the smallest
    class: the mean of the inverse-Wishart posterior of a class of that size, the same for all, because a class known
    better than another would win by its determinant. With few samples of any class it becomes LDA; means of few samples
    are allowed for as there, without the step that keeps LDA linear.
    ``form="fecam"``: Goswami et al. 2023, equations 5 to 7: ``C_c = S_c / (n_c - 1) + g1 V1 I + g2 V2 (1 - I)``, V1 and
    V2 the average variance and covariance, scaled to unit diagonal, no determinant; meant for features after
    ``transform="sqrt"``.

    With fewer samples than features a class is its exact low-rank factor. Costs O(d^3 + n_c^2 d) a class, O(d^3) where
    n_c >= d, and ``4 d min(n_c, d)`` bytes a class in the head: not for thousands of classes or tens of thousands of
    features. Needs a scatter a class.

    Args:
        weight: v, in samples; None: four times the number of features.
        gamma: g1 and g2.

    >>> from extend.methods import Gaussian
    >>> Gaussian().form
    'posterior'
    """

    form: Literal["posterior", "fecam"] = "posterior"
    weight: float | None = None
    gamma: tuple[float, float] = (1.0, 1.0)
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.form not in ("posterior", "fecam") or (self.weight is not None and not 0 < self.weight < np.inf):
            raise ArgumentError(f"{self}: expected form 'posterior' or 'fecam', and a weight > 0 or None")
        if len(self.gamma) != 2 or not (0 < self.gamma[0] < np.inf and 0 <= self.gamma[1] < np.inf):
            raise ArgumentError(f"gamma is {self.gamma}; expected two numbers, the first > 0, the second >= 0")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> QuadraticHead:
        memory = statistics_of(memory, "gaussian")
        known = memory.statistics
        if known.scatters is None:
            raise ArgumentError(
                'gaussian needs a scatter a class, and this memory keeps one: wrap with scatter="class"'
            )
        centre = known.count @ known.mean / max(1, known.count.sum())
        with one_thread(known.mean.shape[1] ** 3 / 3):
            if self.form == "fecam":
                return _fecam(known, centre, self.gamma, memory.offset)
            weight = self.weight if self.weight is not None else 4.0 * known.mean.shape[1]
            noise = mean_noise(memory, None)
            return _posterior(known, centre, *shared_strength(memory, None), weight, noise, memory.offset)


def _posterior(
    known: Statistics,
    centre: np.ndarray,
    strength: float,
    share: float,
    samples: float,
    noise: float,
    start: int,
) -> QuadraticHead:
    """Where the shared covariance is I: ``C_c = (w I + A_c) / (n_c + w)``, ``w = v n_c / n``, A_c of rank n_c."""
    d, n = known.mean.shape[1], max(1, int(known.count.sum()))
    shared = known.within * ((1 - share) / n)
    shared.flat[:: d + 1] += strength * (1 - share) / n
    whiten = scipy.linalg.solve_triangular(scipy.linalg.cholesky(shared, lower=True), np.eye(d), lower=True).T
    weights = known.count / (known.count + 1)
    centre = weights @ known.mean / weights.sum()
    means = (known.mean - centre) @ whiten
    wider = np.zeros(len(means))
    if noise:
        keep, wider, _ = few_sample_terms(known.count, (means**2).sum(axis=1), noise)
        means *= keep[:, None]
    plain, factors, signs, determinants = np.zeros(len(means)), [], [], np.zeros(len(means))
    assert known.scatters is not None
    fewest = max(1, int(known.count[known.count > 0].min(initial=n)))
    for label, (count, scatter) in enumerate(zip(known.count, known.scatters, strict=True)):
        weight = samples * max(1, int(count)) / fewest
        if scatter.ndim == 2:
            rows = scatter @ whiten
            inner = rows @ rows.T
            inner.flat[:: len(inner) + 1] += weight
            lower = scipy.linalg.cholesky(inner, lower=True)
            factor = scipy.linalg.solve_triangular(lower, rows, lower=True)
            plain[label], sign = (count + weight) / weight, -(count + weight) / weight
            determinants[label] = 2 * np.log(np.diag(lower)).sum() - len(rows) * np.log(weight)
            determinants[label] += d * np.log(weight / (count + weight))
        else:
            own = whiten.T @ known.scatter(label) @ whiten
            own.flat[:: d + 1] += weight
            lower = scipy.linalg.cholesky(own / (count + weight), lower=True)
            factor, sign = scipy.linalg.solve_triangular(lower, np.eye(d), lower=True), 1.0
            determinants[label] = 2 * np.log(np.diag(lower)).sum()
        determinants[label] += noise * np.log1p(wider[label])
        factors.append(factor)
        signs.append(sign / (1 + wider[label]))
    plain /= 1 + wider
    square = np.broadcast_to(plain, (d, len(plain)))
    return _head(centre, whiten, means, square, factors, signs, determinants - determinants.mean(), start)


def _fecam(known: Statistics, centre: np.ndarray, gamma: tuple[float, float], start: int) -> QuadraticHead:
    """``C_c`` is ``alpha I`` plus the class's factor and a constant direction; scaled to unit diagonal."""
    d = known.mean.shape[1]
    square, factors = np.zeros((d, len(known.mean))), []
    assert known.scatters is not None
    for label, (count, scatter) in enumerate(zip(known.count, known.scatters, strict=True)):
        rows = scatter if scatter.ndim == 2 else scipy.linalg.cholesky(_at_least(known.scatter(label)))
        rows = rows / np.sqrt(max(1, count - 1))
        variance = float((rows**2).sum() / d)
        covariance = (float((rows.sum(axis=1) ** 2).sum()) - variance * d) / max(1, d * d - d)
        both = max(gamma[1] * covariance, 0.0)
        alpha = max(gamma[0] * variance - both, 1e-6 * variance, 1e-12)
        rows = np.concatenate([rows, np.full((1, d), np.sqrt(both))])
        scale = np.sqrt(alpha + (rows**2).sum(axis=0))
        inner = rows @ rows.T
        inner.flat[:: len(inner) + 1] += alpha
        lower = scipy.linalg.cholesky(inner, lower=True)
        factors.append(scipy.linalg.solve_triangular(lower, rows * scale, lower=True) / np.sqrt(alpha))
        square[:, label] = scale**2 / alpha
    signs = [-1.0] * len(factors)
    return _head(centre, np.eye(d), known.mean - centre, square, factors, signs, np.zeros(len(factors)), start)


def _at_least(scatter: np.ndarray) -> np.ndarray:
    """A scatter that rounding cannot make indefinite."""
    scatter = scatter.copy()
    scatter.flat[:: len(scatter) + 1] += 1e-10 * max(float(np.trace(scatter)) / len(scatter), 1e-12)
    return scatter


def _head(
    centre: np.ndarray,
    whiten: np.ndarray,
    means: np.ndarray,
    square: np.ndarray,
    factors: list[np.ndarray],
    signs: list[float],
    determinants: np.ndarray,
    start: int,
) -> QuadraticHead:
    """Distances ``sum_j square_j (z_j - m_j)^2 + sign |factor (z - m)|^2`` as a head."""
    owner = np.zeros((sum(map(len, factors)), len(factors)))
    shift, first = np.zeros(len(owner)), 0
    for label, (factor, sign) in enumerate(zip(factors, signs, strict=True)):
        rows = slice(first, first + len(factor))
        owner[rows, label], shift[rows] = -0.5 * sign, factor @ means[label]
        first += len(factor)
    linear = square * means.T
    bias = -0.5 * (linear * means.T).sum(axis=0) - 0.5 * determinants
    stacked = np.concatenate([np.zeros((0, len(centre))), *factors]).T
    arrays = (centre, whiten, -0.5 * square, linear, bias, stacked, shift, owner)
    return QuadraticHead.of(*arrays, start=start)
