"""One Gaussian for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg
from jaxtyping import Float

from extend.core.errors import ArgumentError
from extend.core.linalg import one_thread
from extend.heads import QuadraticHead
from extend.memory import FEWEST, Memory, Statistics, full, unit_scatter
from extend.methods.base import ClosedForm
from extend.methods.lda import few_sample_terms, mean_noise


@dataclass(frozen=True)
class Gaussian(ClosedForm):
    """Fit a Gaussian to each class, and take the Bayes rule.

    ``score_c = -log det C_c / 2 - (x - m_c)' C_c^-1 (x - m_c) / 2``.

    ``form="posterior"``: ``C_c = (1 - a) S_c / n_c + a C`` with ``a = v / (v + n)``. S_c is the scatter of the class's
    n_c samples, C the shared covariance as `LDA` shrinks it, and n the samples of the smallest class. This is the mean
    of the inverse-Wishart posterior of a class of that size. It is the same for all, because a class known better than
    another would win by its determinant. With few samples of any class it becomes LDA; means of few samples are allowed
    for as there, without the step that keeps LDA linear.

    ``form="fecam"``: ``C_c = S_c / (n_c - 1) + g1 V1 I + g2 V2 (1 - I)``, V1 and V2 the average variance and
    covariance, scaled to unit diagonal, without the determinant; features are divided by their average spread. It is
    meant for features after ``transform="sqrt"``.

    A class with fewer samples than features is kept as its exact low-rank factor. The cost is O(d^3 + n_c^2 d) a class,
    O(d^3) where n_c >= d, and ``4 d min(n_c, d)`` bytes a class in the head. Do not use it for thousands of classes or
    tens of thousands of features. It needs a scatter matrix for each class.

    Parameters
    ----------
    form
        ``"posterior"`` or ``"fecam"``.
    weight
        v, in samples; None takes four times the number of features.
    gamma
        g1 and g2.

    References
    ----------
    Friedman 1989, Regularized discriminant analysis, equation 16 (posterior); Goswami et al. 2023, FeCAM, equations 5
    to 7 (fecam).

    Examples
    --------
    >>> from extend.methods import Gaussian
    >>> Gaussian().form
    'posterior'
    """

    form: Literal["posterior", "fecam"] = "posterior"
    weight: float | None = None
    gamma: tuple[float, float] = (1.0, 1.0)
    name: ClassVar[str] = "gaussian"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.form not in ("posterior", "fecam") or (self.weight is not None and not 0 < self.weight < np.inf):
            raise ArgumentError(f"{self}: expected form 'posterior' or 'fecam', and a weight > 0 or None")
        if len(self.gamma) != 2 or not (0 < self.gamma[0] < np.inf and 0 <= self.gamma[1] < np.inf):
            raise ArgumentError(f"gamma is {self.gamma}; expected two numbers, the first > 0, the second >= 0")

    @property
    def needs_class_scatter(self) -> bool:
        return True

    def comparable(self, memory: Memory) -> bool:
        """Whether there is a point in comparing: not while a class has fewer than 10 samples, or all have few.

        Where samples are fewer than half the features, its matrices of d x d would cost more than all else.
        """
        enough = memory.statistics.pooled is not None and not (memory.total < FEWEST).any()
        return super().comparable(memory) and enough

    def fit(self, memory: Memory) -> QuadraticHead:
        known = memory.statistics
        if known.scatters is None:
            raise ArgumentError(
                'gaussian needs a scatter a class, and this memory keeps one: wrap with scatter="class"'
            )
        with one_thread(known.mean.shape[1] ** 3 / 3):
            if self.form == "fecam":
                return _fecam(known, known.scatters, self.gamma, memory.offset)
            return _posterior(memory, known.scatters, self.weight)


def _posterior(memory: Memory, scatters: Sequence[np.ndarray], weight: float | None) -> QuadraticHead:
    """Where the shared covariance is I: ``C_c = (w I + A_c) / (n_c + w)``, ``w = v n_c / n``, A_c of rank n_c."""
    known, noise = memory.statistics, mean_noise(memory)
    d, n = known.mean.shape[1], max(1, int(known.count.sum()))
    whiten = _whitening(memory, n)
    weights = known.count / (known.count + 1)
    centre = weights @ known.mean / weights.sum()
    means = (known.mean - centre) @ whiten
    wider = np.zeros(len(means))
    if noise:
        keep, wider, _ = few_sample_terms(known.count, (means**2).sum(axis=1), noise)
        means *= keep[:, None]
    held = _rounded(centre)
    means += (centre - held) @ whiten
    samples = weight if weight is not None else 4.0 * d
    fewest = max(1, int(known.count[known.count > 0].min(initial=n)))
    parts = [
        _one_class(scatter, whiten, int(count), samples * max(1, int(count)) / fewest)
        for count, scatter in zip(known.count, scatters, strict=True)
    ]
    plain = np.asarray([part.plain for part in parts]) / (1 + wider)
    signs = [part.sign / (1 + extra) for part, extra in zip(parts, wider, strict=True)]
    determinants = np.asarray([part.determinant for part in parts]) + noise * np.log1p(wider)
    square = np.broadcast_to(plain, (d, len(plain)))
    factors = [part.factor for part in parts]
    moved = determinants - determinants.mean()
    return _head(held, whiten, means, square, factors, signs, moved, memory.offset)


def _whitening(memory: Memory, n: int) -> Float[np.ndarray, "d d"]:
    """The matrix by which the shared covariance of n samples becomes I."""
    known = memory.statistics
    strength, share = memory.shared_strength()
    d = known.mean.shape[1]
    shared = known.within * ((1 - share) / n)
    shared.flat[:: d + 1] += strength * (1 - share) / n
    return scipy.linalg.solve_triangular(scipy.linalg.cholesky(shared, lower=True), np.eye(d), lower=True).T


@dataclass(frozen=True, eq=False)
class _OneClass:
    """``C_c^-1 = plain I + sign factor' factor`` and ``log det C_c``, where the shared covariance is I."""

    plain: float
    factor: Float[np.ndarray, "r d"]
    sign: float
    determinant: float


