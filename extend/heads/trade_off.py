"""How far new classes' scores may be raised before too many old examples turn wrong.

The new classes' common offset is the one free number. The *forgetting* is the share of old examples that were right
before and are wrong after, averaged over classes. It bounds the fall of the old classes' accuracy, and it can only fall
as the offset falls. The largest offset within the limit is chosen on held-out rows by conformal risk control
(Angelopoulos et al. 2022, equation 4).
"""

from __future__ import annotations

from numbers import Real

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.stats import beta

from extend.core.errors import ArgumentError
from extend.heads.forgetting import Budget, Curve, shortfall


def checked_limit(forgetting_limit: float) -> float:
    """Return the limit as a float.

    Parameters
    ----------
    forgetting_limit
        What the user gave as ``max_forgetting=``.

    Raises
    ------
    ArgumentError
        It is not a number from 0 to 1.

    Examples
    --------
    >>> checked_limit(1)
    1.0
    """
    if not isinstance(forgetting_limit, Real) or isinstance(forgetting_limit, bool) or not 0 <= forgetting_limit <= 1:
        hint = ""
        if isinstance(forgetting_limit, Real) and 1 < forgetting_limit <= 100:
            hint = f" ({forgetting_limit} % is {float(forgetting_limit) / 100:g})"
        raise ArgumentError(
            f"max_forgetting is {forgetting_limit!r}; expected a share of the old examples from 0 to 1, such as 0.01"
            + hint
        )
    return float(forgetting_limit)


def effective_rows(labels: Int[np.ndarray, " n"], classes: int) -> int:
    """Count the rows that a guarantee may rest on when all classes weigh the same.

    The count is the number of classes times the rows of the smallest class, and 0 where a class has no row. The reason:
    each row of a class with ``n_c`` of all ``n`` rows has the weight ``n / (classes n_c)``, and the row yet to come may
    be of the class whose rows weigh most [1]_.

    Parameters
    ----------
    labels
        The classes of the rows, as integers from 0. Those from `classes` on are left out.
    classes
        The number of classes.

    References
    ----------
    .. [1] Tibshirani et al., "Conformal prediction under covariate shift", NeurIPS 2019 (weighted exchangeability).

    Examples
    --------
    >>> effective_rows(np.array([0, 0, 0, 1, 1]), 2)
    4
    """
    return int(np.bincount(labels, minlength=classes)[:classes].min()) * classes


def conformal(forgetting: float, n: int) -> float:
    """Return what the forgetting on a fresh row is at most, on average over draws of the n rows.

    The bound is ``(n * forgetting + 1) / (n + 1)`` [1]_.

    Parameters
    ----------
    forgetting
        The forgetting seen on the n rows.
    n
        The number of rows.

    References
    ----------
    .. [1] Angelopoulos et al., "Conformal risk control", 2022, equation 4.

    Examples
    --------
    >>> conformal(0.0, 99)
    0.01
    """
    return (n * forgetting + 1) / (n + 1)


