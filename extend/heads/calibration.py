"""Small corrections of scores, fitted on held-out rows: temperature, bias correction, weight alignment."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated


def class_weights(labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return row weights: every class that is there has the same total weight, and the weights sum to 1."""
    counts = np.bincount(labels)
    return 1 / counts[labels] / (counts > 0).sum()


def temperature(scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """Find the temperature of lowest class-averaged log-loss.

    Each of the n rows counts as 1 / (n + 2) of a sample of the other classes: otherwise rows that are all right would
    ask for a temperature of zero.

    Returns
    -------
    tuple of float
        The temperature, and the log-loss at it in nats.

    References
    ----------
    Guo et al. 2017, section 4.2 (temperature scaling); Platt 1999, section 2.2 (the targets).

    Examples
    --------
    >>> found, loss = temperature(np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]]), np.array([0, 0, 1, 1]))
    >>> found > 5
    True
    """
    target, weights = _target(scores, labels), class_weights(labels)
    apart = scores - scores.mean(axis=1, keepdims=True)
    unit = float(apart.std()) or 1.0

    def loss(log_temperature: float) -> float:
        return _loss(apart / (unit * np.exp(log_temperature)), target, weights)

    found = minimize_scalar(loss, bounds=(-10.0, 10.0), method="bounded", options={"xatol": 1e-3})
    return float(unit * np.exp(found.x)), float(found.fun)


def bias_correction(
    scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], new: Bool[np.ndarray, " k"]
) -> tuple[float, float]:
    """Find ``(alpha, beta)``, alpha > 0, so that new classes' scores become ``alpha score + beta``.

    They have the lowest class-averaged log-loss on these rows, with all scores at their best temperature, because a
    method's raw scores may be of any size; the targets are those of `temperature`.

    Parameters
    ----------
    new
        Which columns are new.

    References
    ----------
    BiC: Wu et al. 2019, equation 4.
    """
    target, weights = _target(scores, labels), class_weights(labels)
    unit = temperature(scores, labels)[0]
    natural = scores / unit

    def loss(values: np.ndarray) -> float:
        log_alpha, beta, log_factor = values
        corrected = np.where(new, np.exp(log_alpha) * natural + beta, natural) * np.exp(log_factor)
        return _loss(corrected, target, weights)

    options = {"xatol": 1e-4, "fatol": 1e-7, "maxiter": 2000}
    found = minimize(loss, np.zeros(3), method="Nelder-Mead", options=options)
    log_alpha, beta = np.clip(found.x[:2], [-5.0, -1e3], [5.0, 1e3])
    return float(np.exp(log_alpha)), float(beta * unit)


def align_weights(head: Head, new: Bool[np.ndarray, " k"]) -> Calibrated:
    """Scale the new columns so that their mean norm is the old columns' mean norm.

    Kernel and bias are scaled together.

    Raises
    ------
    ArgumentError
        The head is not linear, or all columns are new or old.

    References
    ----------
    WA: Zhao et al. 2020, equation 9.
    """
    calibrated = Calibrated.of(head)
    linear = calibrated.head.as_linear()
    if linear is None:
        raise ArgumentError("weight alignment compares kernels of columns; a head of Gaussians has none")
    if new.all() or not new.any():
        raise ArgumentError("weight alignment needs both old and new classes")
    kernel, _ = linear.dense(linear.rows[1])
    norms = np.linalg.norm(kernel.astype(np.float64), axis=0) * np.abs(calibrated.scale)
    gamma = norms[~new].mean() / (norms[new].mean() or 1.0)
    scale = np.where(new, np.asarray(calibrated.scale) * gamma, calibrated.scale).astype(np.float32)
    return Calibrated(calibrated.head, scale, calibrated.offset, calibrated.temperature)


def _target(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    doubt = 1 / (len(labels) + 2)
    target = np.full(scores.shape, doubt / max(1, scores.shape[1] - 1))
    target[np.arange(len(labels)), labels] = 1 - doubt
    return target


def _loss(scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ (logsumexp(scores, axis=1) - (target * scores).sum(axis=1)))
