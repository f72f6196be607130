"""Multinomial logistic regression on the rows that the memory keeps, pulled toward LDA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.core.errors import ArgumentError
from extend.core.softmax_fit import SoftmaxProblem
from extend.heads import LinearHead, temperature
from extend.memory import FEWEST, Memory, TrainingRows
from extend.methods.base import ClosedForm, Need
from extend.methods.choice import Choice
from extend.methods.lda import LDA

STRENGTHS = (1000.0, 100.0, 10.0)
"""The strengths to choose among, the strongest first: each fit begins where the last one ended."""
USUAL = 10.0
"""The strength where nothing is held out to choose by."""
JUDGED, FEWEST_JUDGES = 2000, 20
"""How many held-out rows choose a temperature or a strength at most, and at least."""
DEAREST = 2e10
"""Flops of a pass over all rows above which no choice tries it: some seconds."""
STEPS, TOLERANCE = 12, 1e-5
"""Where a fit ends: so many steps, or a step that lowers the loss by less than this share."""
LEAST_SPREAD = 0.1
"""The least spread of a column, in shares of the usual one: a column that hardly varies is not blown up."""

Columns: TypeAlias = tuple[np.ndarray, np.ndarray]
"""A kernel ``[d, k]`` and a bias ``[k]``, float64."""
Judges: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Rows ``[h, d]`` that choose, float64, and their classes."""


def training_of(memory: Memory) -> TrainingRows:
    """Return the rows of a memory that may train a head, of every class.

    Raises
    ------
    ArgumentError
        The memory keeps no rows, or none of some class.
    """
    rows = memory.training
    missing = np.setdiff1d(np.arange(len(memory.classes)), rows.labels)
    if len(missing):
        raise ArgumentError(
            f"logistic regression needs rows of every class, and the memory keeps none of "
            f"{memory.classes[missing[0]]!r}: wrap with keep=extend.Keep(rows=200), or use method='lda', which needs "
            "statistics alone"
        )
    return rows