def place(
    forgetting_limit: float,
    scores: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    was_right: Bool[np.ndarray, " n"],
    fresh_scores: Float[np.ndarray, "m k"],
    fresh_labels: Int[np.ndarray, " m"],
    old: int,
    trusted: bool,
    kept: bool = True,
    spend: bool = True,
) -> Budget:
    """Find the largest offset of the new classes' scores whose forgetting is within the limit.

    Parameters
    ----------
    forgetting_limit
        The share of old examples that may turn wrong, from 0 to 1.
    scores, labels
        The new head's scores of the held-out rows of the first `old` classes, and their classes.
    was_right
        Whether the old classifier was right about each of these rows.
    fresh_scores, fresh_labels
        The same for held-out rows of the new classes. There may be none.
    old
        The number of old classes; their columns are the first ones.
    trusted
        Whether the rows chose neither the method nor the backbone. Without it nothing is guaranteed.
    kept
        Whether the old columns alone are known to keep within the limit: other rows have shown it, or the columns are
        the old head's own.
    spend
        Whether the offset may be above 0, which forgets more than no limit would.

    Examples
    --------
    >>> scores = np.stack([np.arange(99.0), np.zeros(99)], axis=1)
    >>> found = place(0.1, scores, np.zeros(99, int), np.ones(99, bool), scores[:0], np.zeros(0, int), 1, True)
    >>> round(found.offset, 3), found.guaranteed
    (9.0, 0.1)
    """
    # Beyond a limit of 1 / classes, one whole class could be lost: then its own rows alone count.
    n = effective_rows(labels, old) // (1 if forgetting_limit * old < 1 else old)
    curve = trade_off(scores, labels, was_right, fresh_scores, fresh_labels, old)
    enough = trusted and n > 0 and conformal(0.0, n) <= forgetting_limit
    bound = np.asarray([conformal(share, n) for share in curve.forgetting]) if enough else curve.forgetting
    within = np.flatnonzero(bound <= forgetting_limit + 1e-12)
    lowest = curve.forgetting.min()
    at = int(within[-1]) if len(within) else int(np.flatnonzero(curve.forgetting == lowest)[-1])
    zero = int(np.searchsorted(curve.offset, 0.0, side="right")) - 1
    offset = float(curve.offset[at])
    if not spend and offset > 0:
        at, offset = zero, 0.0
    forgetting, met = float(curve.forgetting[at]), bool(len(within))
    return Budget(
        forgetting_limit=forgetting_limit,
        offset=offset,
        forgetting=forgetting,
        guaranteed=conformal(forgetting, n) if trusted and n and met and kept else None,
        upper=upper_bound(forgetting, n) if trusted else None,
        rows=len(labels),
        effective=n,
        met=met,
        forgetting_of_old_columns=float(curve.forgetting[0]),
        unraised=float(curve.forgetting[zero]),
        note=shortfall(
            forgetting_limit, forgetting, n, lowest=lowest, within=met, trusted=trusted, kept=kept, enough=enough
        ),
        curve=curve,
    )


def upper_bound(share: float, n: int) -> float:
    """Return the 95 % upper bound of a share seen on n rows (Clopper & Pearson 1934).

    Examples
    --------
    >>> round(upper_bound(0.0, 99), 3)
    0.03
    """
    wrong = _wrong(share, n)
    return float(beta.ppf(0.95, wrong + 1, n - wrong)) if wrong < n else 1.0


def lower_bound(share: float, n: int) -> float:
    """Return the 95 % lower bound of a share seen on n rows (Clopper & Pearson 1934).

    Examples
    --------
    >>> lower_bound(0.0, 99)
    0.0
    """
    wrong = _wrong(share, n)
    return float(beta.ppf(0.05, wrong, n - wrong + 1)) if wrong else 0.0


def _wrong(share: float, n: int) -> int:
    """Return the number of rows that make up a share of n, rounded up."""
    return min(n, int(np.ceil(share * n - 1e-9)))


def trade_off(
    scores: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    was_right: Bool[np.ndarray, " n"],
    fresh_scores: Float[np.ndarray, "m k"],
    fresh_labels: Int[np.ndarray, " m"],
    old: int,
) -> Curve:
    """Compute what every offset of the new classes' scores does, in one compiled pass.

    The offsets are those at which an old row is about to turn wrong or a new one has just turned right. The first
    offset stands for minus infinity, the last one for plus infinity.

    Parameters
    ----------
    scores, labels, was_right, fresh_scores, fresh_labels, old
        As for `place`.

    Examples
    --------
    >>> scores = np.array([[1.0, 0.0], [2.0, 0.0]])
    >>> curve = trade_off(scores, np.zeros(2, int), np.ones(2, bool), np.array([[3.0, 0.0]]), np.array([1]), 1)
    >>> curve.forgetting.tolist(), curve.new.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.0, 1.0])
    """
    rows = _pad(scores, labels, was_right), _pad(fresh_scores, fresh_labels, np.ones(len(fresh_labels), bool))
    weights, fresh_weights = _weights(rows[0], len(labels)), _weights(rows[1], len(fresh_labels))
    with jax.enable_x64(True):
        found = _sweep(*rows[0], weights, *rows[1], fresh_weights, old)
    offset, forgetting, right, new = (np.asarray(part) for part in found)
    _, first = np.unique(offset, return_index=True)
    keep = first[np.isfinite(offset[first])]
    size = max(float(np.abs(part).max(initial=0.0)) for part in (scores, fresh_scores))
    below = max(min(1.0, size) or 1.0, 1e-2 * float(np.abs(offset[keep]).max(initial=0.0)))
    low = offset[keep].min(initial=0.0) - below
    if not len(fresh_labels):
        new = np.full(len(new), np.nan)
    return Curve(np.concatenate([[low], offset[keep]]), *(_with_first(p, keep) for p in (forgetting, right, new)))


