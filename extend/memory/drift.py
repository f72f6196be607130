"""Where old features go when a backbone moves: a map fitted to new samples, whose features before and after are known.

An old class's samples are gone, but its mean and scatter can be carried through such a map (drift compensation). Three
maps, all float64: linear and weakly non-linear (SLDC, Rao et al. 2026), and a translation by kernel-weighted
neighbours (SDC, Yu et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

from extend.core.errors import ArgumentError
from extend.core.linalg import eigh, gram, one_thread, pack
from extend.memory.statistics import Scatters, Statistics

Kind = Literal["linear", "weak", "translation"]
DRAWS = 2048


class Drift(Protocol):
    """A map from features before to features after."""

    def rows(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return features carried over, one by one."""
        ...

    def moments(
        self, mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]
    ) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
        """Return the mean and the covariance of a class carried over."""
        ...


@dataclass(frozen=True, eq=False)
class Linear:
    """``x -> x + (x - centre) weights + shift + bend(x)``, and the covariance of what that leaves unexplained.

    Parameters
    ----------
    centre, shift, weights
        Of the linear part.
    residual
        The covariance of what the map leaves unexplained.
    bend
        ``(directions [d, m], offsets [m], weights [m, d], their mean [m])`` of the weakly non-linear map; None for the
        linear one.
    """

    centre: Float[np.ndarray, " d"]
    shift: Float[np.ndarray, " d"]
    weights: Float[np.ndarray, "d d"]
    residual: Float[np.ndarray, "d d"]
    bend: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None

    def rows(self, features: np.ndarray) -> np.ndarray:
        x = np.asarray(features, np.float64)
        with one_thread(2 * x.size * x.shape[1]):
            moved = x + (x - self.centre) @ self.weights + self.shift
            if self.bend is not None:
                moved += _bent(x - self.centre, self.bend) @ self.bend[2]
        return moved

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the covariance of a class carried over.

        They are exact for the linear map. For the weakly non-linear one they are taken over 2,048 or 2 d draws of
        exactly these moments.
        """
        if self.bend is None:
            through = np.eye(len(mean)) + self.weights
            return self.rows(mean[None])[0], through.T @ covariance @ through + self.residual
        values, vectors = eigh(covariance)
        root = (vectors * np.sqrt(values)).T
        moved = self.rows(mean + _draws(len(mean)) @ root)
        centre = moved.mean(axis=0)
        return centre, gram(moved - centre) / len(moved) + self.residual


@dataclass(frozen=True, eq=False)
class Translation:
    """``x -> x + sum_i w_i drift_i / sum_i w_i`` with ``w_i = exp(-|x - before_i|^2 / (2 sigma^2))``.

    SDC (Yu et al. 2020, equations 7 and 8). A class moves by its mean's drift; its covariance stays.
    """

    before: Float[np.ndarray, "n d"]
    drift: Float[np.ndarray, "n d"]
    sigma: float

    def rows(self, features: np.ndarray) -> np.ndarray:
        x, centre = np.asarray(features, np.float64), self.before.mean(axis=0)
        near, known = x - centre, self.before - centre
        apart = (near**2).sum(axis=1)[:, None] - 2 * near @ known.T + (known**2).sum(axis=1)
        nearness = -np.maximum(apart, 0) / (2 * self.sigma**2)
        weight = np.exp(nearness - nearness.max(axis=1, keepdims=True))
        return x + weight @ self.drift / weight.sum(axis=1, keepdims=True)

    def moments(self, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.rows(mean[None])[0], covariance


def fit_drift(
    before: Float[np.ndarray, "n d"],
    after: Float[np.ndarray, "n d"],
    kind: Kind = "linear",
    weights: Float[np.ndarray, " n"] | None = None,
) -> Linear | Translation:
    """Return the map from features of samples before to those of the same samples after.

    ``"linear"`` solves ``min_B |W^(1/2) (drift - (x - c) B)|^2 + s |B|^2``: the regularised least squares of SLDC with
    its pull towards the identity, as drift is regressed and not the features. s is chosen by generalised
    cross-validation. ``"weak"`` adds random ReLU features of x, fitted by the same rule to what the linear map leaves.
    ``"translation"`` is SDC. It costs ``n d min(n, d)`` flops.

    Parameters
    ----------
    before, after
        The features of the same samples.
    kind
        ``"linear"``, ``"weak"`` or ``"translation"``.
    weights
        The weights of the samples; None weighs them alike.

    Raises
    ------
    ArgumentError
        Shapes differ, there are fewer than two samples, or the kind is unknown.

    References
    ----------
    Rao et al. 2026, SLDC, equation 5; Yu et al. 2020, Semantic drift compensation, equations 7 and 8; Golub, Heath &
    Wahba 1979 (s).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> moved = fit_drift(x, x @ np.array([[2.0, 0.0], [0.0, 1.0]]) + 1.0)
    >>> moved.rows(np.array([[1.0, 1.0]])).round(3).tolist()
    [[3.0, 2.0]]
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if before.shape != after.shape or before.ndim != 2 or len(before) < 2:
        raise ArgumentError(
            f"features before {list(before.shape)} and after {list(after.shape)}; expected the same [n, d], n >= 2"
        )
    if kind not in ("linear", "weak", "translation"):
        raise ArgumentError(f"drift is {kind!r}; expected 'linear', 'weak' or 'translation'")
    drift = after - before
    if kind == "translation":
        spread = np.sqrt(before.var(axis=0).sum())
        return Translation(before, drift, 0.5 * float(spread) or 1.0)
    share = np.full(len(before), 1 / len(before)) if weights is None else weights / weights.sum()
    centre, shift = share @ before, share @ drift
    x, y = before - centre, drift - shift
    solved, left, used = _ridge(x, y, share)
    bend = None
    if kind == "weak":
        directions, offsets = _directions(x, share)
        rough = np.maximum(x @ directions + offsets, 0)
        middle = share @ rough
        outer, left, extra = _ridge(rough - middle, left, share)
        bend = (directions, offsets, outer, middle)
        used += extra
    room = max(1 - used / len(x), 0.1)
    return Linear(centre, shift, solved, gram(left * np.sqrt(share)[:, None]) / room, bend)


