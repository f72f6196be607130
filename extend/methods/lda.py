"""Linear discriminant analysis with one shared, shrunk covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from extend.core.errors import ArgumentError
from extend.core.linalg import one_thread
from extend.heads import LinearHead
from extend.memory import Memory, Statistics, held_centre, spreads, unit_scatter
from extend.methods.base import ClosedForm


@dataclass(frozen=True)
class LDA(ClosedForm):
    """Take Gaussians with a shared covariance, and the Bayes rule.

    ``score_c = m_c' P x - m_c' P m_c / 2 + log prior_c`` with ``P = ((1 - s) S / n + s tr(S / n) / d I)^-1`` and S the
    within-class scatter of n samples. This is scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr",
    shrinkage=s)``.

    That treats every mean as known. With `empirical_bayes`, true means are drawn around their centre with covariance b
    C (b by moments). The mean of n_c samples is then moved toward the centre by ``h = b / (b + 1 / n_c)``, and its
    class is wider by ``v = b / (1 + b n_c)``: see `few_sample_terms`. Classes of many samples are as before; a class of
    a few is neither lost nor everywhere.

    It costs O(d^3 + k d^2), whatever the number of samples; O(d k + k d n) a step where the memory keeps an inverse and
    n samples came (`keep=extend.Keep(inverse=True)`). The memory is the pooled scatter, 4 d^2 bytes. Do not use it for
    classes of very different spread: see `Gaussian`.

    Parameters
    ----------
    shrinkage
        s in [0, 1]. None takes the strength that was frozen when the classifier was wrapped, or else chooses it by OAS
        (`extend.memory.strengths.oas`).
    priors
        ``"uniform"``, or ``"empirical"`` for the classes' shares of the samples.
    empirical_bayes
        Allow for how few samples a class has. Without it the head is exactly scikit-learn's.

    References
    ----------
    Fisher 1936, The use of multiple measurements; Hayes & Kanan 2020, Lifelong machine learning with deep streaming
    LDA, equation 2; Ioffe 2006, Probabilistic LDA, section 2; Efron & Morris 1973 (b by moments).

    Examples
    --------
    >>> from extend.methods import LDA
    >>> LDA(shrinkage=0.1).priors
    'uniform'
    """

    shrinkage: float | None = None
    priors: Literal["uniform", "empirical"] = "uniform"
    empirical_bayes: bool = True
    name: ClassVar[str] = "lda"

    def __post_init__(self) -> None:
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise ArgumentError(f"shrinkage is {self.shrinkage}; expected a number from 0 to 1, or None")

    def fit(self, memory: Memory) -> LinearHead:
        known = memory.statistics
        n = max(1, int(known.count.sum()))
        if self.shrinkage == 1:
            directions = known.mean.T * (n / unit_scatter(known))
            noise = 0.0
        else:
            strength, share = memory.shared_strength(self.shrinkage)
            product, noise = _solved(memory, strength, share, self.empirical_bayes)
            directions = product * (n / (1 - share))
        with one_thread(4 * directions.size):  # Threads woken here would spin into the next solve: 120 ms, not 45.
            centre, towards, length = _centred(known, directions)
            held = held_centre(centre, spreads(known))
            if noise:
                keep, wider, constant = few_sample_terms(known.count, length, noise)
                kernel = (directions - towards[:, None]) * (keep / (1 + wider))
                bias = constant - 0.5 * length * keep**2 / (1 + wider) - (centre - held) @ kernel
            elif held.any():  # The same scores, less what all classes have in common.
                kernel, bias = directions - towards[:, None], -0.5 * length
            else:
                kernel, bias = directions, -0.5 * (known.mean.T * directions).sum(axis=0)
        if self.priors == "empirical":
            bias = bias + np.log(np.maximum(known.count, 1e-3) / n)
        return LinearHead.of(kernel, bias, memory.offset, centre=held)

    def leave_one_out(
        self, memory: Memory, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        """Return the scores of rows that are in the memory, each row as if it alone were not.

        Without row x of a class of n, the scatter loses ``v v'`` with ``v = sqrt(n / (n - 1)) (x - m)``: one solve for
        all rows, then the formula of Sherman & Morrison 1950. The centre and b stay as they are.
        """
        known = memory.statistics
        strength, share = memory.shared_strength(self.shrinkage if self.shrinkage != 1 else None)
        m, k, n = len(rows), len(known.count), known.count[labels]
        scale = known.count.sum() / (1 - share)
        solved = scale * known.pool.solve(strength, np.concatenate([known.mean.T, rows.T], axis=1))
        centre, towards, length = _centred(known, solved[:, :k])
        means, points = (solved - towards[:, None])[:, :k], (solved - towards[:, None])[:, k:]
        away, mean = rows - centre, known.mean - centre
        u = (points - means[:, labels]) * np.sqrt(n / (n - 1))
        left = np.maximum(
            1 - ((rows - known.mean[labels]) * np.sqrt(n / (n - 1))[:, None] * u.T).sum(axis=1) / scale, 1e-9
        )
        step = (u / np.sqrt(scale * left)).T  # The inverse gains step step'.
        along, crossing = (away * step).sum(axis=1), step @ mean.T
        lengths, products = length + crossing**2, away @ means + along[:, None] * crossing
        moved = mean[labels] - (rows - known.mean[labels]) / (n - 1)[:, None]
        own = (means[:, labels] - (points - means[:, labels]) / (n - 1)).T  # The inverse times the moved mean.
        through = (moved * step).sum(axis=1)
        lengths[np.arange(m), labels] = (moved * own).sum(axis=1) + through**2
        products[np.arange(m), labels] = (away * own).sum(axis=1) + along * through
        count = np.broadcast_to(known.count, (m, k)).astype(float)
        count[np.arange(m), labels] -= 1
        noise = _solved(memory, strength, share, True)[1] if self.empirical_bayes else 0.0
        if not noise:
            return products - 0.5 * lengths
        keep, wider, constant = few_sample_terms(count, lengths, noise, _between(known.count, length, noise))
        return (products * keep - 0.5 * lengths * keep**2) / (1 + wider) + constant


def few_sample_terms(
    count: Float[np.ndarray, "*m k"], length: Float[np.ndarray, "*m k"], noise: float, between: float | None = None
) -> tuple[Float[np.ndarray, "*m k"], Float[np.ndarray, "*m k"], Float[np.ndarray, "*m k"]]:
    """Return how far each mean is trusted, how much wider its class is, and the constant that belongs to it.

    The posterior predictive density of a class is ``N(centre + h (m_c - centre), (1 + v) C)`` with ``h = b / (b + 1 /
    n_c)`` and ``v = b / (1 + b n_c)``. Its log is ``-(1 / (1 + v)) D / 2 - f log(1 + v) / 2``, where D is the distance
    and f the effective number of features; the part of D that all classes share is taken at its mean, ``f (1 + b)``, so
    that the score stays linear.

    Parameters
    ----------
    count
        The number of samples of each class.
    length
        ``(m_c - centre)' P (m_c - centre)``.
    noise
        f, as `mean_noise` gives it.
    between
        b; None takes it from the lengths.
    """
    b = between if between is not None else _between(count, length, noise)
    count = np.maximum(count, 1e-3)
    keep, wider = b / (b + 1 / count), b / (1 + b * count)
    return keep, wider, 0.5 * noise * ((1 + b) * wider / (1 + wider) - np.log1p(wider))


def _between(count: np.ndarray, length: np.ndarray, noise: float) -> float:
    """The variance of the true means in units of the covariance, by moments: ``E length = f (b + 1 / n_c)``."""
    weight = count / (count + 1)
    k = max(2, int((count > 0).sum()))
    found = (weight * (length / noise - 1 / np.maximum(count, 1))).sum() / weight.sum() * k / (k - 1)
    return max(1e-3, float(found))


def _centred(
    known: Statistics, directions: Float[np.ndarray, "d k"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"], Float[np.ndarray, " k"]]:
    """The centre of the means, P times it, and each mean's squared length from it."""
    weight = known.count / (known.count + 1)
    weight = weight / weight.sum()
    centre, towards = weight @ known.mean, directions @ weight
    away = known.mean - centre
    return centre, towards, np.maximum((away.T * (directions - towards[:, None])).sum(axis=0), 0)


def mean_noise(memory: Memory, shrinkage: float | None = None) -> float:
    """Return ``tr(P C)``, C the within-class covariance: the effective number of features, at most about d."""
    return _solved(memory, *memory.shared_strength(shrinkage), True)[1]


def _solved(memory: Memory, strength: float, share: float, noisy: bool) -> tuple[np.ndarray, float]:
    """``(S + strength I)^-1`` times the means, ``[d, k]``, and (0 unless `noisy`) what `mean_noise` is."""
    known = memory.statistics
    kept = memory.inverse_at(strength)
    if kept is not None:
        product, trace = kept.product, float(np.trace(kept.matrix))
    elif noisy:
        product, trace = known.pool.solve_and_trace(strength, known.mean.T)
    else:
        return known.pool.solve(strength, known.mean.T), 0.0
    d, total, k = known.mean.shape[1], int(known.count.sum()), int((known.count > 0).sum())
    # With one sample a class nothing is known of their spread.
    return product, max(0.0, (d - strength * trace) * total / (1 - share) / (total - k)) if total > k > 1 else 0.0
