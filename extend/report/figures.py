"""The picture of a report: accuracy by class, the confusion matrix and, with a forgetting limit, the trade-off."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extend.classifier import Evaluation
from extend.core.errors import ArgumentError
from extend.heads import Budget

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from extend.report.report import Report

LONGEST_TITLE = 110
"""A title of more characters is cut, as it would run out of the picture."""


def save_picture(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the picture of a report to a PNG file.

    Parameters
    ----------
    report
        The report, of any action.
    path
        The file to write. Its name ends in ``.png``.

    Raises
    ------
    ArgumentError
        The name does not end in ``.png``, or nothing was measured after the action.

    Examples
    --------
    >>> import tempfile
    >>> from extend.report.report import Report
    >>> after = Evaluation(("a", "b"), np.array([[9, 1], [0, 10]]), 0.1, 0.0)
    >>> report = Report(action="retune", method="lda", seconds=0.1, after=after)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_picture(report, Path(folder) / "report.png")
    ...     Path(folder, "report.png").is_file()
    True
    """
    if Path(path).suffix.lower() != ".png":
        raise ArgumentError(f"{path}: reports are drawn as PNG; give a name that ends in .png")
    after = report.after
    if after is None or not after.n:
        raise ArgumentError(
            "nothing was measured, so there is nothing to draw: add classes with validation=, or wrap the model with "
            "data=, so that its memory holds features to measure on"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Matplotlib takes half a second to import.
    from matplotlib.figure import Figure

    curve = report.budget.curve if report.budget is not None else None
    figure = Figure(figsize=(11 if curve is None else 16, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    bars, matrix, *rest = figure.subplots(1, 2 if curve is None else 3)
    before = report.before.by_class if report.before is not None else {}
    now = after.by_class | (report.same_rows.by_class if report.same_rows is not None else {})
    draw_accuracy(bars, before, now, report.subjects, report.subject_words)
    draw_confusion(matrix, after)
    if report.budget is not None and rest:
        draw_trade_off(rest[0], report.budget)
    title = report.title if len(report.title) <= LONGEST_TITLE else report.title[: LONGEST_TITLE - 1] + "…"
    figure.suptitle(title, parse_math=False)
    figure.savefig(path, dpi=120, format="png")


def draw_accuracy(
    axes: Axes, before: Mapping[str, float], after: Mapping[str, float], marked: Collection[str] = (), called: str = ""
) -> None:
    """Draw the accuracy of each class before (grey) and after (blue, or orange for the marked classes).

    A class that is gone has a grey bar alone, a class that has come a coloured one. `called` names the marked classes
    in the legend.
    """
    names = list(dict.fromkeys([*before, *after]))
    place = {name: i for i, name in enumerate(names)}
    width, shift = (0.4, 0.2) if before else (0.6, 0.0)
    groups = [
        (before, -shift, "0.75", "before"),
        ({name: value for name, value in after.items() if name not in marked}, shift, "tab:blue", "after"),
        ({name: value for name, value in after.items() if name in marked}, shift, "tab:orange", f"{called} after"),
    ]
    for values, where, colour, label in groups:
        if values:
            at = [place[name] + where for name in values]
            axes.bar(at, [100 * value for value in values.values()], width, color=colour, label=label)
    _name(axes, "x", names, 45 if max(map(len, names)) > 3 else 0)
    axes.set(ylabel="accuracy, %", ylim=(0, 120), title="accuracy by class")
    axes.legend(loc="upper center", ncols=3)


def draw_trade_off(axes: Axes, budget: Budget) -> None:
    """Draw, for each offset of the new classes' scores, what old classes lose and new ones gain."""
    curve = budget.curve
    assert curve is not None
    axes.plot(curve.offset, 100 * curve.old, color="tab:blue", label="old classes")
    axes.plot(curve.offset, 100 * curve.new, color="tab:orange", label="new classes")
    axes.plot(curve.offset, 100 * curve.forgetting, color="tab:red", label="old turned wrong")
    axes.axvline(budget.offset, color="0.3", linestyle="--", label=f"taken, for {budget.forgetting_limit:.1%}")
    axes.set(xlabel="offset of the new classes' scores", ylabel="%", ylim=(-2, 120), title="the trade-off")
    axes.legend(loc="upper center", ncols=2, fontsize=8)


def draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the confusion matrix, coloured by the share of each true class, with the counts of up to 20 classes."""
    counts = evaluation.confusion.sum(axis=1, keepdims=True)
    shares = evaluation.confusion / np.maximum(counts, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _name(axes, "x", evaluation.classes, 90)
    _name(axes, "y", evaluation.classes, 0)
    axes.set(xlabel="predicted", ylabel="true", title="confusion")
    if len(evaluation.classes) <= 20:
        for i, j in np.argwhere(evaluation.confusion):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(evaluation.confusion[i, j]), ha="center", va="center", color=colour, fontsize=7)


def _name(axes: Axes, which: str, names: Sequence[str], rotation: int) -> None:
    """Write class names along an axis as they are (a ``$`` starts no formula), smaller where there are many."""
    put = axes.set_xticks if which == "x" else axes.set_yticks
    put(range(len(names)), names, rotation=rotation, fontsize=min(10.0, 240 / len(names)), parse_math=False)
