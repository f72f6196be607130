"""Which head for which memory: the method's own, chosen by `auto`, kept within a forgetting budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from extend import methods
from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.forgetting import Budget
from extend.heads.scoring import head_scores
from extend.heads.trade_off import checked_limit, conformal, effective_rows, lower_bound, place, upper_bound
from extend.memory.memory import Memory
from extend.methods import Auto, FineTune, Imprint, Joint, Method, NewUnits

AnyMethod = Method | FineTune | Joint
CLOSED = ("lda", "ridge", "nearest_mean", "gaussian")
"""The methods whose head is a function of the memory alone."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head, the method that gave it, why that one, and what the budget says.

    `notes` are for the report; `head_method` names the closed form that was fitted after the backbone was trained.
    """

    method: AnyMethod
    head: Head
    reason: str
    budget: Budget | None = None
    notes: tuple[str, ...] = ()
    head_method: dict[str, Any] | None = None


def resolve(method: str | AnyMethod) -> AnyMethod:
    """A method by its name, or as it is.

    Raises:
        ValueError: no method has that name; the message lists them.
    """
    if not isinstance(method, str):
        return method
    if method not in methods.NAMED:
        raise ArgumentError(f"method {method!r} is unknown; there are {', '.join(methods.NAMED)}")
    return methods.NAMED[method]


def name_of(method: AnyMethod) -> str:
    """The name under which a method is known, or its class's."""
    return next((name for name, known in methods.NAMED.items() if type(known) is type(method)), type(method).__name__)


def fit(
    old: Head, memory: Memory | None, rows: Features, method: Method, seed: int, max_forgetting: float | None
) -> Fitted:
    """A head for ``rows.classes``, of which the first ``old.num_classes`` are old.

    Raises:
        ValueError: the method cannot work with what there is, or the budget is no share.
    """
    if max_forgetting is None:
        fitted = _fit(old, memory, rows, method, seed, None)
        return replace(fitted, head=_with_offsets(fitted.head, old, memory).plain())
    asked = checked_limit(max_forgetting)
    if old.num_classes == len(rows.classes):
        raise ArgumentError("max_forgetting bounds what new classes may cost, and none of these is new; leave it out")
    if memory is None:
        return _without_memory(old, rows, method, seed, asked)
    return _within(old, memory, rows, method, seed, asked)


def fit_beside(
    old: Head, memory: Memory | None, rows: Features, method: Method, seed: int, max_forgetting: float | None
) -> Fitted:
    """`fit` for classes that do not exclude each other: columns beside the old ones, which every closed form moves.

    Raises:
        ValueError: as `fit`; the method gives every input one class, or none of the classes is new.
    """
    if old.num_classes == len(rows.classes):
        raise ArgumentError(
            "the classes do not exclude each other (sigmoid) and none of these is new: only fine_tune, and joint with "
            "old=, can learn more of a class that is there"
        )
    if isinstance(method, Auto):
        fitted = fit(old, memory, rows, NewUnits() if memory is not None else Imprint(), seed, max_forgetting)
        return replace(fitted, reason="columns beside the old ones, as the classes do not exclude each other (sigmoid)")
    if not isinstance(method, (NewUnits, Imprint)):
        raise ArgumentError(
            f"{name_of(method)} gives every input one class (softmax), and this classifier's classes do not exclude "
            "each other (sigmoid): use auto, new_units or imprint for new classes, or fine_tune or joint"
        )
    return fit(old, memory, rows, method, seed, max_forgetting)


def _fit(old: Head, memory: Memory | None, rows: Features, method: Method, seed: int, use: np.ndarray | None) -> Fitted:
    if not isinstance(method, Auto):
        return Fitted(method, method.fit(old, memory, rows, seed), "")
    choice = method.choose(old, memory, rows, seed, use)
    tried = [f"{_titled(s.method)} {s.accuracy:.1%}, log-loss {s.log_loss:.3f}" for s in choice.scores]
    return Fitted(choice.method, choice.head, f"chosen: {choice.reason}" + (f"; {'; '.join(tried)}" if tried else ""))


def _titled(method: Any) -> str:
    """A candidate's name, with what sets it apart from others of the same kind."""
    extra = " balanced" if getattr(method, "balanced", False) else ""
    return name_of(method) + extra + (" cosine" if getattr(method, "metric", "") == "cosine" else "")


def _with_offsets(head: Head, old: Head, memory: Memory | None) -> Head:
    """A closed form's new columns for the old classes keep the offsets that earlier budgets gave them.

    Where the new scores are of another size (another method, another temperature), the offsets are of that size too, by
    the spread of both heads' scores on the held-out rows.
    """
    if not isinstance(old, Calibrated) or not np.any(old.offset):
        return head
    new = Calibrated.of(head)
    if isinstance(head, Calibrated) and np.any(head.offset):
        return new  # Columns were appended to the old head, offsets and all.
    ratio = 1.0
    rows = memory.held_out[0] if memory is not None else np.zeros((0, 0))
    if len(rows):
        k = old.num_classes
        before, after = old.scores(rows) - np.asarray(old.offset), new.scores(rows)[:, :k]
        spreads = [max(float((s - s.mean(axis=1, keepdims=True)).std()), 1e-12) for s in (before, after)]
        ratio = spreads[1] / spreads[0]
    kept = np.asarray(old.offset) * np.float32(ratio if not 0.8 < ratio < 1.25 else 1.0)
    return replace(new, offset=np.asarray(new.offset) + _padded(kept, new.num_classes))


