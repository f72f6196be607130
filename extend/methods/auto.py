"""Choose among the closed forms by what they do on held-out features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from extend.backbone import Backbone
from extend.heads import Calibrated, Head, class_weights, temperature
from extend.memory import Memory
from extend.methods.base import ClosedForm, Need, OnFeatures
from extend.methods.blend import Blend
from extend.methods.choice import Choice, Chosen, Score
from extend.methods.frozen import thawed
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.increment import Increment
from extend.methods.judging import Judges
from extend.methods.lda import LDA
from extend.methods.logistic import Logistic
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import NewUnits
from extend.methods.ridge import Ridge

STURDY = ("lda", "gaussian", "logistic", "blend", "nearest_mean", "ridge")
"""The methods in the order in which they are to be had where all classes that are known are told apart as well: on the
digits, with new classes of 1 to 20 samples, LDA ends within 2.2 points of the best method, ridge within 10.1."""
ENOUGH = 500
"""On so many rows without an error the first candidates end the search."""


@dataclass(frozen=True)
class Auto(ClosedForm):
    """Take, of the candidates that are as accurate as the best and tell as much, the one that needs the fewest samples.

    As accurate, and telling as much, is what lies within one paired standard error of the best accuracy and, of these,
    of the lowest log-loss. Among such equals the classes to come decide, which may have few samples: `STURDY` has the
    order.

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
    8
    """

    candidates: tuple[ClosedForm, ...] = (
        LDA(),
        Ridge(),
        NearestMean(),
        Gaussian(),
        Ridge(balanced=True),
        NearestMean("cosine"),
        Logistic(),
        Blend(),
    )
    name: ClassVar[str] = "auto"
    linear: ClassVar[bool] = False
    exclusive_only: ClassVar[bool] = False
    chooses: ClassVar[bool] = True

    @classmethod
    def for_(cls, backbone: Backbone) -> Auto:
        """Return what chooses for a backbone: among linear heads alone for a file of another framework."""
        made = cls()
        return made if backbone.own_format is None else made._of_linear()

    def _of_linear(self) -> Auto:
        return replace(self, candidates=tuple(method for method in self.candidates if method.linear))

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
        able = self._of_linear() if increment.linear_only else self
        chosen = increment.classifier.recipe.chosen
        kept = thawed(chosen, able.candidates, len(increment.rows.classes)) if chosen else None
        if kept is not None and increment.memory is not None and kept.method.comparable(increment.memory):
            return kept, ""
        return able, ""

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()) -> Choice:
        """Fit candidates, score them, and take one.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for those of the choosing half.
        """
        judges = Judges.of(memory, memory.choosing if use is None else use)
        if len(judges.unseen):
            return self._unjudged(memory, memory.classes[judges.unseen[0]])
        truth, found = judges.truth, list[_Tried]()
        weights = class_weights(truth)
        for method in self.candidates:
            if not method.comparable(memory):
                continue
            own = method.choose(memory, use, [one.choice for one in found])
            fitted = Calibrated.of(own.head)
            scores = judges.scores(cast(ClosedForm, own.method), fitted)
            right = scores.argmax(axis=1) == truth
            best, loss = temperature(scores, truth)
            head = replace(fitted, temperature=np.float32(best))
            each = logsumexp(scores / best, axis=1) - scores[np.arange(len(truth)), truth] / best
            found.append(_Tried(own, Score(own.method, float(weights @ right), loss), head, right, each))
            if right.all() and len(truth) >= ENOUGH:
                break  # Nothing can be more accurate.
        _, near = pick([one.score for one in found], [one.right for one in found], truth)
        taken = _sturdiest(found, near, weights)
        why = f"the best of {len(found)} on {len(truth)} rows"
        best_method, head = found[taken].score.method, found[taken].head
        chosen = Chosen(best_method, float(head.temperature), len(memory.classes))
        return Choice(best_method, head, tuple(one.score for one in found), why, chosen)

    def _unjudged(self, memory: Memory, name: str) -> Choice:
        """What is taken where nothing of a class is there to judge by."""
        cosine = NearestMean("cosine")
        if memory.statistics.count.max() == 1 and cosine in self.candidates:
            return Choice(cosine, cosine.fit(memory), (), "one sample of each class tells nothing of their spread")
        first = self.candidates[0]
        reason = f"the first of the fixed order, as nothing of {name!r} is there to judge by"
        return Choice(first, first.fit(memory), (), reason)


class _Tried(NamedTuple):
    """A candidate, its score and its head at the best temperature, and on which rows it was right."""

    choice: Choice
    score: Score
    head: Calibrated
    right: Bool[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]
    """The log-loss of each row at the best temperature."""


def _sturdiest(found: Sequence[_Tried], near: Sequence[int], weights: Float[np.ndarray, " n"]) -> int:
    """Of these candidates, the one that needs the fewest samples of those whose log-loss is as low as the lowest."""
    best = min(near, key=lambda place: found[place].score.log_loss)

    def as_low(place: int) -> bool:
        more = found[place].losses - found[best].losses
        mean = float(weights @ more)
        return mean <= float(np.sqrt((weights**2) @ (more - mean) ** 2))

    def need(place: int) -> tuple[int, float]:
        name = found[place].score.method.name
        return STURDY.index(name) if name in STURDY else len(STURDY), found[place].score.log_loss

    return min((place for place in near if place == best or as_low(place)), key=need)


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


def _paired_error(one: Bool[np.ndarray, " n"], two: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> float:
    """Standard error of the difference of two class-averaged accuracies on the same rows, if there is none.

    Under that hypothesis rows on which they differ are as likely to fall either way (McNemar 1947): one such row
    decides nothing.
    """
    return float(np.sqrt((class_weights(labels)[one != two] ** 2).sum())) * (1 + 1e-9)
