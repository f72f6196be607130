"""Choose among the closed forms by what they do on held-out features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.calibration import class_weights, temperature
from extend.memory.memory import Memory
from extend.memory.rows import FEWEST
from extend.methods.base import ClosedForm, Method
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.lda import LDA
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
    head: Head
    scores: tuple[Score, ...]
    reason: str


@dataclass(frozen=True)
class Auto:
    """Of the candidates within one paired standard error of the best accuracy, the one with the lowest log-loss.

    Accuracy and log-loss are averaged over classes, on the memory's held-out features and, for classes of 2 to 9
    samples, by leaving each out (Allen 1974); each candidate's log-loss is taken at its best temperature, which the
    chosen head keeps (Guo et al. 2017). The order of `candidates` decides ties, and everything while a class cannot be
    seen at all: a choice that cannot see a class may well lose it. Gaussians stand aside while a class has fewer than
    10 samples, and whatever needs a scatter a class where there is one for all. Without a memory: `Imprint`.

    Costs what the candidates cost together. Not where a method is required to be the same from one addition to the
    next.

    >>> from extend.methods import Auto
    >>> len(Auto().candidates)
    6
    """

    candidates: tuple[ClosedForm | Gaussian, ...] = (
        LDA(),
        Ridge(),
        NearestMean(),
        Gaussian(),
        Ridge(balanced=True),
        NearestMean("cosine"),
    )
    needs_memory: ClassVar[bool] = False

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> Head:
        return self.choose(head, memory, new, key).head

    def choose(
        self, head: Head | None, memory: Memory | None, new: Features, key: int, use: np.ndarray | None = None
    ) -> Choice:
        """Fit every candidate, score it, and take one; `use` says which held-out rows may choose, bool ``[m]``."""
        if memory is None:
            blind = Imprint()
            return Choice(blind, blind.fit(head, memory, new, key), (), "there is no memory to choose by")
        rows, labels = memory.held_out
        if use is not None:
            rows, labels = rows[use], labels[use]
        few, few_labels = memory.few
        present = np.union1d(labels, few_labels)
        missing = np.setdiff1d(np.arange(len(memory.classes)), present)
        dark = missing[memory.total[missing] < FEWEST] if len(rows) else missing
        if len(dark):
            first = self.candidates[0]
            reason = f"the first of the fixed order, as nothing of {memory.classes[dark[0]]!r} is there to judge by"
            return Choice(first, first.fit(head, memory, new, key), (), reason)
        truth = np.concatenate([labels, few_labels])
        able = [method for method in self.candidates if _able(method, memory, len(few) > 0)]
        weights, heads, scored, right = class_weights(truth), [], [], []
        for method in able:
            fitted = Calibrated.of(method.fit(head, memory, new, key))
            scores = fitted.scores(rows)
            if len(few) and not isinstance(method, Gaussian):
                scores = np.concatenate([scores, method.leave_one_out(memory, few, few_labels)])
            right.append(scores.argmax(axis=1) == truth)
            best, loss = temperature(scores, truth)
            heads.append(replace(fitted, temperature=np.float32(best)))
            scored.append(Score(method, float(weights @ right[-1]), loss))
        taken, near = pick(scored, right, truth)
        why = f"lowest log-loss of the {len(near)} within one standard error of the best, on {len(truth)} held-out rows"
        return Choice(able[taken], heads[taken], tuple(scored), why)


def pick(scored: list[Score], right: list[np.ndarray], truth: np.ndarray) -> tuple[int, list[int]]:
    """Which is taken by the rule of `Auto`, and all that are as good as the best."""
    best = int(np.argmax([score.accuracy for score in scored]))
    near = [
        place
        for place, score in enumerate(scored)
        if scored[best].accuracy - score.accuracy <= _paired_error(right[best], right[place], truth)
    ]
    return min(near, key=lambda place: scored[place].log_loss), near


def reads_scatters(method: Method) -> bool:
    """Whether it needs a scatter a class, and not only the pooled one."""
    return isinstance(method, Gaussian) or (isinstance(method, Ridge) and method.balanced)


def _able(method: Method, memory: Memory, few: bool) -> bool:
    if reads_scatters(method) and memory.scatter_mode == "pooled":
        return False
    if isinstance(method, Ridge) and method.balanced and len(np.unique(memory.statistics.count)) == 1:
        return False  # The same as the plain one.
    return not (isinstance(method, Gaussian) and (few or (memory.total < FEWEST).any()))


def _paired_error(one: np.ndarray, two: np.ndarray, labels: np.ndarray) -> float:
    """Standard error of the difference of two class-averaged accuracies on the same rows, if there is none.

    Under that hypothesis rows on which they differ are as likely to fall either way (McNemar 1947): one such row
    decides nothing.
    """
    return float(np.sqrt((class_weights(labels)[one != two] ** 2).sum())) * (1 + 1e-9)
