"""The report of an action: what was done to a classifier, and what that changed, as text, as JSON and as a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypedDict, get_args

import numpy as np

from extend.classifier import Evaluation
from extend.core.errors import ArgumentError
from extend.heads import Budget, BudgetDict
from extend.report.figures import save_picture

Interval = tuple[float, float]
"""The two ends of an interval."""
Action = Literal[
    "add", "update", "remove", "rename", "merge", "split", "remove_samples", "undo",
    "calibrate", "retune", "adapt", "replace_head", "wrap",
]  # fmt: skip


class _Words(NamedTuple):
    """How a report names an action, the classes that it was about, and the others.

    `subjects` is empty where the action was about all classes, or about one that is gone.
    """

    done: str
    others: str
    subjects: str = ""


_WORDS: dict[Action, _Words] = {
    "add": _Words("added", "old classes", "new classes"),
    "update": _Words("updated", "old samples", "updated classes"),
    "remove": _Words("removed", "other classes"),
    "rename": _Words("renamed", "other classes", "renamed classes"),
    "merge": _Words("merged", "other classes", "merged classes"),
    "split": _Words("split into", "other classes", "new classes"),
    "remove_samples": _Words("removed samples of", "all classes"),
    "undo": _Words("undid the last step,", "all classes"),
    "calibrate": _Words("calibrated", "all classes"),
    "retune": _Words("retuned", "all classes"),
    "adapt": _Words("adapted to", "all classes"),
    "replace_head": _Words("replaced the head for", "all classes"),
    "wrap": _Words("wrapped", "all classes"),
}


class ReportDict(TypedDict):
    """A `Report` as JSON; accuracies are shares from 0 to 1, and None where nothing was measured."""

    action: str
    classes: list[str]
    method: str
    reason: str
    old_before: float | None
    old_after: float | None
    new: float | None
    overall: float | None
    forgetting: float | None
    forgetting_since_learnt: float | None
    seconds: float
    fit_seconds: float
    ece: list[float | None]
    measured_on: str
    n_measured: int
    intervals: dict[str, list[float]]
    worst: list[str | float] | None
    confused: list[list[str | int]]
    samples: int
    bytes: int
    notes: list[str]
    budget: BudgetDict | None
    forgetting_total: float | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """What an action did to a classifier, measured on held-out features or on the user's validation samples.

    Accuracies are shares of samples, from 0 to 1, and None where nothing could be measured.

    Parameters
    ----------
    action
        What was done: ``"add"``, ``"update"``, ``"remove"``, ``"rename"``, ``"merge"``, ``"split"``,
        ``"remove_samples"``, ``"undo"``, ``"calibrate"``, ``"retune"``, ``"adapt"``, ``"replace_head"`` or ``"wrap"``.
    classes
        The classes that the action was about; empty where it was about all of them.
    method, reason
        The method that was taken and, where it was chosen automatically, why.
    before
        The evaluation of the classifier as it was; None where that was not measured.
    after
        The evaluation of the classifier as it is now; None where that was not measured.
    same_rows
        The evaluation of the classifier as it is now on the very rows of `before`, where `after` holds other rows of
        the old classes too; None where it does not. What was forgotten is told by it.
    left_out
        New classes of which little or nothing was held out, each of their other samples left out in its turn; None
        where `after` has samples enough of all.
    forgetting_since_learnt
        The forgetting of all classes since each was learnt; None where that was not measured.
    measured_on
        What the samples were, and what figures from them are worth: see `extend.report.notes.measured_on`.
    seconds, fit_seconds
        The time that the action took, and the part of it that the fit of the head took.
    samples
        The number of samples given.
    bytes
        The size of the memory, and 0 without one.
    notes
        Sentences that the user should read.
    budget
        What ``max_forgetting=`` did; None without it.
    forgetting_total
        The forgetting of all steps with ``max_forgetting=`` together; None where this step has none.

    Raises
    ------
    ArgumentError
        The action is none of those above.

    Examples
    --------
    >>> before = Evaluation(("a", "b"), np.array([[9, 1], [0, 10]]), 0.1, 0.0)
    >>> after = Evaluation(("a", "b", "c"), np.array([[8, 0, 2], [0, 10, 0], [0, 0, 5]]), 0.1, 0.0)
    >>> report = Report(action="add", classes=("c",), method="lda", before=before, after=after, seconds=0.1)
    >>> round(report.forgetting, 3), report.new
    (0.05, 1.0)
    """

    action: Action
    classes: tuple[str, ...] = ()
    method: str = ""
    reason: str = ""
    before: Evaluation | None = None
    after: Evaluation | None = None
    same_rows: Evaluation | None = None
    left_out: Evaluation | None = None
    forgetting_since_learnt: float | None = None
    measured_on: str = "nothing"
    seconds: float
    fit_seconds: float = 0.0
    samples: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = ()
    budget: Budget | None = None
    forgetting_total: float | None = None

    def __post_init__(self) -> None:
        if self.action not in _WORDS:
            raise ArgumentError(f"action is {self.action!r}; expected one of {', '.join(get_args(Action))}")

    @property
    def old(self) -> tuple[str, ...]:
        """The classes that were measured before the action and are still there after it."""
        if self.before is None:
            return ()
        return tuple(name for name in self.before.by_class if self.after is None or name in self.after.classes)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The classes that `new` is about: those of an action that was about some classes that are there after it."""
        return self.classes if self.subject_words else ()

    @property
    def subject_words(self) -> str:
        """How the text calls `subjects`, such as "new classes"; empty where an action has none."""
        return _WORDS[self.action].subjects

    @property
    def old_before(self) -> float | None:
        """The accuracy on the `old` classes before the action."""
        return _measured(self.before, self.old)

    @property
    def old_after(self) -> float | None:
        """The accuracy on the `old` classes after the action, on the rows of before."""
        return _measured(self.old_now, self.old)

    @property
    def old_now(self) -> Evaluation | None:
        """The evaluation after the action whose rows of the `old` classes are those of before."""
        return self.same_rows if self.same_rows is not None else self.after

    @property
    def new(self) -> float | None:
        """The accuracy after the action on the classes that it added, updated, renamed or merged."""
        return _measured(self.new_now, self.subjects)

    @cached_property
    def new_now(self) -> Evaluation | None:
        """The evaluation after the action with samples of `subjects`: held out, or left out in their turn."""
        if self.left_out is None or self.after is None:
            return self.left_out if self.after is None else self.after
        both, place = self.after.confusion.copy(), [self.after.classes.index(name) for name in self.left_out.classes]
        both[np.ix_(place, place)] += self.left_out.confusion
        return Evaluation(self.after.classes, both, self.after.log_loss, self.after.ece)

    @property
    def overall(self) -> float | None:
        """The accuracy on all samples after the action."""
        return _measured(self.after, self.after.classes) if self.after is not None else None

    @property
    def forgetting(self) -> float | None:
        """The accuracy on the old classes before minus after; negative where it rose."""
        if self.old_before is None or self.old_after is None:
            return None
        return self.old_before - self.old_after

    @property
    def worst(self) -> tuple[str, float] | None:
        """The class that is most surely bad, and its accuracy: the one whose 95 % interval ends lowest.

        One wrong row of one therefore does not outweigh four of four.
        """
        after = self.new_now if self.after is not None else None
        if after is None or not after.by_class:
            return None
        return min(after.by_class.items(), key=lambda item: (after.interval([item[0]])[1], item[1]))

    @property
    def n_measured(self) -> int:
        """The number of samples that `after` was measured on."""
        return self.after.n if self.after is not None else 0

    def intervals(self) -> dict[str, Interval]:
        """Return the 95 % intervals of the accuracies that were measured, by their names here."""
        groups: dict[str, tuple[Evaluation | None, tuple[str, ...]]] = {"old_before": (self.before, self.old)}
        if self.after is not None:
            groups |= {
                "old_after": (self.old_now, self.old),
                "overall": (self.after, self.after.classes),
            }
        groups["new"] = self.new_now, self.subjects
        return {
            key: evaluation.interval(names)
            for key, (evaluation, names) in groups.items()
            if evaluation is not None and evaluation.counts(names)[1]
        }

    def confused(self) -> list[tuple[str, str, int]]:
        """List classes of this action taken for others, and others for them: (true, predicted, samples), most first."""
        found = self.new_now if self.after is not None else None
        if found is None:
            return []
        ours = np.isin(found.classes, self.subjects)
        rows, columns = np.nonzero(found.confusion * (ours[:, None] != ours[None, :]))
        pairs = [
            (found.classes[i], found.classes[j], int(found.confusion[i, j]))
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_dict(self) -> ReportDict:
        """Return the report for JSON."""
        return {
            "action": self.action,
            "classes": list(self.classes),
            "method": self.method,
            "reason": self.reason,
            "old_before": self.old_before,
            "old_after": self.old_after,
            "new": self.new,
            "overall": self.overall,
            "forgetting": self.forgetting,
            "forgetting_since_learnt": self.forgetting_since_learnt,
            "seconds": self.seconds,
            "fit_seconds": self.fit_seconds,
            "ece": [part.ece if part is not None else None for part in (self.before, self.after)],
            "measured_on": self.measured_on,
            "n_measured": self.n_measured,
            "intervals": {key: list(value) for key, value in self.intervals().items()},
            "worst": list(self.worst) if self.worst is not None else None,
            "confused": [list(pair) for pair in self.confused()],
            "samples": self.samples,
            "bytes": self.bytes,
            "notes": list(self.notes),
            "budget": self.budget.to_dict() if self.budget is not None else None,
            "forgetting_total": self.forgetting_total,
        }

    @property
    def title(self) -> str:
        """What was done, to which classes and how, such as "added c with lda"."""
        every = _WORDS[self.action].others == "all classes"
        names = ", ".join(self.classes) or ("all classes" if every else "nothing")
        return f"{_WORDS[self.action].done} {names}" + (f" with {self.method}" if self.method else "")

    def __str__(self) -> str:
        lines = [self.title + (f" ({self.reason})" if self.reason else ""), *self._accuracies(), *self._losses()]
        if self.worst is not None:
            lines.append(f"  {'worst class':<22}{self.worst[1]:7.1%}   {self.worst[0]}")
        if confused := self.confused():
            pairs = ", ".join(f"{true} as {predicted} {count}" for true, predicted, count in confused[:3])
            label = "old and new confused" if self.action == "add" else "confused with others"
            lines.append(f"  {label:<22} {pairs}")
        if self.budget is not None:
            lines.append(f"  forgetting limit {self.budget.forgetting_limit:.1%}: {self.budget}")
        if self.forgetting_total is not None:
            total = f"{100 * self.forgetting_total:7.2f} points, all steps with a limit together"
            lines.append(f"  {'forgetting in total':<22}{total}")
        lines.append(f"  measured on {self.n_measured} {self.measured_on}" if self.after else "  nothing to measure on")
        given = f"{self.samples} samples, " if self.samples else ""
        lines.append(f"  {given}{self.seconds:.2f} s (fit {1000 * self.fit_seconds:.0f} ms)")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _accuracies(self) -> list[str]:
        """Return the lines of the text that hold an accuracy with its interval."""
        words, intervals = _WORDS[self.action], self.intervals()
        rows = [
            (f"{words.others} before", "old_before", self.old_before),
            (f"{words.others} after", "old_after", self.old_after),
            (words.subjects, "new", self.new),
            ("overall", "overall", self.overall),
        ]
        if self.old_now is self.after is not None and set(self.old) == set(self.after.by_class):
            rows.pop()  # It would repeat the accuracy after.
        lines = []
        for label, key, value in rows:
            if value is not None:
                low, high = intervals[key]
                how = (
                    ", each sample held out or left out in its turn"
                    if key == "new" and self.left_out is not None
                    else ""
                )
                lines.append(f"  {label:<22}{value:7.1%}   ({low:.1%} to {high:.1%}{how})")
        return lines

    def _losses(self) -> list[str]:
        """Return the lines of the text that say what was forgotten, and what calibration changed."""
        lines = []
        if self.forgetting is not None:
            lines.append(f"  {'forgetting':<22}{100 * self.forgetting:+7.2f} points")
        if self.forgetting_since_learnt is not None:
            lines.append(f"  {'since each was learnt':<22}{100 * self.forgetting_since_learnt:+7.2f} points")
        if self.action == "calibrate" and self.before is not None and self.after is not None:
            lines.append(f"  {'calibration error':<22}{self.before.ece:7.3f}   now {self.after.ece:.3f}")
            lines.append(f"  {'log-loss':<22}{self.before.log_loss:7.3f}   now {self.after.log_loss:.3f}")
        return lines

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw the accuracy of every class before and after, and the confusion matrix, as a PNG.

        Parameters
        ----------
        path
            The file to write. Its name ends in ``.png``.

        Raises
        ------
        ArgumentError
            Nothing was measured after the action, or the name does not end in ``.png``.
        """
        save_picture(self, path)


def _measured(evaluation: Evaluation | None, names: tuple[str, ...]) -> float | None:
    """Return the accuracy on these classes; None where none of them was measured."""
    if evaluation is None or np.isnan(accuracy := evaluation.of(names)):
        return None
    return accuracy