def carry(core: Statistics, drift: Drift) -> Statistics:
    """Return statistics as if their samples had gone through the map, by the moments of each class."""
    mean, within = core.mean.copy(), np.zeros_like(core.within)
    scatters = list(core.scatters) if core.scatters is not None else None
    pooled = core.within / max(1, int(np.maximum(core.count - 1, 0).sum()))
    for label in np.flatnonzero(core.count):
        freedom = core.count[label] - 1
        covariance = core.scatter(int(label)) / max(freedom, 1) if scatters is not None else pooled
        mean[label], moved = drift.moments(core.mean[label], covariance)
        if freedom:
            within += freedom * moved
            if scatters is not None:
                scatters[label] = pack(freedom * moved)
    return Statistics(core.count, mean, within, None if scatters is None else Scatters(scatters, mean.shape[1]))


def _ridge(x: np.ndarray, y: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted ridge regression of centred y on centred x: weights, residuals and degrees of freedom."""
    root = np.sqrt(share)[:, None]
    xs, ys = x * root, y * root
    with one_thread(x.size * min(x.shape)):
        if len(x) < x.shape[1]:
            values, turned = eigh(gram(xs.T))  # Of the smaller of the two Gram matrices.
            kept = values > 1e-12 * float(values[-1])
            values, vectors = values[kept], xs.T @ turned[:, kept] / np.sqrt(values[kept])
        else:
            values, vectors = eigh(gram(xs))
        cross = vectors.T @ (xs.T @ ys)
        power, total, n = (cross**2).sum(axis=1), float((ys**2).sum()), len(x)
        if not len(values) or values[-1] <= 0:
            return np.zeros((x.shape[1], y.shape[1])), y, 0.0  # All samples are one point.
        top = float(values[-1])
        best = (np.inf, top, 0.0)
        for strength in top * np.logspace(-9, 1, 41):
            share_kept = values / (values + strength)
            error = total - float((power * (2 / (values + strength) - values / (values + strength) ** 2)).sum())
            freedom = float(share_kept.sum())
            if freedom + 1 < n:
                best = min(best, (max(error, 0) / (1 - (freedom + 1) / n) ** 2, strength, freedom))
        solved = vectors @ (cross / (values + best[1])[:, None])
        return solved, y - x @ solved, best[2]


def _directions(x: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Random ReLU features of unit spread over the samples: as many as features, but 128 to 512."""
    rng = np.random.default_rng(0)
    size = min(512, max(128, x.shape[1]))
    directions = rng.standard_normal((x.shape[1], size))
    spread = np.sqrt(share @ (x @ directions) ** 2)
    return directions / np.where(spread > 0, spread, 1.0), rng.uniform(-1, 1, size)


def _bent(x: np.ndarray, bend: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    directions, offsets, _, middle = bend
    return np.maximum(x @ directions + offsets, 0) - middle


@cache
def _draws(d: int) -> np.ndarray:
    """Draws ``[m, d]`` whose mean is exactly 0 and whose covariance is exactly the identity."""
    rows = np.random.default_rng(0).standard_normal((max(DRAWS, 2 * d), d))
    rows -= rows.mean(axis=0)
    lower = np.linalg.cholesky(gram(rows) / len(rows))
    return np.linalg.solve(lower, rows.T).T
