"""The forgetting budget: how far new classes' scores may be raised before too many old examples turn wrong.

The new classes' common offset is the one free number. The *risk* is the share of old examples that were right before
and are wrong after, averaged over classes: it bounds forgetting, and it can only fall as the offset falls. The largest
offset within the budget is chosen on held-out rows by conformal risk control (Angelopoulos et al. 2022, equation 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import beta

from extend.core.errors import ArgumentError

POINTS = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """What every offset gives, in ascending order: risk, accuracy on old and on new classes; all float64 ``[t]``.

    Averages over classes. `new` is NaN where no row of a new class is held out.
    """

    offset: np.ndarray
    forgetting: np.ndarray
    old: np.ndarray
    new: np.ndarray

    def to_dict(self) -> dict[str, list[float] | None]:
        """For JSON, at no more than 200 points."""
        pick = np.unique(np.linspace(0, len(self.offset) - 1, POINTS).astype(int))
        fresh = None if np.isnan(self.new).any() else self.new[pick].tolist()
        return {
            "offset": self.offset[pick].tolist(),
            "forgetting": self.forgetting[pick].tolist(),
            "old": self.old[pick].tolist(),
            "new": fresh,
        }


@dataclass(frozen=True, eq=False)
class Budget:
    """An offset, and what it may cost.

    Args:
        forgetting_limit: the share of old examples that may turn wrong.
        offset: of the new classes' scores.
        forgetting: on the rows that chose the offset; None where there are none.
        guaranteed: what the risk is at most, on average over held-out draws; None where nothing is guaranteed.
        upper: a 95 % upper bound for this run (Clopper & Pearson 1934); None for rows that the backbone has seen.
        rows: held-out rows that chose the offset; `effective`: as many of them as count, classes weighted equally.
        met: whether the risk is within the budget.
        forgetting_of_old_columns: the forgetting at an offset of minus infinity, that is of the old columns as they are now.
        unraised: the forgetting at an offset of 0, that is of the method without a budget.
        note: what is not as forgetting_limit, in words; empty if nothing.
    """

    forgetting_limit: float
    offset: float
    forgetting: float | None
    guaranteed: float | None
    upper: float | None
    rows: int
    effective: int
    met: bool
    forgetting_of_old_columns: float
    unraised: float
    note: str
    curve: Curve | None = None

    def __str__(self) -> str:
        if self.guaranteed is not None:
            text = (
                f"on average over held-out draws this step turns at most {self.guaranteed:.1%} of old examples wrong "
                "(classes equally likely, same distribution, not seen by the backbone)"
            )
        elif self.forgetting is not None:
            text = f"this step turns an estimated {self.forgetting:.1%} of old examples wrong; nothing is guaranteed"
        else:
            text = "nothing is known of what this step costs"
        if self.upper is not None:
            text += f"; 95 % upper bound for this run {self.upper:.1%}"
        if self.curve is not None:
            text += f"; without a budget the same rows would have lost {self.unraised:.1%}"
        return f"{text}; {self.note}" if self.note else text

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = (
            "forgetting_limit",
            "offset",
            "forgetting",
            "guaranteed",
            "upper",
            "rows",
            "effective",
            "met",
            "forgetting_of_old_columns",
            "unraised",
            "note",
        )
        return {name: getattr(self, name) for name in names} | {"curve": self.curve.to_dict() if self.curve else None}


def checked_limit(forgetting_limit: float) -> float:
    """The budget as a number.

    Raises:
        ValueError: it is no share.
    """
    if not isinstance(forgetting_limit, Real) or isinstance(forgetting_limit, bool) or not 0 <= forgetting_limit <= 1:
        raise ArgumentError(
            f"max_forgetting is {forgetting_limit!r}; expected a share of the old examples from 0 to 1, such as 0.01"
        )
    return float(forgetting_limit)


def effective_rows(labels: np.ndarray, classes: int) -> int:
    """How many rows count when classes are equally likely: classes times the rows of the smallest (0 if one has none).

    Rows of a class of n_c out of n are weighted n / (classes n_c), and the unseen row may be of the heaviest class
    (weighted exchangeability, Tibshirani et al. 2019).

    >>> effective_rows(np.array([0, 0, 0, 1, 1]), 2)
    4
    """
    return int(np.bincount(labels, minlength=classes)[:classes].min()) * classes


def conformal(risk: float, n: int) -> float:
    """``n / (n + 1) risk + 1 / (n + 1)``: what the mean risk of a fresh row is at most.

    >>> conformal(0.0, 99)
    0.01
    """
    return (n * risk + 1) / (n + 1)


def place(
    forgetting_limit: float,
    scores: np.ndarray,
    labels: np.ndarray,
    was_right: np.ndarray,
    fresh_scores: np.ndarray,
    fresh_labels: np.ndarray,
    old: int,
    trusted: bool,
    kept: bool = True,
) -> Budget:
    """The largest offset of the new classes whose risk is within the budget.

    Args:
        forgetting_limit: the budget, from 0 to 1.
        scores, labels: of held-out rows of the first `old` classes under the new head: ``[n, k]``, ``[n]``.
        was_right: whether the old classifier was right, bool ``[n]``.
        fresh_scores, fresh_labels: of held-out rows of the new classes, ``[m, k]``, ``[m]``; m may be 0.
        trusted: the rows chose neither method nor backbone; without it nothing is guaranteed.
        kept: other rows have shown that the old columns alone keep within the budget, or they are the old head's own.
    """
    # Beyond a budget of 1 / classes, one whole class could be lost: then its own rows alone count.
    n = effective_rows(labels, old) // (1 if forgetting_limit * old < 1 else old)
    curve = trade_off(scores, labels, was_right, fresh_scores, fresh_labels, old)
    enough = trusted and n > 0 and conformal(0.0, n) <= forgetting_limit
    cost = np.asarray([conformal(risk, n) for risk in curve.forgetting]) if enough else curve.forgetting
    within = np.flatnonzero(cost <= forgetting_limit + 1e-12)
    at = int(within[-1]) if len(within) else int(np.flatnonzero(curve.forgetting == curve.forgetting.min())[-1])
    risk = float(curve.forgetting[at])
    guaranteed = conformal(risk, n) if trusted and n and len(within) and kept else None
    note = ""
    if not len(within):
        note = f"no offset keeps within {forgetting_limit:.1%}: the old columns alone cost {curve.forgetting.min():.1%} already"
    elif not trusted:
        note = "the held-out rows were seen by the backbone, or carried over, or a class has none: no guarantee"
    elif not kept:
        note = (
            "the old columns were solved anew, and no rows are left that show that this alone keeps well within the "
            "budget: no guarantee; columns that are appended (method='new_units') cost nothing by themselves"
        )
    elif not enough:
        need = "no number of rows" if forgetting_limit == 0 else f"{int(np.ceil(1 / forgetting_limit - 1 - 1e-9))} rows"
        note = (
            f"{forgetting_limit:.1%} is an estimate ({risk:.1%} on these rows), not guaranteed: that takes {need}, "
            f"classes counted equally, and there are {n}"
        )
    return Budget(
        forgetting_limit, float(curve.offset[at]), risk, guaranteed, upper_bound(risk, n) if trusted else None, len(labels), n,
        bool(len(within)),
        float(curve.forgetting[0]), float(curve.forgetting[np.searchsorted(curve.offset, 0.0, side="right") - 1]), note, curve,
    )  # fmt: skip


def upper_bound(risk: float, n: int) -> float:
    """The 95 % upper bound of a share seen on n rows (Clopper & Pearson 1934)."""
    wrong = min(n, int(np.ceil(risk * n - 1e-9)))
    return float(beta.ppf(0.95, wrong + 1, n - wrong)) if wrong < n else 1.0


def lower_bound(risk: float, n: int) -> float:
    """The 95 % lower bound of a share seen on n rows (Clopper & Pearson 1934)."""
    wrong = min(n, int(np.ceil(risk * n - 1e-9)))
    return float(beta.ppf(0.05, wrong, n - wrong + 1)) if wrong else 0.0


def trade_off(
    scores: np.ndarray,
    labels: np.ndarray,
    was_right: np.ndarray,
    fresh_scores: np.ndarray,
    fresh_labels: np.ndarray,
    old: int,
) -> Curve:
    """Every offset at which an old row is about to turn wrong or a new one has just turned right; one compiled pass.

    Arguments as for `place`. The first offset stands for minus infinity, the last for plus infinity.
    """
    rows = _pad(scores, labels, was_right), _pad(fresh_scores, fresh_labels, np.ones(len(fresh_labels), bool))
    weights, fresh_weights = _weights(rows[0], len(labels)), _weights(rows[1], len(fresh_labels))
    with jax.enable_x64(True):
        found = _sweep(*rows[0], weights, *rows[1], fresh_weights, old)
    offset, risk, right, new = (np.asarray(part) for part in found)
    _, first = np.unique(offset, return_index=True)
    keep = first[np.isfinite(offset[first])]
    low = offset[keep].min(initial=0.0) - max(1.0, 1e-2 * float(np.abs(offset[keep]).max(initial=0.0)))
    if not len(fresh_labels):
        new = np.full(len(new), np.nan)
    return Curve(np.concatenate([[low], offset[keep]]), *(_with_floor(p, keep) for p in (risk, right, new)))


def _with_floor(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:1], values[keep]])


@jax.jit
def _sweep(
    scores: jax.Array,
    labels: jax.Array,
    was_right: jax.Array,
    weights: jax.Array,
    fresh_scores: jax.Array,
    fresh_labels: jax.Array,
    _: jax.Array,
    fresh_weights: jax.Array,
    old: int,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Candidate offsets ``[2 + n + m]``, from minus to plus infinity, and at each risk, old and new accuracy."""
    columns = jnp.arange(scores.shape[1])
    rows, fresh = jnp.arange(len(labels)), jnp.arange(len(fresh_labels))
    is_old = columns < old
    ours, theirs = jnp.where(is_old, scores, -jnp.inf), jnp.where(is_old, -jnp.inf, scores)
    own = ours.argmax(axis=1) == labels
    # A row of an old class is right while the offset is below its lead; -inf: an old class takes it anyway.
    lead = jnp.where(own, scores[rows, labels] - theirs.max(axis=1), -jnp.inf)
    ours, theirs = jnp.where(is_old, fresh_scores, -jnp.inf), jnp.where(is_old, -jnp.inf, fresh_scores)
    need = jnp.where(
        theirs.argmax(axis=1) == fresh_labels, ours.max(axis=1) - fresh_scores[fresh, fresh_labels], jnp.inf
    )
    # Off the thresholds by so much that float32 scores fall on the same side.
    slack = 1e-6 * jnp.maximum(1.0, jnp.abs(scores).max())
    counted = jnp.where(weights > 0, lead - slack, jnp.inf)
    gained = jnp.where(fresh_weights > 0, need + slack, jnp.inf)
    ends = jnp.array([-jnp.inf]), jnp.array([jnp.inf])
    offsets = jnp.sort(jnp.concatenate([ends[0], counted, gained, ends[1]]))

    def below(values: jax.Array, weight: jax.Array) -> jax.Array:
        """The weight of the values that are below each offset."""
        order = jnp.argsort(values)
        total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weight[order])])
        return total[jnp.searchsorted(values[order], offsets, side="left")]

    risk = below(lead, weights * was_right) + jnp.where(jnp.isneginf(offsets), _lost(lead, weights * was_right), 0)
    right = weights.sum() - below(lead, weights) - jnp.where(jnp.isneginf(offsets), _lost(lead, weights), 0)
    return offsets, risk, right, below(need, fresh_weights)


def _lost(lead: jax.Array, weights: jax.Array) -> jax.Array:
    return (weights * jnp.isneginf(lead)).sum()


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def _pad(scores: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> Rows:
    """Powers of two: few shapes, few compilations."""
    more = (1 << max(3, (len(labels) - 1).bit_length())) - len(labels)
    return (
        np.concatenate([np.asarray(scores, np.float64), np.zeros((more, scores.shape[1]))]),
        np.concatenate([labels, np.zeros(more, labels.dtype)]),
        np.concatenate([mask, np.zeros(more, bool)]),
    )


def _weights(rows: Rows, n: int) -> np.ndarray:
    """Of every row, so that classes weigh the same and all together 1; 0 for padding."""
    labels, weights = rows[1], np.zeros(len(rows[1]))
    if n:
        counts = np.bincount(labels[:n])
        weights[:n] = 1 / counts[labels[:n]] / (counts > 0).sum()
    return weights
