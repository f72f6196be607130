"""Choose among the closed forms by what they do on held-out features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int

from extend.heads import Calibrated, Head, class_weights, temperature
from extend.memory import FEWEST, Memory
from extend.methods.base import ClosedForm, Need, OnFeatures
from extend.methods.choice import Choice, Score
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.increment import Increment
from extend.methods.lda import LDA
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import NewUnits
from extend.methods.ridge import Ridge


@dataclass(frozen=True)
class Auto(ClosedForm):
    """Take the candidate of lowest log-loss among those within one paired standard error of the best accuracy.

    Accuracy and log-loss are averaged over classes, on the memory's held-out features and, for classes of 2 to 9
    samples, by leaving each sample out. Each candidate's log-loss is taken at its best temperature, which the chosen
    head keeps. The order of `candidates` decides ties, and everything while a class cannot be seen at all: a choice
    that cannot see a class may well lose it. Gaussians stand aside while a class has fewer than 10 samples, and
    whatever needs a scatter matrix for each class where the memory keeps one for all.

    Without a memory `Imprint` is taken. Where classes do not exclude each other (sigmoid), `NewUnits` is.

    It costs what the candidates cost together. Do not use it where a method is required to be the same from one
    addition to the next.

    Parameters
    ----------
    candidates
        The closed forms to choose among.

    References
    ----------
    Allen 1974 (leaving out), Guo et al. 2017, On calibration of modern neural networks (temperature), McNemar 1947 (the
    paired standard error).

    Examples
    --------
    >>> from extend.methods import Auto
    >>> len(Auto().candidates)
    6
    """

    candidates: tuple[ClosedForm, ...] = (
        LDA(),
        Ridge(),
        NearestMean(),
        Gaussian(),
        Ridge(balanced=True),
        NearestMean("cosine"),
    )
    name: ClassVar[str] = "auto"
    linear: ClassVar[bool] = False
    exclusive_only: ClassVar[bool] = False
    chooses: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset()

    def fit(self, memory: Memory) -> Head:
        return self.choose(memory).head

    def fixed(self) -> OnFeatures:
        return self.candidates[0]

    def suited(self, increment: Increment) -> tuple[OnFeatures, str]:
        super().suited(increment)
        blind = increment.memory is None
        if not increment.exclusive:
            why = "columns beside the old ones, as the classes do not exclude each other (sigmoid)"
            return (Imprint() if blind else NewUnits()), why
        if blind:
            return Imprint(), "chosen: there is no memory to choose by"
        if increment.linear_only:
            return replace(self, candidates=tuple(method for method in self.candidates if method.linear)), ""
        return self, ""

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None) -> Choice:
        """Fit every candidate, score it, and take one.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for all of them.
        """
        rows, labels = memory.held_out
        if use is not None:
            rows, labels = rows[use], labels[use]
        few, few_labels = memory.few
        unseen = _unseen(memory, labels, few_labels)
        if len(unseen):
            first = self.candidates[0]
            reason = f"the first of the fixed order, as nothing of {memory.classes[unseen[0]]!r} is there to judge by"
            return Choice(first, first.fit(memory), (), reason)
        truth = np.concatenate([labels, few_labels])
        able = [method for method in self.candidates if method.comparable(memory)]
        weights, heads, scored, right = class_weights(truth), [], [], []
        for method in able:
            fitted = Calibrated.of(method.fit(memory))
            scores = fitted.scores(rows)
            if len(few):
                scores = np.concatenate([scores, method.leave_one_out(memory, few, few_labels)])
            right.append(scores.argmax(axis=1) == truth)
            best, loss = temperature(scores, truth)
            heads.append(replace(fitted, temperature=np.float32(best)))
            scored.append(Score(method, float(weights @ right[-1]), loss))
        taken, near = pick(scored, right, truth)
        why = f"lowest log-loss of the {len(near)} within one standard error of the best, on {len(truth)} held-out rows"
        return Choice(able[taken], heads[taken], tuple(scored), why)


def pick(
    scored: list[Score], right: list[Bool[np.ndarray, " n"]], truth: Int[np.ndarray, " n"]
) -> tuple[int, list[int]]:
    """Return which candidate is taken by the rule of `Auto`, and all that are as good as the best."""
    best = int(np.argmax([score.accuracy for score in scored]))
    near = [
        place
        for place, score in enumerate(scored)
        if scored[best].accuracy - score.accuracy <= _paired_error(right[best], right[place], truth)
    ]
    return min(near, key=lambda place: scored[place].log_loss), near


def _unseen(memory: Memory, labels: Int[np.ndarray, " m"], few: Int[np.ndarray, " r"]) -> Int[np.ndarray, " u"]:
    """The classes without which no choice is made: nothing of them is there to judge by.

    Where some rows are held out, a class of ten or more samples may be missing among them.
    """
    missing = np.setdiff1d(np.arange(len(memory.classes)), np.union1d(labels, few))
    return missing[memory.total[missing] < FEWEST] if len(labels) else missing


def _paired_error(one: Bool[np.ndarray, " n"], two: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """Standard error of the difference of two class-averaged accuracies on the same rows, if there is none.

    Under that hypothesis rows on which they differ are as likely to fall either way (McNemar 1947): one such row
    decides nothing.
    """
    return float(np.sqrt((class_weights(labels)[one != two] ** 2).sum())) * (1 + 1e-9)