def _with_first(values: Float[np.ndarray, " t"], keep: Int[np.ndarray, " u"]) -> Float[np.ndarray, " u+1"]:
    """Pick these values, behind the first one."""
    return np.concatenate([values[:1], values[keep]])


@jax.jit
def _sweep(
    scores: Float[Array, "n k"],
    labels: Int[Array, " n"],
    was_right: Bool[Array, " n"],
    weights: Float[Array, " n"],
    fresh_scores: Float[Array, "m k"],
    fresh_labels: Int[Array, " m"],
    _: Bool[Array, " m"],
    fresh_weights: Float[Array, " m"],
    old: int,
) -> tuple[Float[Array, " n+m+2"], Float[Array, " n+m+2"], Float[Array, " n+m+2"], Float[Array, " n+m+2"]]:
    """Return all offsets from minus to plus infinity and, at each, the forgetting and the old and new accuracy."""
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
    slack = 1e-6 * jnp.abs(scores).max()
    counted = jnp.where(weights > 0, lead - slack, jnp.inf)
    gained = jnp.where(fresh_weights > 0, need + slack, jnp.inf)
    ends = jnp.array([-jnp.inf]), jnp.array([jnp.inf])
    offsets = jnp.sort(jnp.concatenate([ends[0], counted, gained, ends[1]]))

    def below(values: Float[Array, " r"], weight: Float[Array, " r"]) -> Float[Array, " n+m+2"]:
        """Sum the weights of the values that are below each offset."""
        order = jnp.argsort(values)
        total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weight[order])])
        return total[jnp.searchsorted(values[order], offsets, side="left")]

    lowest, mattered = jnp.isneginf(offsets), weights * was_right
    forgetting = below(lead, mattered) + jnp.where(lowest, _lost(lead, mattered), 0)
    right = weights.sum() - below(lead, weights) - jnp.where(lowest, _lost(lead, weights), 0)
    return offsets, forgetting, right, below(need, fresh_weights)


def _lost(lead: Float[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Sum the weights of the rows that no offset can keep right."""
    return (weights * jnp.isneginf(lead)).sum()


Rows = tuple[Float[np.ndarray, "n k"], Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]
"""Scores, labels and a mask."""


def _pad(scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"], mask: Bool[np.ndarray, " n"]) -> Rows:
    """Pad the rows to a power of two, so that there are few shapes and few compilations."""
    more = (1 << max(3, (len(labels) - 1).bit_length())) - len(labels)
    return (
        np.concatenate([np.asarray(scores, np.float64), np.zeros((more, scores.shape[1]))]),
        np.concatenate([labels, np.zeros(more, labels.dtype)]),
        np.concatenate([mask, np.zeros(more, bool)]),
    )


def _weights(rows: Rows, n: int) -> Float[np.ndarray, " n"]:
    """Weigh the rows so that every class has the same total weight and all weights sum to 1; padding weighs 0."""
    labels, weights = rows[1], np.zeros(len(rows[1]))
    if n:
        counts = np.bincount(labels[:n])
        weights[:n] = 1 / counts[labels[:n]] / (counts > 0).sum()
    return weights
