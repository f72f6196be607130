"""The log-linear mix of a closed form and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp, softmax

from extend.core.errors import ArgumentError
from extend.heads import Head, LinearHead, QuadraticHead, class_weights
from extend.memory import Memory
from extend.methods.base import ClosedForm, Need
from extend.methods.choice import Choice
from extend.methods.gaussian import Gaussian
from extend.methods.lda import LDA
from extend.methods.logistic import FEWEST_JUDGES, Logistic, judging_rows
from extend.methods.ridge import Ridge

PARTS: dict[str, ClosedForm] = {"gaussian": Gaussian(), "lda": LDA(), "ridge": Ridge()}
GAUSSIAN_WEIGHT = 1.0
"""How much Gaussians are shrunk toward the shared covariance, in samples a feature: a fourth of what is best alone.
What they then lose where classes are alike, logistic regression knows."""
USUAL = (0.4, 0.6)
"""The shares of the closed form and of logistic regression where nothing is held out to choose by."""


@dataclass(frozen=True)
class Blend(ClosedForm):
    """Add the scores of a closed form and of `Logistic`, each times a factor.

    ``score = a closed + b logistic`` with ``a = (1 - weight) / T_closed`` and ``b = weight / T_logistic``: the log of
    the weighted geometric mean of both parts' probabilities, each at its own temperature. a and b, at least 0, are
    those of lowest class-averaged log-loss on the held-out rows that may choose, which is a convex problem in two
    numbers. Where the closed form knows the shape of a class and logistic regression the border to the next, they err
    on different samples.

    The result is one head: linear if the closed form is, else a `extend.heads.QuadraticHead`. It costs what both parts
    cost. Do not use it where logistic regression is too slow (thousands of classes), nor with classes of a handful of
    samples, where the parts are nearly the same.

    Parameters
    ----------
    closed
        The closed form: ``"gaussian"`` (needs a scatter matrix for each class), ``"lda"`` or ``"ridge"``. On a backbone
        with ``width=``, ridge is RanPAC.
    closed_factor, logistic_factor
        a and b. None finds both by the held-out rows; see `frozen`.
    strength, temperature
        See `Logistic`.

    References
    ----------
    Genest & Zidek 1986, Combining probability distributions, section 3.2 (the log-linear pool); Raina et al. 2003,
    Classification with hybrid generative/discriminative models, equation 8.

    Examples
    --------
    >>> from extend.methods import Blend
    >>> Blend("lda").closed
    'lda'
    """

    closed: Literal["gaussian", "lda", "ridge"] = "gaussian"
    closed_factor: float | None = None
    logistic_factor: float | None = None
    strength: float | None = None
    temperature: float | None = None
    name: ClassVar[str] = "blend"
    linear: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.closed not in PARTS:
            raise ArgumentError(f"closed is {self.closed!r}; expected one of {', '.join(PARTS)}")
        factors = (self.closed_factor, self.logistic_factor)
        if (factors[0] is None) != (factors[1] is None) or not all(f is None or 0 <= f < np.inf for f in factors):
            raise ArgumentError(
                f"closed_factor is {factors[0]} and logistic_factor is {factors[1]}; expected two numbers >= 0, or None"
            )
        self._logistic()

    @property
    def title(self) -> str:
        return f"blend {self.closed}"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"memory", "rows"})

    @property
    def needs_class_scatter(self) -> bool:
        return PARTS[self.closed].needs_class_scatter

    def comparable(self, memory: Memory) -> bool:
        return PARTS[self.closed].comparable(memory) and self._logistic().comparable(memory)

    def fit(self, memory: Memory) -> Head:
        return self.chosen(memory)[1]

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()) -> Choice:
        method, head = self.chosen(memory, use, tried)
        return Choice(method, head)

    def frozen(self, memory: Memory) -> Blend:
        """Return this method with all that it chooses on a memory, for later fits."""
        return self.chosen(memory)[0]

    def chosen(
        self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()
    ) -> tuple[Blend, Head]:
        """Return this method with what it chooses on a memory, and the head that it has then.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for the half that may.
        tried
            What other methods gave on this memory; logistic regression is not fitted again if it is among them.
        """
        logistic, linear = self._fitted(memory, use, tried)
        closed = self._part(memory).fit(memory)
        assert isinstance(closed, (LinearHead, QuadraticHead))
        if self.closed_factor is None or self.logistic_factor is None:
            rows, labels = judging_rows(memory, use)
            if len(labels) >= FEWEST_JUDGES:
                wide = np.zeros((len(rows), memory.offset + memory.dim))
                wide[:, memory.offset :] = rows
                factors = best_factors(closed.scores(wide), linear.scores(wide), labels)
            else:
                factors = USUAL[0] / (logistic.temperature or 1.0), USUAL[1]
        else:
            factors = self.closed_factor, self.logistic_factor
        method = replace(
            self,
            closed_factor=factors[0],
            logistic_factor=factors[1],
            strength=logistic.strength,
            temperature=logistic.temperature,
        )
        return method, mixed(closed, linear, *factors, memory.offset, memory.dim)

    def _fitted(
        self, memory: Memory, use: Bool[np.ndarray, " m"] | None, tried: Sequence[Choice]
    ) -> tuple[Logistic, LinearHead]:
        """Logistic regression with what it chooses, and its head."""
        for choice in tried if self.strength is None else ():
            if isinstance(choice.method, Logistic) and (linear := choice.head.as_linear()) is not None:
                return choice.method, linear
        return self._logistic().chosen(memory, use)

    def _part(self, memory: Memory) -> ClosedForm:
        """The closed form, with the settings that suit a blend."""
        return Gaussian(weight=GAUSSIAN_WEIGHT * memory.dim) if self.closed == "gaussian" else PARTS[self.closed]

    def _logistic(self) -> Logistic:
        return Logistic(strength=self.strength, temperature=self.temperature)


def best_factors(
    one: Float[np.ndarray, "n k"], two: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> tuple[float, float]:
    """Return the factors a, b >= 0 for which ``a one + b two`` has the lowest class-averaged log-loss.

    As in `extend.heads.temperature`, each of n rows counts as 1 / (n + 2) of a sample of the other classes.
    """
    weight, rows = class_weights(labels), np.arange(len(labels))
    doubt, k = 1 / (len(labels) + 2), one.shape[1]
    away = [scores - scores.mean(axis=1, keepdims=True) for scores in (one, two)]
    unit = [max(float(np.sqrt((part**2).mean())), 1e-30) for part in away]
    parts = [part / size for part, size in zip(away, unit, strict=True)]
    target = np.full(one.shape, doubt / max(1, k - 1))
    target[rows, labels] = 1 - doubt

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        scores = factors[0] * parts[0] + factors[1] * parts[1]
        value = weight @ (logsumexp(scores, axis=1) - (target * scores).sum(axis=1))
        slope = softmax(scores, axis=1) - target
        return float(value), np.array([weight @ (slope * part).sum(axis=1) for part in parts])

    found = scipy.optimize.minimize(loss, np.ones(2), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2).x
    if not found.any():
        found = np.ones(2)
    return float(found[0] / unit[0]), float(found[1] / unit[1])


def mixed(closed: LinearHead | QuadraticHead, linear: LinearHead, a: float, b: float, start: int, dim: int) -> Head:
    """Return the head with scores ``a closed + b linear``, on the features from `start` on."""
    kernel, bias = (part.astype(np.float64) for part in linear.dense(start + dim))
    if isinstance(closed, QuadraticHead):
        return closed.plus(a, b * kernel[start:], b * bias)
    other, other_bias = (part.astype(np.float64) for part in closed.dense(start + dim))
    return LinearHead.of(a * other[start:] + b * kernel[start:], a * other_bias + b * bias, start)
