"""New columns without a memory and without an old sample: what the old columns themselves tell of the old classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from extend.core.errors import ArgumentError
from extend.data import Features
from extend.heads import Calibrated, Head
from extend.memory import Memory, held_centre
from extend.methods.base import Appending, Need

EDGE = 0.05
"""The share of new samples that may lie on the far side of the edge that the offset is set by."""
FARTHEST = 1e3
"""How far an old class is moved along its column at most, in nats above the mean of all scores."""


@dataclass(frozen=True)
class Imprint(Appending):
    """Append ``w = g W l`` with l the new class's mean old logits, centred; everything old keeps its bits.

    Weight imprinting takes a class's normalised mean feature as its column, on a network trained for that. Here the
    mean is read through the old columns W (centred over classes). In a network trained to the end they point to the old
    classes' means (neural collapse), so ``l = W' m + b`` is the part of the new mean that is comparable with them. g
    gives the new column their mean norm.

    The new classes' common offset is the largest at which at most `budget` of a pseudo-sample of the old classes is
    taken for a new one. That pseudo-sample is the new samples' own spread, moved along each old column until the old
    class leads by `margin` nats, as real old samples do. Where the new samples win with room to spare there, the offset
    is lowered by half of that room (what 95 % of them have): inputs that are like neither stay with the old classes.

    It costs O(n d k), and no memory. Use it for one or two additions, until a memory can be had: that is far better,
    and measured; what the pseudo-sample promises is not the truth where classes are many. It needs a linear head of at
    least two classes.

    Parameters
    ----------
    budget
        The share of the pseudo-sample that may be taken for new, from 0 to 1.
    margin
        The log-odds of an old class on its pseudo-sample.
    draws
        The number of pseudo-samples for each class.

    References ---------- Qi, Brown & Lowe 2018, Low-shot learning with imprinted weights, equation 4; Papyan, Han &
    Donoho 2020, Prevalence of neural collapse.

    Examples
    --------
    >>> from extend.methods import Imprint
    >>> Imprint().budget
    0.02
    """

    budget: float = 0.02
    margin: float = 3.0
    draws: int = 200
    name: ClassVar[str] = "imprint"

    def __post_init__(self) -> None:
        if not 0 <= self.budget <= 1 or not 0 < self.margin < 100 or self.draws < 1:
            raise ArgumentError(f"{self}: expected budget from 0 to 1, margin from 0 to 100, draws >= 1")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"rows"})

    def limited(self, forgetting_limit: float) -> Imprint:
        return replace(self, budget=forgetting_limit)

    def fit(self, head: Head, memory: Memory | None, rows: Features, seed: int) -> Calibrated:
        old = self.old_columns(head, rows)
        if old.as_linear() is None or old.num_classes < 2:
            raise ArgumentError("imprint reads the columns of a linear head of at least two classes; use lda or ridge")
        start, stop = old.rows
        kernel, bias = (np.asarray(a, np.float64) for a in old.dense(stop))
        kernel = kernel[start:]
        fresh = rows.labels >= old.num_classes
        points, labels = rows.features[fresh, start:stop].astype(np.float64), rows.labels[fresh]
        classes = np.arange(old.num_classes, len(rows.classes))
        means = np.stack([points[labels == label].mean(axis=0) for label in classes])

        centred, level = kernel - kernel.mean(axis=1, keepdims=True), bias - bias.mean()
        logits = means @ centred + level
        directions = centred @ logits.T
        gain = np.linalg.norm(centred, axis=0).mean() / _above_zero(np.linalg.norm(directions, axis=0))
        # The old columns' common part is in all scores alike.
        columns, shift = gain * directions + kernel.mean(axis=1, keepdims=True), gain * (logits @ level)
        spread = points - means[labels - old.num_classes]
        pseudo, truth = self._pseudo(kernel, bias, means.mean(axis=0), spread, seed)
        before = pseudo @ kernel + bias
        right = before.argmax(axis=1) == truth
        lead = before[np.arange(len(truth)), truth] - (pseudo @ columns + shift).max(axis=1)
        offset = np.quantile(lead[right], self.budget, method="lower") if right.any() else 0.0
        own = (points @ columns + shift)[np.arange(len(points)), labels - old.num_classes]
        spare = np.quantile(own + offset - (points @ kernel + bias).max(axis=1), EDGE)
        offset -= max(spare, 0.0) / 2
        room = 1e-4 * (min(1.0, float(np.abs(before - before.mean(axis=1, keepdims=True)).max())) + abs(offset))
        held = held_centre(points.mean(axis=0), points.std(axis=0))
        bias = shift + np.nextafter(offset, -np.inf) - room + held @ columns
        return old.append(columns, bias, start, centre=held)

    def _pseudo(
        self,
        kernel: Float[np.ndarray, "d k"],
        bias: Float[np.ndarray, " k"],
        mean: Float[np.ndarray, " d"],
        spread: Float[np.ndarray, "n d"],
        seed: int,
    ) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
        """Stand-ins for the old classes, as many for each, and their labels."""
        k = kernel.shape[1]
        rng = np.random.default_rng(seed)
        centred, level = kernel - kernel.mean(axis=1, keepdims=True), bias - bias.mean()
        plain = mean - np.linalg.pinv(centred.T, rcond=0.1) @ (mean @ centred + level)  # Where no old class leads.
        rows = []
        for label in range(k):
            length = float(np.linalg.norm(centred[:, label])) or 1.0
            direction = centred[:, label] / length
            start, slope = plain @ kernel + bias, direction @ kernel
            low, high = 0.0, FARTHEST / length
            for _ in range(60):
                middle = (low + high) / 2
                scores = start + middle * slope
                ahead = scores[label] - logsumexp(np.delete(scores, label)) >= self.margin
                low, high = (low, middle) if ahead else (middle, high)
            rows.append(plain + high * direction + spread[rng.integers(0, len(spread), self.draws)])
        return np.concatenate(rows), np.repeat(np.arange(k), self.draws)


def _above_zero(length: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The lengths to divide by: 1 in place of 0."""
    return np.where(length > 0, length, 1.0)
