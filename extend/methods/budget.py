"""Keep the head of a method within a forgetting limit, by one common offset of the new classes' scores.

The memory's held-out rows are halved. One half chooses the method and says what its old columns cost by themselves; the
other half chooses the offset, so that what it promises holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Progress, Samples
from extend.heads import (
    Budget,
    Calibrated,
    Head,
    checked_limit,
    conformal,
    effective_rows,
    head_scores,
    lower_bound,
    place,
    upper_bound,
)
from extend.memory import Memory
from extend.methods.base import Method, OnFeatures
from extend.methods.choice import Choice
from extend.methods.extended import Extended
from extend.methods.imprint import Imprint
from extend.methods.increment import Increment
from extend.methods.new_units import NewUnits
from extend.methods.offsets import with_offsets


def extend_within(
    forgetting_limit: float,
    method: Method,
    classifier: Classifier,
    samples: Samples,
    *,
    old: Samples | None = None,
    spend: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Extended:
    """Do what ``method.extend`` does, within a forgetting limit.

    Parameters
    ----------
    forgetting_limit
        The share of old examples that may turn wrong.
    spend
        Whether the limit may be used up: whether new classes' scores may be raised above what the method gives them.

    Raises
    ------
    ArgumentError
        The limit is no share, none of the classes is new, the method trains the backbone, or there is nothing to
        measure with.
    """
    limit, frozen = checked_limit(forgetting_limit), method.on_features()
    increment = Increment.of(classifier, samples, old=old, progress=progress)
    taken, why = frozen.suited(increment)
    if not increment.added:
        raise ArgumentError("max_forgetting bounds what new classes may cost, and none of these is new; leave it out")
    if increment.memory is None:
        return _without_memory(limit, taken, increment, seed, why)
    return _within(_Placing(limit, increment, increment.memory, spend), taken, seed, why)


def _without_memory(limit: float, method: OnFeatures, increment: Increment, seed: int, why: str) -> Extended:
    """What a method can promise of itself, where there are no held-out rows."""
    if (limited := method.limited(limit)) is None:
        raise ArgumentError(
            f"max_forgetting is measured on the memory's held-out rows, and there is no memory: use method='imprint', "
            f"which keeps a budget on a pseudo-sample, or wrap the model with data= ({method.name} was given)"
        )
    note = (
        "measured on a pseudo-sample made from the old columns: there is no memory, so nothing is known of old examples"
    )
    budget = Budget(limit, 0.0, None, None, None, 0, 0, True, 0.0, limit, note)
    reason = why if why and not increment.exclusive else "there is no memory"
    return increment.extended(limited.solve(increment, seed), reason, budget)


def _within(placing: _Placing, method: OnFeatures, seed: int, why: str) -> Extended:
    """Choose the method on one half of the held-out rows and the offset on the other, where half is enough.

    A closed form solves the old columns anew, which costs something at any offset. Whether that keeps within the limit
    is for the choosing half to say: if surely not, new columns are appended to the old head. If it cannot tell, nothing
    is guaranteed: all rows choose the offset, and columns are appended where none keeps the limit. Where half is not
    enough, the method is fixed beforehand, all rows choose, and what is solved anew is not guaranteed.
    """
    increment, memory = placing.increment, placing.memory
    old, half = placing.old_rows, ~memory.choosing
    split = placing.enough(old & half)
    if method.chooses and not split:
        method, why = method.fixed(), "the first of the fixed order, as all held-out rows are needed for the budget"
    appends = method.keeps_old_columns
    calibrating = old & half if memory.held_out_used or (split and not appends) else old
    choice = method.solve(increment, seed, ~half | ~old if split else None)
    if not calibrating.any():
        note = "no old class has held-out rows: nothing could be measured, and the offset is as the method gives it"
        unknown = Budget(placing.limit, 0.0, None, None, None, 0, 0, False, 0.0, 1.0, note)
        return increment.extended(choice.keeping_offsets(increment.head, memory), why, unknown)
    judged = _Judged(0.0, appends, False)
    if split and not appends:
        judged = placing.judged(choice.head, old & ~half)
        if not judged.kept and not method.chooses and not memory.held_out_used:
            calibrating = old  # Nothing will be guaranteed: let every row tell where the offset belongs.
    forgetting = judged.forgetting_of_old_columns
    if not judged.exceeded:
        placed, budget = placing.placed(choice, calibrating, judged.kept)
        if budget.met:
            return increment.extended(placed, why, budget)
        forgetting = budget.forgetting_of_old_columns
    appended = _appended(increment, memory, seed)
    if appended is None:
        placed, budget = placing.placed(choice, calibrating, False)
        return increment.extended(placed, why, budget)
    said = (
        f"{choice.method.name} cannot keep within {placing.limit:.1%} (its new old columns alone cost "
        f"{forgetting:.1%}), so the new columns were appended to the old head"
    )
    # Where the choosing half could not tell, the rows that choose the offset also told to append: no guarantee.
    placed, budget = placing.placed(appended, calibrating, judged.exceeded)
    return increment.extended(placed, said, budget)


def _appended(increment: Increment, memory: Memory, seed: int) -> Choice | None:
    """New columns on the old head as it is; None where that head is not linear."""
    if increment.head.as_linear() is None:
        return None
    method: OnFeatures = NewUnits() if increment.head.rows[0] >= memory.offset else Imprint()
    return method.solve(increment, seed)


@dataclass(frozen=True)
class _Judged:
    """What the choosing half says of old columns that were solved anew.

    `kept`: they surely keep within the limit by themselves; `exceeded`: they surely do not.
    """

    forgetting_of_old_columns: float
    kept: bool
    exceeded: bool


@dataclass(frozen=True, eq=False)
class _Placing:
    """Where to place the new classes' offset: the limit, the increment, and the rows to measure with."""

    limit: float
    increment: Increment
    memory: Memory
    spend: bool = False

    @property
    def old_rows(self) -> Bool[np.ndarray, " m"]:
        """Which held-out rows are of old classes."""
        return self.memory.held_out[1] < self.increment.head.num_classes

    def enough(self, rows: Bool[np.ndarray, " m"]) -> bool:
        """Whether these held-out rows can guarantee the limit, if none of them turns wrong."""
        n = self._effective(rows)
        return n > 0 and conformal(0.0, n) <= self.limit

    def judged(self, head: Head, rows: Bool[np.ndarray, " m"]) -> _Judged:
        """What these rows say of a head's old columns alone, at an offset of minus infinity."""
        cost = self._placed(head, 1.0, rows, True)[1].forgetting_of_old_columns
        n = self._effective(rows)
        return _Judged(cost, cost == 0 or upper_bound(cost, n) <= self.limit, lower_bound(cost, n) > self.limit)

    def placed(self, choice: Choice, rows: Bool[np.ndarray, " m"], kept: bool) -> tuple[Choice, Budget]:
        """The choice with the new classes' offset placed on these rows; `kept`: its old columns cost nothing."""
        head, budget = self._placed(choice.head, self.limit, rows, kept)
        return replace(choice, head=head), budget

    def _effective(self, rows: Bool[np.ndarray, " m"]) -> int:
        return effective_rows(self.memory.held_out[1][rows], self.increment.head.num_classes)

    def _placed(self, head: Head, limit: float, rows: Bool[np.ndarray, " m"], kept: bool) -> tuple[Head, Budget]:
        held, labels = self.memory.held_out
        old, k = self.increment.head, self.increment.head.num_classes
        new, fresh = Calibrated.of(with_offsets(head, old, self.memory)), labels >= k
        trusted = not (self.memory.trained_on[:k].any() or self.memory.transported)
        found = place(
            limit, head_scores(new, held[rows]), labels[rows], old_right(old, held[rows], labels[rows]),
            head_scores(new, held[fresh]), labels[fresh], k, trusted, kept, self.spend,
        )  # fmt: skip
        offset = np.asarray(new.offset).copy()
        offset[k:] += np.float32(found.offset)
        return replace(new, offset=offset), found


def old_right(old: Head, rows: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return for each row whether the old head is right."""
    return head_scores(old, rows).argmax(axis=1) == labels
