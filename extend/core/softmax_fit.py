"""The numerical part of logistic regression: a penalised, weighted softmax loss, and its minimum.

In NumPy, not XLA: the two matrix products of a step are BLAS's either way, and nothing is compiled again when a class
or a row is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from jaxtyping import Float, Int

from extend.core.linalg import one_thread

BLOCK = 1 << 22
"""Scores that are held at a time: a block of rows that stays near the processor, and bounds the memory."""


@dataclass(frozen=True, eq=False)
class SoftmaxProblem:
    """``sum_i w_i (logsumexp(s_i) - s_i[y_i]) + strength / 2 |W - W_0|^2`` with ``s = Z W + b``, over W and b.

    The bias is free.

    Parameters
    ----------
    rows
        Z, float32 or float64 ``[m, d]``; products are of that precision, sums are float64.
    labels
        y, the class of each row.
    weight
        w, how many samples each row stands for.
    prior
        ``W_0 [d, k]``.
    strength
        The strength of the penalty, at least 0; scikit-learn's ``1 / C``.
    """

    rows: Float[np.ndarray, "m d"]
    labels: Int[np.ndarray, " m"]
    weight: Float[np.ndarray, " m"]
    prior: Float[np.ndarray, "d k"]
    strength: float

    def loss(
        self, kernel: Float[np.ndarray, "d k"], bias: Float[np.ndarray, " k"]
    ) -> tuple[float, Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
        """Return the loss and its gradient by W and by b, from one pass over the rows."""
        narrow, offset = (part.astype(self.rows.dtype) for part in (kernel, bias))
        value, slope, slopes = 0.0, np.zeros(kernel.shape), np.zeros(bias.shape)
        for rows, labels, weight in self._blocks():
            own = np.arange(len(rows)), labels
            scores = rows @ narrow
            scores += offset
            scores -= scores.max(axis=1, keepdims=True)
            mine = scores[own].astype(np.float64)
            np.exp(scores, out=scores)
            total = scores.sum(axis=1, keepdims=True)
            value += float(weight @ (np.log(total[:, 0].astype(np.float64)) - mine))
            scores *= weight[:, None].astype(scores.dtype) / total
            scores[own] -= weight.astype(scores.dtype)
            slope += rows.T @ scores
            slopes += scores.sum(axis=0, dtype=np.float64)
        away = kernel - self.prior
        return value + self.strength / 2 * float(np.vdot(away, away)), slope + self.strength * away, slopes

    def curvature(self, kernel: Float[np.ndarray, "d k"], bias: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Return ``sum_i w_i p_ic (1 - p_ic)`` of each class, in float64: how sharply its columns bend the loss."""
        narrow, offset = (part.astype(self.rows.dtype) for part in (kernel, bias))
        found = np.zeros(len(bias))
        for rows, _, weight in self._blocks():
            scores = rows @ narrow + offset
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores /= scores.sum(axis=1, keepdims=True)
            found += weight @ (scores - scores**2).astype(np.float64)
        return found

    def minimum(
        self, kernel: Float[np.ndarray, "d k"], bias: Float[np.ndarray, " k"], steps: int, tolerance: float
    ) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
        """Return W and b of the least loss, from these: L-BFGS, at most so many steps.

        It ends before where a step lowers the loss by less than the share `tolerance`. Each class's columns are scaled
        by its curvature at the start.

        References
        ----------
        Liu & Nocedal 1989, On the limited memory BFGS method for large scale optimization.
        """
        bend = self.curvature(kernel, bias)
        bend += 1e-3 * self.weight.sum() / len(bend)
        scale = np.concatenate([np.tile(1 / np.sqrt(bend + self.strength), len(kernel)), 1 / np.sqrt(bend)])

        def scaled(point: np.ndarray) -> tuple[float, np.ndarray]:
            point = point * scale
            value, slope, slopes = self.loss(point[: kernel.size].reshape(kernel.shape), point[kernel.size :])
            return value, np.concatenate([slope.ravel(), slopes]) * scale

        options = {"maxiter": steps, "maxcor": 10, "ftol": tolerance, "gtol": 1e-6 * tolerance**0.5}
        start = np.concatenate([kernel.ravel(), bias]) / scale
        with one_thread(4 * self.rows.shape[0] * kernel.size):
            found = scipy.optimize.minimize(scaled, start, jac=True, method="L-BFGS-B", options=options).x * scale
        return found[: kernel.size].reshape(kernel.shape), found[kernel.size :]

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        size = max(1, BLOCK // self.prior.shape[1])
        for start in range(0, len(self.rows), size):
            stop = start + size
            yield self.rows[start:stop], self.labels[start:stop], self.weight[start:stop]
