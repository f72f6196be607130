"""What a forgetting limit found: the curve over all offsets of the new classes' scores, and the offset taken, in words.

`extend.heads.trade_off` computes both. *Forgetting* is the share of old examples that were right before and are wrong
after, averaged over classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Float

POINTS = 200
"""A curve is written to JSON at no more points than this."""


class CurveDict(TypedDict):
    """A `Curve` as JSON; `new` is None where no row of a new class is held out."""

    offset: list[float]
    forgetting: list[float]
    old: list[float]
    new: list[float] | None


class BudgetDict(TypedDict):
    """A `Budget` as JSON, under the names of its fields."""

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
    curve: CurveDict | None


@dataclass(frozen=True, eq=False)
class Curve:
    """What each offset of the new classes' scores does, on held-out rows; every figure is averaged over classes.

    Parameters
    ----------
    offset
        The offsets, in ascending order. The first one stands for minus infinity.
    forgetting
        The forgetting at each offset. It never falls as the offset rises.
    old, new
        The accuracy on old and on new classes. `new` is NaN where no row of a new class is held out.

    Examples
    --------
    >>> Curve(np.arange(2.0), np.array([0.0, 0.1]), np.array([0.9, 0.8]), np.full(2, np.nan)).to_dict()["new"] is None
    True
    """

    offset: Float[np.ndarray, " t"]
    forgetting: Float[np.ndarray, " t"]
    old: Float[np.ndarray, " t"]
    new: Float[np.ndarray, " t"]

    def to_dict(self) -> CurveDict:
        """Return the curve for JSON, at no more than 200 points."""
        pick = np.unique(np.linspace(0, len(self.offset) - 1, POINTS).astype(int))
        return {
            "offset": self.offset[pick].tolist(),
            "forgetting": self.forgetting[pick].tolist(),
            "old": self.old[pick].tolist(),
            "new": None if np.isnan(self.new).any() else self.new[pick].tolist(),
        }


@dataclass(frozen=True, eq=False)
class Budget:
    """The offset that a forgetting limit allows the new classes' scores, and what is known of its forgetting.

    Parameters
    ----------
    forgetting_limit
        The share of old examples that may turn wrong, from 0 to 1.
    offset
        What is added to the new classes' scores.
    forgetting
        The forgetting on the rows that chose the offset; None where there are no such rows.
    guaranteed
        What the forgetting is at most, on average over draws of the held-out rows; None where nothing is guaranteed.
    upper
        A 95 % upper bound of the forgetting in this run [1]_; None for rows that the backbone has seen.
    rows
        The number of held-out rows that chose the offset.
    effective
        The number of rows that count when all classes weigh the same: see `extend.heads.trade_off.effective_rows`.
    met
        Whether the forgetting is within the limit.
    forgetting_of_old_columns
        The forgetting at an offset of minus infinity: that of the old columns as they are now.
    unraised
        The forgetting at an offset of 0: that of the method without a limit.
    note
        What is not as asked for, in words; empty where all is.
    curve
        What every other offset would have done; None where nothing could be measured.

    References
    ----------
    .. [1] Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
       Biometrika 26, 1934.

    Examples
    --------
    >>> print(Budget(0.01, 0.0, 0.005, None, None, 80, 60, True, 0.0, 0.02, "there are 60 rows"))
    this step turns an estimated 0.5% of old examples wrong; nothing is guaranteed; there are 60 rows
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
            text = "nothing is known of what this step forgets"
        if self.upper is not None:
            text += f"; 95 % upper bound for this run {self.upper:.1%}"
        if self.curve is not None:
            text += f"; without a limit {self.unraised:.1%} of the same rows would have turned wrong"
        return f"{text}; {self.note}" if self.note else text

    def to_dict(self) -> BudgetDict:
        """Return the budget for JSON."""
        return {
            "forgetting_limit": self.forgetting_limit,
            "offset": self.offset,
            "forgetting": self.forgetting,
            "guaranteed": self.guaranteed,
            "upper": self.upper,
            "rows": self.rows,
            "effective": self.effective,
            "met": self.met,
            "forgetting_of_old_columns": self.forgetting_of_old_columns,
            "unraised": self.unraised,
            "note": self.note,
            "curve": self.curve.to_dict() if self.curve is not None else None,
        }


def shortfall(
    forgetting_limit: float,
    forgetting: float,
    n: int,
    *,
    lowest: float,
    within: bool,
    trusted: bool,
    kept: bool,
    enough: bool,
) -> str:
    """Say in words why a limit is not kept or not guaranteed; an empty text where it is both.

    Parameters
    ----------
    forgetting_limit, forgetting, n
        The limit, the forgetting at the offset taken, and the rows that count.
    lowest
        The forgetting at the best offset.
    within
        Whether any offset keeps within the limit.
    trusted, kept
        As for `extend.heads.trade_off.place`.
    enough
        Whether there are rows enough for a guarantee.

    Examples
    --------
    >>> shortfall(0.01, 0.0, 60, lowest=0.0, within=True, trusted=True, kept=True, enough=False)[-41:]
    'classes counted equally, and there are 60'
    """
    if not within:
        return f"no offset keeps within {forgetting_limit:.1%}: the old columns alone forget {lowest:.1%} already"
    if not trusted:
        return "the held-out rows were seen by the backbone, or carried over, or a class has none: no guarantee"
    if not kept:
        return (
            "the old columns were solved anew, and no rows are left that show that this alone keeps well within the "
            "limit: no guarantee; columns that are appended (method='new_units') forget nothing by themselves"
        )
    if not enough:
        need = "no number of rows" if forgetting_limit == 0 else f"{int(np.ceil(1 / forgetting_limit - 1 - 1e-9))} rows"
        return (
            f"{forgetting_limit:.1%} is an estimate ({forgetting:.1%} on these rows), not guaranteed: that takes "
            f"{need}, classes counted equally, and there are {n}"
        )
    return ""
