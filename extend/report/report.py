"""What an operation changed: a table for the terminal, a dict for machines, a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extend.classifier.evaluation import Evaluation
from extend.core.errors import ArgumentError
from extend.heads.trade_off import Budget
from extend.report.figures import draw_accuracy, draw_confusion, draw_trade_off

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Report:
    """What adding (or removing) classes did, measured on held-out features or on the user's validation data.

    Accuracies are shares of samples, from 0 to 1; None where nothing could be measured.

    Args:
        action: "add", "update", "remove", "calibrate", "retune" or "adapt".
        classes: the classes of this step.
        method, reason: what was taken and, if that was chosen automatically, why.
        before, after: the old classifier on the old classes' samples, the new one on all samples.
        forgetting_since_learnt: forgetting of every class since it was learnt; None if that was not measured.
        measured_on: "held-out features", "held-out features (seen by the backbone: optimistic, no guarantee)",
            "validation data", or "nothing".
        seconds: features and fit together; `fit_seconds`: the fit alone.
        samples: new samples; `bytes`: the size of the memory, 0 without one.
        budget: what ``max_forgetting=`` did; None without it. `forgetting_total`: the sum of this step's risk and of all earlier
        ones'.

    >>> before = Evaluation(("a", "b"), np.array([[9, 1], [0, 10]]), 0.1, 0.0)
    >>> after = Evaluation(("a", "b", "c"), np.array([[8, 0, 2], [0, 10, 0], [0, 0, 5]]), 0.1, 0.0)
    >>> report = Report("add", ("c",), "lda", "", before, after, None, "validation samples", 0.1, 0.01, 50, 0)
    >>> round(report.forgetting, 3), report.new
    (0.05, 1.0)
    """

    action: str
    classes: tuple[str, ...]
    method: str
    reason: str
    before: Evaluation | None
    after: Evaluation | None
    forgetting_since_learnt: float | None
    measured_on: str
    seconds: float
    fit_seconds: float
    samples: int
    bytes: int
    notes: tuple[str, ...] = ()
    budget: Budget | None = None
    forgetting_total: float | None = None

    @property
    def old(self) -> tuple[str, ...]:
        """The old classes on which something was measured."""
        return tuple(self.before.by_class) if self.before is not None else ()

    @property
    def old_before(self) -> float | None:
        return _number(self.before.accuracy) if self.before is not None else None

    @property
    def old_after(self) -> float | None:
        return _number(self.after.of(self.old)) if self.after is not None else None

    @property
    def new(self) -> float | None:
        return _number(self.after.of(self.classes)) if self.after is not None else None

    @property
    def overall(self) -> float | None:
        return _number(self.after.accuracy) if self.after is not None else None

    @property
    def forgetting(self) -> float | None:
        """Accuracy on the old classes before minus after; negative if it rose."""
        if self.old_before is None or self.old_after is None:
            return None
        return self.old_before - self.old_after

    @property
    def worst(self) -> tuple[str, float] | None:
        """The class that is most surely bad, and its accuracy: the lowest upper end of a 95 % interval.

        So one wrong row of one does not outweigh four of four.
        """
        if self.after is None or not self.after.by_class:
            return None
        after = self.after
        return min(after.by_class.items(), key=lambda item: (after.interval([item[0]])[1], item[1]))

    @property
    def n_measured(self) -> int:
        return self.after.n if self.after is not None else 0

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals of the measured accuracies."""
        found = {}
        if self.before is not None and self.old:
            found["old_before"] = self.before.interval(self.old)
        if self.after is not None:
            groups = {"old_after": self.old, "new": self.classes, "overall": self.after.classes}
            found |= {key: self.after.interval(names) for key, names in groups.items() if self.after.counts(names)[1]}
        return found

    def confused(self) -> list[tuple[str, str, int]]:
        """Old classes taken for new ones and the other way round: (true, predicted, samples), most first."""
        if self.after is None:
            return []
        fresh, classes = set(self.classes), self.after.classes
        pairs = [
            (true, predicted, int(self.after.confusion[i, j]))
            for i, true in enumerate(classes)
            for j, predicted in enumerate(classes)
            if (true in fresh) != (predicted in fresh) and self.after.confusion[i, j]
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_dict(self) -> dict[str, Any]:
        """For JSON; accuracies as fractions."""
        keys = (
            "old_before",
            "old_after",
            "new",
            "overall",
            "forgetting",
            "forgetting_since_learnt",
            "seconds",
            "fit_seconds",
        )
        return {
            "action": self.action,
            "classes": list(self.classes),
            "method": self.method,
            "reason": self.reason,
            **{key: getattr(self, key) for key in keys},
            "ece": [part.ece if part is not None else None for part in (self.before, self.after)],
            "measured_on": self.measured_on,
            "n_measured": self.n_measured,
            "intervals": {key: list(value) for key, value in self.intervals().items()},
            "worst": list(self.worst) if self.worst else None,
            "confused": [list(pair) for pair in self.confused()],
            "samples": self.samples,
            "bytes": self.bytes,
            "notes": list(self.notes),
            "budget": self.budget.to_dict() if self.budget else None,
            "forgetting_total": self.forgetting_total,
        }

    def __str__(self) -> str:
        names = ", ".join(self.classes) or ("all classes" if self.action in ("calibrate", "retune") else "nothing")
        lines = [f"{_DONE[self.action]} {names} with {self.method}" + (f" ({self.reason})" if self.reason else "")]
        intervals = self.intervals()
        rows = [
            ("old classes before", "old_before", self.old_before),
            ("old classes after", "old_after", self.old_after),
            ("new classes", "new", self.new),
            ("overall", "overall", self.overall),
        ]
        for label, key, value in rows:
            if value is not None:
                low, high = intervals[key]
                lines.append(f"  {label:<22}{value:7.1%}   ({low:.1%} to {high:.1%})")
        if self.forgetting is not None:
            lines.append(f"  {'forgetting':<22}{100 * self.forgetting:+7.2f} points")
        if self.forgetting_since_learnt is not None:
            lines.append(f"  {'since each was learnt':<22}{100 * self.forgetting_since_learnt:+7.2f} points")
        if self.action == "calibrate" and self.before is not None and self.after is not None:
            lines.append(f"  {'calibration error':<22}{self.before.ece:7.3f}   now {self.after.ece:.3f}")
            lines.append(f"  {'log-loss':<22}{self.before.log_loss:7.3f}   now {self.after.log_loss:.3f}")
        if self.worst is not None:
            lines.append(f"  {'worst class':<22}{self.worst[1]:7.1%}   {self.worst[0]}")
        if self.confused():
            pairs = ", ".join(f"{true} as {predicted} {count}" for true, predicted, count in self.confused()[:3])
            lines.append(f"  {'old and new confused':<22} {pairs}")
        if self.budget is not None:
            lines.append(f"  budget {self.budget.forgetting_limit:.1%}: {self.budget}")
        if self.forgetting_total is not None:
            lines.append(
                f"  {'risk since wrapped':<22}{100 * self.forgetting_total:7.2f} points, all steps with a budget together"
            )
        lines.append(f"  measured on {self.n_measured} {self.measured_on}" if self.after else "  nothing to measure on")
        lines.append(f"  {self.samples} samples, {self.seconds:.2f} s (fit {1000 * self.fit_seconds:.0f} ms)")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw the accuracy of every class, before and after, and the confusion matrix, as a PNG.

        Raises:
            ValueError: nothing was measured, or the name does not end in .png.
        """
        if Path(path).suffix.lower() != ".png":
            raise ArgumentError(f"{path}: reports are drawn as PNG; give a name that ends in .png")
        if self.after is None:
            raise ArgumentError("nothing was measured, so there is nothing to draw: pass validation=")
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # Half a second: only for those who draw.
        from matplotlib.figure import Figure

        curve = self.budget.curve if self.budget is not None else None
        figure = Figure(figsize=(11 if curve is None else 16, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        bars, matrix, *rest = figure.subplots(1, 2 if curve is None else 3)
        if self.budget is not None and rest:
            draw_trade_off(rest[0], self.budget)
        draw_accuracy(bars, self.before.by_class if self.before else {}, self.after.by_class, set(self.classes))
        draw_confusion(matrix, self.after)
        figure.suptitle(f"{_DONE[self.action]} {', '.join(self.classes)} with {self.method}")
        figure.savefig(path, dpi=120, format="png")


_DONE = {
    "adapt": "adapted to",
    "add": "added",
    "update": "updated",
    "remove": "removed",
    "calibrate": "calibrated",
    "retune": "retuned",
}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
