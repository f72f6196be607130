"""Pictures: accuracy by class, what is taken for what and, with a forgetting limit, the trade-off.

Up to twenty classes are all drawn, with their confusion matrix. Of more, the ten worst classes and the pairs that are
most often confused are.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cache
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
LONGEST_NAME = 24
"""A class name of more characters is cut in the middle."""
ALL = 20
"""So many classes are all drawn."""
WORST = 10
"""Of more classes, so many are."""


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
    after = report.after
    if after is None or not after.n:
        raise ArgumentError(
            "nothing was measured, so there is nothing to draw: add classes with validation=, or wrap the model with "
            "data=, so that its memory holds features to measure on"
        )
    before = report.before.by_class if report.before is not None else {}
    now = after.by_class | (report.same_rows.by_class if report.same_rows is not None else {})
    marked = report.subjects, report.subject_words
    draw(path, report.title, after, before, now, *marked, budget=report.budget)


def draw(
    path: str | os.PathLike[str],
    title: str,
    evaluation: Evaluation,
    before: Mapping[str, float] | None = None,
    now: Mapping[str, float] | None = None,
    marked: Collection[str] = (),
    called: str = "",
    *,
    budget: Budget | None = None,
) -> None:
    """Write the picture of an evaluation to a PNG file.

    Parameters
    ----------
    path
        The file to write. Its name ends in ``.png``.
    title
        What stands above the picture.
    evaluation
        What was measured.
    before, now
        The accuracy of each class before and after an action; None: nothing before, and that of `evaluation`.
    marked, called
        The classes that an action was about, and how they are called.
    budget
        The trade-off to draw beside the rest.

    Raises
    ------
    ArgumentError
        The name does not end in ``.png``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw(Path(folder) / "x.png", "two classes", Evaluation(("a", "b"), np.array([[9, 1], [0, 10]]), 0.1, 0.0))
    """
    if Path(path).suffix.lower() != ".png":
        raise ArgumentError(f"{path}: reports are drawn as PNG; give a name that ends in .png")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # Matplotlib takes half a second to import.
    from matplotlib.figure import Figure

    curve = budget.curve if budget is not None else None
    was, found = before or {}, evaluation.by_class if now is None else now
    names = list(dict.fromkeys([*was, *found]))
    few = len(names) <= ALL
    height = 4.5 if few and len(names) <= 10 else 6.5
    figure = Figure(figsize=(11 if curve is None else 16, height), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, confused, *rest = figure.subplots(1, 2 if curve is None else 3)
    if not few:
        names = sorted(names, key=lambda name: (found.get(name, 2.0), name))[:WORST]
    draw_accuracy(accuracy, names, was, found, marked, called)
    accuracy.set_title("accuracy by class" if few else f"the {WORST} worst of {len(evaluation.by_class)} classes")
    if few and len(evaluation.classes) <= ALL:
        draw_confusion(confused, evaluation)
    else:
        draw_pairs(confused, evaluation)
    if budget is not None and rest:
        draw_trade_off(rest[0], budget)
    short = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"
    figure.suptitle(_drawable(short, title), parse_math=False, fontfamily=list(_fonts()))
    Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")


def draw_accuracy(
    axes: Axes,
    names: Sequence[str],
    before: Mapping[str, float],
    after: Mapping[str, float],
    marked: Collection[str] = (),
    called: str = "",
) -> None:
    """Draw the accuracy of classes before (grey) and after (blue, or orange for the marked classes), one below another.

    A class that is gone has a grey bar alone, a class that has come a coloured one. `called` names the marked classes
    in the legend.
    """
    place = {name: i for i, name in enumerate(names)}
    width, shift = (0.4, 0.2) if before else (0.6, 0.0)
    groups = [
        (before, -shift, "0.75", "before"),
        ({name: value for name, value in after.items() if name not in marked}, shift, "tab:blue", "after"),
        ({name: value for name, value in after.items() if name in marked}, shift, "tab:orange", f"{called} after"),
    ]
    for values, where, colour, label in groups:
        shown = {name: value for name, value in values.items() if name in place}
        if shown:
            at = [place[name] + where for name in shown]
            axes.barh(at, [100 * value for value in shown.values()], width, color=colour, label=label)
    _name(axes, "y", names, 0)
    axes.invert_yaxis()
    axes.set(xlabel="accuracy, %", xlim=(0, 100))
    if before or marked:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)


def draw_trade_off(axes: Axes, budget: Budget) -> None:
    """Draw, for each offset of the new classes' scores, what old classes lose and new ones gain."""
    curve = budget.curve
    assert curve is not None
    axes.plot(curve.offset, 100 * curve.old, color="tab:blue", label="old classes")
    axes.plot(curve.offset, 100 * curve.new, color="tab:orange", label="new classes")
    axes.plot(curve.offset, 100 * curve.forgetting, color="tab:red", label="old turned wrong")
    axes.axvline(budget.offset, color="0.3", linestyle="--", label=f"taken, for {budget.forgetting_limit:.1%}")
    axes.set(xlabel="offset of the new classes' scores", ylabel="%", ylim=(-2, 102), title="the trade-off")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize=8, frameon=False)


def draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the confusion matrix, coloured by the share of each true class, with the counts."""
    counts = evaluation.confusion.sum(axis=1, keepdims=True)
    shares = evaluation.confusion / np.maximum(counts, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _name(axes, "x", evaluation.classes, 90)
    _name(axes, "y", evaluation.classes, 0)
    axes.set(xlabel="predicted", ylabel="true", title="confusion")
    for i, j in np.argwhere(evaluation.confusion):
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, str(evaluation.confusion[i, j]), ha="center", va="center", color=colour, fontsize=7)


def draw_pairs(axes: Axes, evaluation: Evaluation) -> None:
    """Draw the pairs of classes that are most often taken for one another, as shares of the true class."""
    wrong = evaluation.confusion * (1 - np.eye(len(evaluation.classes), dtype=evaluation.confusion.dtype))
    first = np.argsort(wrong, axis=None, kind="stable")[::-1][:WORST]
    pairs = [divmod(int(place), len(evaluation.classes)) for place in first if wrong.flat[place]]
    axes.set_title("most confused pairs" if pairs else "nothing was confused")
    totals = np.maximum(evaluation.confusion.sum(axis=1), 1)
    axes.barh(range(len(pairs)), [100 * wrong[i, j] / totals[i] for i, j in pairs], 0.6, color="tab:red")
    axes.set_yticks(
        range(len(pairs)), [f"{_shown(evaluation.classes, i)}\nas {_shown(evaluation.classes, j)}" for i, j in pairs]
    )
    _plainly(axes.get_yticklabels(), 8.0)
    for row, (i, j) in enumerate(pairs):
        axes.text(100 * wrong[i, j] / totals[i], row, f" {wrong[i, j]} of {totals[i]}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="taken for the other, %", xlim=(0, 125))


def _name(axes: Axes, which: str, names: Sequence[str], rotation: int) -> None:
    """Write class names along an axis as they are (a ``$`` starts no formula), smaller where there are many."""
    put = axes.set_xticks if which == "x" else axes.set_yticks
    put(range(len(names)), [_shown(names, i) for i in range(len(names))], rotation=rotation)
    _plainly(axes.get_xticklabels() if which == "x" else axes.get_yticklabels(), 10.0 if len(names) <= 12 else 8.0)


def _plainly(labels: Sequence[object], size: float) -> None:
    for label in labels:
        label.set(parse_math=False, fontsize=size, fontfamily=list(_fonts()))  # type: ignore[attr-defined]


def _shown(names: Sequence[str], place: int) -> str:
    """A class name for a picture: cut if it is long, and its place where no font here has its letters."""
    name = " ".join(names[place].split())
    if len(name) > LONGEST_NAME:
        half = (LONGEST_NAME - 1) // 2
        name = f"{name[:half]}…{name[-half:]}"
    return _drawable(name, f"class {place}")


def _drawable(text: str, otherwise: str) -> str:
    """The text if the fonts here have its letters; of other texts the letters that they have, or something else."""
    known = _letters()
    if all(ord(letter) in known for letter in text):
        return text
    left = "".join(letter for letter in otherwise if ord(letter) in known).strip()
    return left or "?"


@cache
def _fonts() -> tuple[str, ...]:
    """The fonts to write with, the usual one first: those that are installed of some with many letters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in MANY_LETTERS if name in installed))


MANY_LETTERS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Unifont",
    "Arial Unicode MS",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
)
"""Fonts that have letters which the usual one lacks."""


@cache
def _letters() -> frozenset[int]:
    """The letters of these fonts."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    found: set[int] = {ord(" ")}
    for name in _fonts():
        found.update(FT2Font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)