@dataclass(frozen=True)
class Logistic(ClosedForm):
    """Minimise the log-loss of the softmax over the kept rows, pulled toward LDA.

    ``sum_i w_i (logsumexp(s_i) - s_i[y_i]) + strength / 2 |D (W - W_0)|^2`` over W and b, with ``s_i = W' x_i + b``.
    W_0 is LDA's kernel at its best temperature, and D holds the columns' spread, so that the features' units do not
    count. A row weighs as many samples w as it stands for, on average over all rows 1: rows that are a sample of their
    class are not taken for more than they are. With much strength this is LDA, with none plain logistic regression.
    Without `prior` it is pulled toward 0, and is scikit-learn's ``LogisticRegression(C=1 / strength)`` on standardised
    features. Afterwards the log of each class's share of the samples is taken from its bias: a class of a few samples
    is as likely beforehand as any other, as with LDA.

    A fit takes some ten steps of O(m k d) for m rows, after LDA's. It ends there, before the last digits of the loss,
    which cost two or three times as much and moved accuracy by less than 0.2 points where that was tried. Do not use it
    for thousands of classes, where LDA takes a hundredth of the time, nor where the memory keeps statistics alone.

    Parameters
    ----------
    strength
        The strength of the pull. None chooses it by the held-out rows that may choose; see `frozen`.
    temperature
        The temperature of LDA. None finds it by the same rows, or by leaving training rows out one by one.
    prior
        Pull toward LDA; otherwise toward 0.
    steps, tolerance
        Where a fit ends: so many steps, or a step that lowers the loss by less than this share.

    References
    ----------
    Cox 1958, The regression analysis of binary sequences; Chelba & Acero 2006, Adaptation of maximum entropy
    capitalizer (the pull toward another model); Horvitz & Thompson 1952 (the weights); Liu & Nocedal 1989 (L-BFGS).

    Examples
    --------
    >>> from extend.methods import Logistic
    >>> Logistic(strength=3.0).strength
    3.0
    """

    strength: float | None = None
    temperature: float | None = None
    prior: bool = True
    steps: int = STEPS
    tolerance: float = TOLERANCE
    name: ClassVar[str] = "logistic"

    def __post_init__(self) -> None:
        for label in ("strength", "temperature"):
            value = getattr(self, label)
            if value is not None and not 0 < value < np.inf:
                raise ArgumentError(f"{label} is {value}; expected a number > 0, or None")
        if self.steps < 1 or not 0 <= self.tolerance < 1:
            raise ArgumentError(f"{self}: expected steps >= 1, and a tolerance from 0 to 1")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"memory", "rows"})

    def comparable(self, memory: Memory) -> bool:
        """Whether comparing pays: not for classes of a few samples, nor where a pass over the rows takes seconds.

        Where samples are fewer than half the features, the closed forms separate them as well, in less time.
        """
        known = memory.statistics.count
        if memory.statistics.pooled is None:
            return False
        rows = memory.training.labels
        every = len(np.unique(rows)) == len(known) and known.min() >= FEWEST - 1
        return bool(every) and 4.0 * len(rows) * memory.dim * len(known) <= DEAREST

    def fit(self, memory: Memory, start: LinearHead | None = None) -> LinearHead:
        """Return the head for the classes of a memory.

        Parameters
        ----------
        start
            A head for the first of these classes, from before the others came, where the fit begins.
        """
        return self.chosen(memory, start=start)[1]

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()) -> Choice:
        method, head = self.chosen(memory, use)
        return Choice(method, head)

    def frozen(self, memory: Memory) -> Logistic:
        """Return this method with the temperature and the strength that it chooses on a memory, for later fits."""
        return self.chosen(memory)[0]

    def chosen(
        self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, start: LinearHead | None = None
    ) -> tuple[Logistic, LinearHead]:
        """Return this method with what it chooses on a memory, and the head that it has then.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for the half that may.
        start
            See `fit`.
        """
        rows, scale, judges = training_of(memory), spread(memory), judging_rows(memory, use)
        rows = rows._replace(weight=rows.weight / rows.weight.mean())  # What is known is as much as there are rows.
        kernel, bias = LDA().fit(memory).dense(memory.offset + memory.dim)
        kernel, bias = kernel[memory.offset :].astype(np.float64), bias.astype(np.float64)
        heat = self.temperature or prior_temperature(memory, kernel, bias, judges)
        toward = kernel / heat, bias / heat
        point = toward if start is None else _continued(start, *toward, memory.offset)
        prior = toward if self.prior else (np.zeros(kernel.shape), np.zeros(len(bias)))
        share = np.log(memory.statistics.count / memory.statistics.count.mean())
        tried: list[tuple[float, float, Columns]] = []
        several = self.strength is None and len(judges[1]) >= FEWEST_JUDGES
        for strength in STRENGTHS if several else (self.strength or USUAL,):
            point = fit_logistic(
                *rows, strength, prior=prior, start=point, spread=scale, steps=self.steps, tolerance=self.tolerance
            )
            loss = temperature(judges[0] @ point[0] + point[1] - share, judges[1])[1] if several else 0.0
            tried.append((loss, strength, point))
            if loss > min(one[0] for one in tried):
                break  # The loss has one valley along the strengths.
        _, strength, (kernel, bias) = min(tried, key=lambda one: one[0])
        return replace(self, strength=strength, temperature=heat), LinearHead.of(kernel, bias - share, memory.offset)


