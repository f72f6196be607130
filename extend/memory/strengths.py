"""The strengths of LDA's shrinkage and of ridge regression, and the centre, chosen from the statistics alone.

All of them follow the scale of the features: at 1e-8 or 1e8 times the features, heads do the same.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from extend.core.scatter import Scatter
from extend.memory.statistics import Statistics

TOO_WIDE = 100.0
"""How many times the median spread a feature's may be before shrinkage drowns the others in it.

LDA lost nothing at 100, a quarter of its accuracy at 300 and more than half at 1,000, with one such column of 32; with
eight, half at 100. Ridge, and so `auto`, lost 1 to 2 points at 100.
"""
FAR = 16.0
"""How many spreads a column's centre lies from 0 before it costs float32 scores more than a digit."""


def average_scatter(known: Statistics) -> float:
    """Return the within-class scatter of a feature, averaged over features; 0 where rounding is all that there is."""
    average = known.pool.trace() / known.mean.shape[1]
    size = float((known.count @ known.mean**2).mean())
    return average if average > 1e-30 * size else 0.0


def unit_scatter(known: Statistics) -> float:
    """Return a scatter to measure others by, which is never 0.

    It is the average within-class scatter of a feature; that between classes where the samples of every class are
    equal; and 1 where all samples are.
    """
    if average := average_scatter(known):
        return average
    away = known.mean - known.count @ known.mean / max(1, int(known.count.sum()))
    between = float((known.count @ away**2).mean())
    return between if between > 1e-30 * float((known.count @ known.mean**2).mean()) else 1.0


def held_centre(centre: Float[np.ndarray, " d"], spread: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Return the centre that a head is to hold: this one, or 0 where no feature lies far from 0 beside its spread."""
    return centre if (np.abs(centre) > FAR * spread).any() else np.zeros_like(centre)


def spreads(known: Statistics) -> Float[np.ndarray, " d"]:
    """Return the standard deviation of each feature over all samples."""
    n = max(1, int(known.count.sum()))
    between = known.count @ (known.mean - known.count @ known.mean / n) ** 2
    return np.sqrt((known.pool.diagonal() + between) / n)


def wide_feature(spread: Float[np.ndarray, " d"]) -> tuple[int, float] | None:
    """Return the feature of largest spread and how many times the median that is; None where that is bearable.

    Features that do not move count for nothing.
    """
    moving = spread[spread > 0]
    if not len(moving):
        return None
    place, ratio = int(spread.argmax()), float(spread.max() / np.median(moving))
    return (place, ratio) if ratio > TOO_WIDE else None


def oas(known: Statistics) -> float:
    """Return the oracle-approximating shrinkage strength, in scatter units: lambda in ``S + lambda I``.

    S is the pooled within-class scatter, taken with n - k degrees of freedom.

    References
    ----------
    Chen, Wiesel, Eldar & Hero 2010, Shrinkage algorithms for MMSE covariance estimation, equation 23.
    """
    d = known.mean.shape[1]
    freedom = max(1, int(known.count.sum()) - len(known.count))
    average = average_scatter(known)
    if average == 0:
        return unit_scatter(known)  # All samples of a class are equal: any strength gives nearest means.
    square = known.pool.square() / d**2
    denominator = (freedom + 1) * (square - average**2 / d)
    share = 1.0 if denominator <= 0 else min(1.0, (square + average**2) / denominator)
    return float(average * (share / (1 - share) if share < 0.999 else 999.0))


def gcv(known: Statistics) -> float:
    """Return the ridge strength that minimises ``RSS(strength) / (1 - trace(H) / n)^2``.

    The cost is one eigendecomposition, O(d^3); then 81 strengths between 1e-8 and 1 times the largest eigenvalue are
    tried.

    References
    ----------
    Golub, Heath & Wahba 1979, Generalized cross-validation as a method for choosing a good ridge parameter.
    """
    total, cross, _, _ = moments(known, np.ones(len(known.count)))
    n = int(known.count.sum())
    values, vectors = total.eigen()
    if not len(values) or values[-1] == 0:
        return unit_scatter(known)  # No variance at all: the strength changes nothing.
    power = ((vectors.T @ cross) ** 2).sum(axis=1)
    square = float((known.count * (1 - known.count / n)).sum())
    strengths = values[-1] * np.logspace(-8, 0, 81)
    shrunk = values + strengths[:, None]
    residual = square - (power * (values + 2 * strengths[:, None]) / shrunk**2).sum(axis=1)
    freedom = 1 + (values / shrunk).sum(axis=1)
    left = np.maximum(1 - freedom / n, 1e-6)
    return float(strengths[np.argmin(np.maximum(residual, 0) / left**2)])


def moments(
    known: Statistics, weights: Float[np.ndarray, " k"], *, centred: bool = True, weighted: bool = False
) -> tuple[Scatter, Float[np.ndarray, "d k"], Float[np.ndarray, " d"], Float[np.ndarray, " k"]]:
    """Return what regression to one-hot targets needs: total scatter, cross scatter, centre, and the targets' mean.

    Parameters
    ----------
    weights
        The weight of each sample of a class.
    centred
        Take the scatter about the weighted mean of all samples; otherwise about 0.
    weighted
        Weigh the within-class scatters too, which needs one for each class; otherwise the weights must all be 1.
    """
    within = known.weighted(weights) if weighted else known.pool
    count = known.count * weights
    centre = count @ known.mean / count.sum() if centred else np.zeros(known.mean.shape[1])
    away = known.mean - centre
    return within.plus(np.sqrt(count)[:, None] * away), (count[:, None] * away).T, centre, count / count.sum()


def shared_strength(known: Statistics, strength: float | None, share: float | None = None) -> tuple[float, float]:
    """Return lambda in ``S + lambda I``, and the share s in ``(1 - s) S + s tr(S) / d I`` that it amounts to.

    Parameters
    ----------
    strength
        lambda; None for the one that `oas` chooses.
    share
        s, in place of lambda.
    """
    average = average_scatter(known)
    if share is not None:
        strength = share / (1 - share) * average
    elif strength is None:
        strength = oas(known)
    if average <= 0:
        return strength or unit_scatter(known), 0.0  # All samples of a class are equal: nearest means.
    strength = max(strength, 1e-10 * average)  # A strength of nothing leaves a singular scatter singular.
    return strength, strength / (strength + average)
