"""Small corrections of scores, fitted on held-out rows: temperature, bias correction, weight alignment."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp

from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import LinearHead


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weights ``[n]`` that sum to 1 and under which every class that is there counts the same."""
    counts = np.bincount(labels)
    return 1 / counts[labels] / (counts > 0).sum()


def temperature(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The temperature of lowest class-averaged log-loss, and that log-loss in nats (Guo et al. 2017, section 4.2).

    Of n rows, each counts as 1 / (n + 2) of a sample of the other classes (Platt 1999, section 2.2): otherwise rows
    that are all right would ask for a temperature of zero.

    Args:
        scores: float64 ``[n, k]``.
        labels: ``[n]``.

    >>> found, loss = temperature(np.array([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 0.0]]), np.array([0, 0, 1, 1]))
    >>> found > 5
    True
    """
    target, weights = _target(scores, labels), class_weights(labels)

    def loss(log_temperature: float) -> float:
        return _loss(scores / np.exp(log_temperature), target, weights)

    found = minimize_scalar(loss, bounds=(-8.0, 8.0), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


def bias_correction(scores: np.ndarray, labels: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """``(alpha, beta)``: the new classes' scores become ``alpha score + beta`` (BiC, Wu et al. 2019, equation 4).

    Those of lowest class-averaged log-loss on the held-out rows, all scores at their best temperature (a method's raw
    scores may be of any size), with Platt's targets as in `temperature`; alpha > 0.

    Args:
        scores: float64 ``[n, k]``.
        labels: ``[n]``.
        new: which columns are new, bool ``[k]``.
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


def align_weights(head: Head, new: np.ndarray) -> Calibrated:
    """The new columns scaled so that their mean norm is that of the old ones (WA, Zhao et al. 2020, equation 9).

    Kernel and bias are scaled together. On a head of several blocks, each block's columns count in the block's
    features.

    Raises:
        ValueError: the head is not linear, or all columns are new or old.
    """
    calibrated = Calibrated.of(head)
    if not isinstance(calibrated.head, LinearHead):
        raise ArgumentError("weight alignment compares kernels of columns; a head of Gaussians has none")
    if new.all() or not new.any():
        raise ArgumentError("weight alignment needs both old and new classes")
    kernel, _ = calibrated.head.dense(calibrated.head.rows[1])
    norms = np.linalg.norm(kernel, axis=0) * np.abs(calibrated.scale)
    gamma = norms[~new].mean() / max(norms[new].mean(), 1e-12)
    scale = np.where(new, np.asarray(calibrated.scale) * gamma, calibrated.scale).astype(np.float32)
    return Calibrated(calibrated.head, scale, calibrated.offset, calibrated.temperature)


def _target(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    doubt = 1 / (len(labels) + 2)
    target = np.full(scores.shape, doubt / max(1, scores.shape[1] - 1))
    target[np.arange(len(labels)), labels] = 1 - doubt
    return target


def _loss(scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ (logsumexp(scores, axis=1) - (target * scores).sum(axis=1)))