def fit_logistic(
    features: Float[np.ndarray, "m d"],
    labels: Int[np.ndarray, " m"],
    weight: Float[np.ndarray, " m"],
    strength: float,
    *,
    prior: Columns,
    start: Columns | None = None,
    spread: Float[np.ndarray, " d"] | float = 1.0,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
) -> Columns:
    """Return kernel and bias of the logistic regression that `Logistic` states.

    Parameters
    ----------
    features, labels, weight
        The rows. Of float32 features the products are float32 and the sums float64; otherwise all is float64.
    strength
        The strength of the pull.
    prior
        W_0, and a bias that serves as the start alone.
    start
        Where to begin; None begins at the prior.
    spread
        The unit of each column.
    steps, tolerance
        When to end: see `extend.core.softmax_fit.SoftmaxProblem.minimum`.
    """
    centre = weight @ features / weight.sum()  # In float64, so that a common offset costs no digits.
    scale = np.broadcast_to(np.asarray(spread, np.float64), centre.shape)
    rows = features - centre
    rows /= scale
    rows = rows.astype(features.dtype)
    kernel, bias = prior if start is None else start
    problem = SoftmaxProblem(rows, labels, weight, scale[:, None] * prior[0], strength)
    found, bias = problem.minimum(scale[:, None] * kernel, bias + centre @ kernel, steps, tolerance)
    kernel = found / scale[:, None]
    return kernel, bias - centre @ kernel


def spread(memory: Memory) -> Float[np.ndarray, " d"]:
    """Return the standard deviation of each feature over all samples, at least a tenth of their root mean square."""
    known = memory.statistics
    share = known.count / max(1, known.count.sum())
    variance = known.pool.diagonal() / max(1, known.count.sum()) + share @ (known.mean - share @ known.mean) ** 2
    usual = float(np.sqrt(variance.mean())) or 1.0
    return np.maximum(np.sqrt(variance), LEAST_SPREAD * usual)


def judging_rows(memory: Memory, use: Bool[np.ndarray, " m"] | None = None) -> Judges:
    """Return the held-out rows that may choose, at most 2,000, as even over the classes as they can be.

    Parameters
    ----------
    use
        Which held-out rows those are; None for the choosing half.
    """
    rows, labels = memory.held_out
    some = np.flatnonzero(memory.choosing if use is None else use)
    if len(some) > JUDGED:  # The first of each class, then the second of each.
        order = np.argsort(labels[some], kind="stable")
        turn = np.empty(len(some), int)
        turn[order] = np.arange(len(some)) - np.searchsorted(labels[some][order], labels[some][order])
        some = np.sort(some[np.argsort(turn, kind="stable")[:JUDGED]])
    return rows[some, memory.offset : memory.offset + memory.dim].astype(np.float64), labels[some]


def prior_temperature(memory: Memory, kernel: np.ndarray, bias: np.ndarray, judges: Judges) -> float:
    """Return LDA's temperature on these rows, or by leaving training rows out where they are fewer than 20."""
    if len(judges[1]) >= FEWEST_JUDGES:
        return temperature(judges[0] @ kernel + bias, judges[1])[0]
    rows, labels, _ = training_of(memory)
    there = np.flatnonzero(memory.statistics.count[labels] >= 2)
    if not len(there):
        return 1.0
    there = there[:: -(-len(there) // JUDGED)]
    scores = LDA().leave_one_out(memory, rows[there].astype(np.float64), labels[there])
    return temperature(scores, labels[there])[0]


def _continued(start: LinearHead, kernel: np.ndarray, bias: np.ndarray, offset: int) -> Columns:
    """The columns of an old head beside the prior's for later classes, with the prior's mean over the old ones."""
    old, old_bias = start.dense(offset + len(kernel))
    old, old_bias = old[offset:].astype(np.float64), old_bias.astype(np.float64)
    k = len(old_bias)
    shift, lift = (old - kernel[:, :k]).mean(axis=1), (old_bias - bias[:k]).mean()
    old, old_bias = old - shift[:, None], old_bias - lift  # What all columns share changes no probability.
    return np.concatenate([old, kernel[:, k:]], axis=1), np.concatenate([old_bias, bias[k:]])