def _one_class(scatter: np.ndarray, whiten: Float[np.ndarray, "d d"], count: int, weight: float) -> _OneClass:
    """A class's covariance, from its scatter as it is kept: an exact factor ``[r, d]``, or packed."""
    d = len(whiten)
    if scatter.ndim == 2:
        rows = scatter @ whiten
        inner = rows @ rows.T
        inner.flat[:: len(inner) + 1] += weight
        lower = scipy.linalg.cholesky(inner, lower=True)
        factor = scipy.linalg.solve_triangular(lower, rows, lower=True)
        determinant = 2 * np.log(np.diag(lower)).sum() - len(rows) * np.log(weight)
        determinant += d * np.log(weight / (count + weight))
        return _OneClass((count + weight) / weight, factor, -(count + weight) / weight, determinant)
    own = whiten.T @ full(scatter) @ whiten
    own.flat[:: d + 1] += weight
    lower = scipy.linalg.cholesky(own / (count + weight), lower=True)
    factor = scipy.linalg.solve_triangular(lower, np.eye(d), lower=True)
    return _OneClass(0.0, factor, 1.0, 2 * np.log(np.diag(lower)).sum())


def _fecam(known: Statistics, scatters: Sequence[np.ndarray], gamma: tuple[float, float], start: int) -> QuadraticHead:
    """``C_c`` is ``alpha I`` plus the class's factor and a constant direction; scaled to unit diagonal.

    Features are divided by one number for all, their spread, so that the scores do not follow their scale.
    """
    n = max(1, int(known.count.sum()))
    centre = _rounded(known.count @ known.mean / n)
    d, unit = known.mean.shape[1], float(np.sqrt(unit_scatter(known) / n))
    square, factors = np.zeros((d, len(known.mean))), []
    for label, (count, scatter) in enumerate(zip(known.count, scatters, strict=True)):
        rows = scatter if scatter.ndim == 2 else scipy.linalg.cholesky(_at_least(full(scatter)))
        rows = rows / (unit * np.sqrt(max(1, count - 1)))
        variance = float((rows**2).sum() / d)
        covariance = (float((rows.sum(axis=1) ** 2).sum()) - variance * d) / max(1, d * d - d)
        both = max(gamma[1] * covariance, 0.0)
        alpha = max(gamma[0] * variance - both, 1e-6 * variance, 1e-12)  # In units of the spread.
        rows = np.concatenate([rows, np.full((1, d), np.sqrt(both))])
        scale = np.sqrt(alpha + (rows**2).sum(axis=0))
        inner = rows @ rows.T
        inner.flat[:: len(inner) + 1] += alpha
        lower = scipy.linalg.cholesky(inner, lower=True)
        factors.append(scipy.linalg.solve_triangular(lower, rows * scale, lower=True) / np.sqrt(alpha))
        square[:, label] = scale**2 / alpha
    signs = [-1.0] * len(factors)
    means = (known.mean - centre) / unit
    return _head(centre, np.eye(d) / unit, means, square, factors, signs, np.zeros(len(factors)), start)


def _at_least(scatter: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """A scatter that rounding cannot make indefinite."""
    scatter = scatter.copy()
    scatter.flat[:: len(scatter) + 1] += 1e-10 * (float(np.trace(scatter)) / len(scatter) or np.finfo(float).tiny)
    return scatter


def _rounded(centre: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """The centre as a head holds it, so that means are taken about the very point that rows are."""
    return centre.astype(np.float32).astype(np.float64)


def _head(
    centre: Float[np.ndarray, " d"],
    whiten: Float[np.ndarray, "d d"],
    means: Float[np.ndarray, "k d"],
    square: Float[np.ndarray, "d k"],
    factors: list[np.ndarray],
    signs: Sequence[float],
    determinants: Float[np.ndarray, " k"],
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
