"""New columns without a memory and without an old sample: what the old columns themselves tell of the old classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import LinearHead
from extend.memory.memory import Memory

EDGE = 0.05
"""The share of new samples that may lie on the far side of the edge that the offset is set by."""


@dataclass(frozen=True)
class Imprint:
    """Append ``w = g W l`` with l the new class's mean old logits, centred; everything old keeps its bits.

    Weight imprinting (Qi et al. 2018, equation 4) takes the class's normalised mean feature as its column, on a network
    trained for that. Here the mean is read through the old columns W (centred over classes): in a network trained to
    the end they point to the old classes' means (neural collapse, Papyan et al. 2020), so ``l = W' m + b`` is the part
    of the new mean that is comparable with them. g gives the new column their mean norm. The new classes' common offset
    is the largest at which at most `budget` of a pseudo-sample of the old classes is taken for a new one: the new
    samples' own spread, moved along each old column until that class leads by `margin` nats, as real old samples do.
    Where the new samples win with room to spare there, it is lowered by half of that room (what 95 % of them have):
    inputs that are like neither stay with the old classes.

    Costs O(n d k), and no memory. For one or two additions, until a memory can be had: that is far better, and
    measured; what the pseudo-sample promises is not the truth where classes are many. For a linear head of at least two
    classes.

    Args:
        budget: share of the pseudo-sample, from 0 to 1.
        margin: log-odds of an old class on its pseudo-sample.
        draws: pseudo-samples a class.

    >>> from extend.methods import Imprint
    >>> Imprint().budget
    0.02
    """

    budget: float = 0.02
    margin: float = 3.0
    draws: int = 200
    needs_memory: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.budget <= 1 or not 0 < self.margin < 100 or self.draws < 1:
            raise ArgumentError(f"{self}: expected budget from 0 to 1, margin from 0 to 100, draws >= 1")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> Calibrated:
        if head is None or head.num_classes >= len(new.classes):
            raise ArgumentError("imprint appends columns for new classes, and none of these is new; use lda or ridge")
        old = Calibrated.of(head)
        if not isinstance(old.head, LinearHead) or old.num_classes < 2:
            raise ArgumentError("imprint reads the columns of a linear head of at least two classes; use lda or ridge")
        start, stop = old.rows
        kernel, bias = (np.asarray(a, np.float64) for a in old.dense(stop))
        kernel = kernel[start:]
        fresh = new.labels >= old.num_classes
        rows, labels = new.features[fresh, start:stop].astype(np.float64), new.labels[fresh]
        classes = np.arange(old.num_classes, len(new.classes))
        means = np.stack([rows[labels == label].mean(axis=0) for label in classes])

        centred, level = kernel - kernel.mean(axis=1, keepdims=True), bias - bias.mean()
        logits = means @ centred + level
        directions = centred @ logits.T
        gain = np.linalg.norm(centred, axis=0).mean() / np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
        # The old columns' common part is in all scores alike.
        columns, shift = gain * directions + kernel.mean(axis=1, keepdims=True), gain * (logits @ level)
        spread = rows - means[labels - old.num_classes]
        pseudo, truth = self._pseudo(kernel, bias, means.mean(axis=0), spread, key)
        before = pseudo @ kernel + bias
        right = before.argmax(axis=1) == truth
        lead = before[np.arange(len(truth)), truth] - (pseudo @ columns + shift).max(axis=1)
        offset = np.quantile(lead[right], self.budget, method="lower") if right.any() else 0.0
        own = (rows @ columns + shift)[np.arange(len(rows)), labels - old.num_classes]
        spare = np.quantile(own + offset - (rows @ kernel + bias).max(axis=1), EDGE)
        offset -= max(spare, 0.0) / 2
        return old.append(columns, shift + np.nextafter(offset, -np.inf) - 1e-4 * (1 + abs(offset)), start)

    def _pseudo(
        self, kernel: np.ndarray, bias: np.ndarray, mean: np.ndarray, spread: np.ndarray, key: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Stand-ins for the old classes, ``[k draws, d]``, and their labels."""
        k = kernel.shape[1]
        rng = np.random.default_rng(key)
        centred, level = kernel - kernel.mean(axis=1, keepdims=True), bias - bias.mean()
        plain = mean - np.linalg.pinv(centred.T, rcond=0.1) @ (mean @ centred + level)  # Where no old class leads.
        rows = []
        for label in range(k):
            direction = centred[:, label] / max(np.linalg.norm(centred[:, label]), 1e-12)
            start, slope = plain @ kernel + bias, direction @ kernel
            low, high = 0.0, 1e3
            for _ in range(60):
                middle = (low + high) / 2
                scores = start + middle * slope
                ahead = scores[label] - logsumexp(np.delete(scores, label)) >= self.margin
                low, high = (low, middle) if ahead else (middle, high)
            rows.append(plain + high * direction + spread[rng.integers(0, len(spread), self.draws)])
        return np.concatenate(rows), np.repeat(np.arange(k), self.draws)
