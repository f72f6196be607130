"""Choose among the closed forms by what they do on held-out features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from extend.features import Features
from extend.head import LinearHead
from extend.memory import Memory
from extend.methods.lda import LDA
from extend.methods.method import Method, statistics_of
from extend.methods.nearest_mean import NearestMean
from extend.methods.ridge import Ridge


@dataclass(frozen=True)
class Score:
    """How one candidate did on the held-out features: class-averaged accuracy and log-loss, both at its best scale."""

    method: Method
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Choice:
    """The method taken, its head, every candidate's score, and the reason in words."""

    method: Method
    head: LinearHead
    scores: tuple[Score, ...]
    reason: str


@dataclass(frozen=True)
class Auto:
    """Of the candidates within one paired standard error of the best accuracy, the one with the lowest log-loss.

    Accuracy and log-loss are averaged over classes, on the memory's held-out features; each candidate's log-loss is
    taken at its best temperature, which the chosen head keeps. The order of `candidates` decides ties, and everything
    while a class has no held-out features: a choice that cannot see a class may well lose it. Costs what the candidates
    cost together.

    >>> from extend.methods import Auto
    >>> len(Auto().candidates)
    3
    """

    candidates: tuple[Method, ...] = (LDA(), Ridge(), NearestMean())
    needs_memory: ClassVar[bool] = True

    def fit(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        return self.choose(head, memory, new, key).head

    def choose(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> Choice:
        """Fit every candidate, score it, and take one."""
        memory = statistics_of(memory, "auto")
        rows, labels = memory.held_out
        unseen = sorted(set(range(len(memory.classes))) - set(labels.tolist()))
        if unseen:
            first = self.candidates[0]
            fitted = first.fit(head, memory, new, key)
            reason = (
                f"the first of the fixed order, as {memory.classes[unseen[0]]!r} has no held-out features to judge by"
            )
            return Choice(first, fitted, (), reason)
        heads = [method.fit(head, memory, new, key) for method in self.candidates]
        weights = _class_weights(labels)
        scored, right = [], []
        for place, (method, fitted) in enumerate(zip(self.candidates, heads, strict=True)):
            kernel, bias = fitted.dense(rows.shape[1])
            scores = rows.astype(np.float64) @ kernel + bias
            right.append(scores.argmax(axis=1) == labels)
            heads[place], loss = _tempered(fitted, scores, labels, weights)
            scored.append(Score(method, float(weights @ right[-1]), loss))
        best = int(np.argmax([score.accuracy for score in scored]))
        near = [
            place
            for place, score in enumerate(scored)
            if scored[best].accuracy - score.accuracy <= _paired_error(right[best], right[place], labels)
        ]
        taken = min(near, key=lambda place: scored[place].log_loss)
        why = f"lowest log-loss of the {len(near)} within one standard error of the best, on {len(rows)} held-out rows"
        return Choice(self.candidates[taken], heads[taken], tuple(scored), why)


def _class_weights(labels: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels)
    return 1 / counts[labels] / (counts > 0).sum()


def _tempered(
    head: LinearHead, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[LinearHead, float]:
    """The head at the temperature that minimises its log-loss, and that log-loss (Guo et al. 2017, section 4.2).

    Of m rows, each counts as 1 / (m + 2) of a sample of the other classes (Platt 1999, section 2.2): otherwise rows
    that are all right would ask for a temperature of zero.
    """
    doubt = 1 / (len(labels) + 2)
    target = np.full(scores.shape, doubt / max(1, scores.shape[1] - 1))
    target[np.arange(len(labels)), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float(weights @ (logsumexp(scaled, axis=1) - (target * scaled).sum(axis=1)))

    found = minimize_scalar(loss, bounds=(-8.0, 8.0), method="bounded", options={"xatol": 1e-3})
    temperature = np.float32(np.exp(found.x) * float(head.temperature))
    return replace(head, temperature=temperature), float(found.fun)


def _paired_error(one: np.ndarray, two: np.ndarray, labels: np.ndarray) -> float:
    """Standard error of the difference of two class-averaged accuracies on the same rows."""
    difference = one.astype(float) - two
    present = np.unique(labels)
    parts = [difference[labels == c].var() / (labels == c).sum() for c in present]
    return float(np.sqrt(np.sum(parts)) / len(present))