def _padded(offset: Any, k: int) -> np.ndarray:
    return np.concatenate([np.asarray(offset), np.zeros(k - len(offset), np.float32)])


def _without_memory(old: Head, rows: Features, method: Method, seed: int, asked: float) -> Fitted:
    if not isinstance(method, (Auto, Imprint)):
        raise ArgumentError(
            f"max_forgetting is measured on the memory's held-out rows, and there is no memory: use method='imprint', "
            f"which keeps a budget on a pseudo-sample, or wrap the model with data= ({name_of(method)} was given)"
        )
    method = Imprint(asked) if isinstance(method, Auto) else replace(method, budget=asked)
    head = method.fit(old, None, rows, seed)
    note = (
        "measured on a pseudo-sample made from the old columns: there is no memory, so nothing is known of old examples"
    )
    return Fitted(
        method, head, "there is no memory", Budget(asked, 0.0, None, None, None, 0, 0, True, 0.0, asked, note)
    )


def _within(old: Head, memory: Memory, rows: Features, method: Method, seed: int, asked: float) -> Fitted:
    """Choose the method on one half of the held-out rows and the offset on the other, where half is enough.

    A closed form solves the old columns anew, which costs something at any offset. Whether that keeps within the budget
    is for the choosing half to say: if surely not, new columns are appended to the old head. If it cannot tell, nothing
    is guaranteed: all rows choose the offset, and columns are appended where none keeps the budget. Where half is not
    enough, the method is fixed beforehand, all rows choose, and what is solved anew is not guaranteed.
    """
    _, labels = memory.held_out
    k = old.num_classes
    ours, half = labels < k, ~memory.choosing
    split = _enough(asked, labels[ours & half], k)
    use, reason = (~half | ~ours) if split else None, ""
    if isinstance(method, Auto) and not split:
        method = method.candidates[0]
        reason = "the first of the fixed order, as all held-out rows are needed for the budget"
    chose, appends = isinstance(method, Auto), isinstance(method, (NewUnits, Imprint))
    calibrating = ours & half if memory.held_out_used or (split and not appends) else ours
    fitted = _fit(old, memory, rows, method, seed, use)
    reason = reason or fitted.reason
    if not calibrating.any():
        note = "no old class has held-out rows: nothing could be measured, and the offset is as the method gives it"
        unknown = Budget(asked, 0.0, None, None, None, 0, 0, False, 0.0, 1.0, note)
        return Fitted(fitted.method, _with_offsets(fitted.head, old, memory).plain(), reason, unknown)
    kept, surely, floor = appends, False, 0.0
    if split and not appends:
        other_half = ours & ~half
        floor = _placed(fitted.head, old, memory, 1.0, other_half, True)[1].forgetting_of_old_columns
        judged = effective_rows(labels[other_half], k)
        kept = floor == 0 or upper_bound(floor, judged) <= asked
        surely = lower_bound(floor, judged) > asked
        if not kept and not chose and not memory.held_out_used:
            calibrating = ours  # Nothing will be guaranteed: let every row tell where the offset belongs.
    if not surely:
        head, budget = _placed(fitted.head, old, memory, asked, calibrating, kept)
        if budget.met:
            return Fitted(fitted.method, head, reason, budget)
        floor = budget.forgetting_of_old_columns
    appended = _appended(old, memory, rows, seed)
    if appended is None:
        head, budget = _placed(fitted.head, old, memory, asked, calibrating, False)
        return Fitted(fitted.method, head, reason, budget)
    said = (
        f"{name_of(fitted.method)} cannot keep within {asked:.1%} (its new old columns alone cost {floor:.1%}), "
        "so the new columns were appended to the old head"
    )
    # Where the choosing half could not tell, the rows that choose the offset also told to append: no guarantee.
    head, budget = _placed(appended.head, old, memory, asked, calibrating, surely)
    return Fitted(appended.method, head, said, budget)


def _placed(
    head: Head, old: Head, memory: Memory, asked: float, calibrating: np.ndarray, kept: bool
) -> tuple[Head, Budget]:
    """The head with the new classes' offset, placed on these held-out rows; `kept`: its old columns cost nothing."""
    held, labels = memory.held_out
    new, k, fresh = Calibrated.of(_with_offsets(head, old, memory)), old.num_classes, labels >= old.num_classes
    got = place(
        asked, head_scores(new, held[calibrating]), labels[calibrating],
        old_right(old, held[calibrating], labels[calibrating]),
        head_scores(new, held[fresh]), labels[fresh], k, not (memory.trained_on[:k].any() or memory.transported), kept,
    )  # fmt: skip
    offset = np.asarray(new.offset).copy()
    offset[k:] += np.float32(got.offset)
    return replace(new, offset=offset), got


def _appended(old: Head, memory: Memory, rows: Features, seed: int) -> Fitted | None:
    """New columns on the old head as it is; None where that head is not linear."""
    if old.as_linear() is None:
        return None
    method: Method = NewUnits() if old.rows[0] >= memory.offset else Imprint()
    return Fitted(method, method.fit(old, memory, rows, seed), "")


def _enough(asked: float, labels: np.ndarray, k: int) -> bool:
    n = effective_rows(labels, k)
    return n > 0 and conformal(0.0, n) <= asked


def old_right(old: Head, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the old head is right, bool ``[n]``."""
    return head_scores(old, rows).argmax(axis=1) == labels
