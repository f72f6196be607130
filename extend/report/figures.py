"""TODO"""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.classifier.evaluation import Evaluation
from extend.heads.trade_off import Budget


def draw_accuracy(axes: Any, before: dict[str, float], after: dict[str, float], added: set[str]) -> None:
    """Bars of each class's accuracy: before (grey), after (blue; new classes orange)."""
    names = list(after)
    place = np.arange(len(names))
    axes.bar(place - 0.2, [100 * before.get(name, 0) for name in names], 0.4, color="0.75", label="before")
    colours = ["tab:orange" if name in added else "tab:blue" for name in names]
    axes.bar(place + 0.2, [100 * after[name] for name in names], 0.4, color=colours, label="after (orange: new)")
    axes.set_xticks(place, names, rotation=45 if max(map(len, names)) > 3 else 0)
    axes.set(ylabel="accuracy, %", ylim=(0, 120), title="accuracy by class")
    axes.legend(loc="upper center", ncols=2)


def draw_trade_off(axes: Any, budget: Budget) -> None:
    """What each offset of the new classes' scores costs the old ones and gives the new ones."""
    curve = budget.curve
    assert curve is not None
    axes.plot(curve.offset, 100 * curve.old, color="tab:blue", label="old classes")
    axes.plot(curve.offset, 100 * curve.new, color="tab:orange", label="new classes")
    axes.plot(curve.offset, 100 * curve.forgetting, color="tab:red", label="old turned wrong")
    axes.axvline(budget.offset, color="0.3", linestyle="--", label=f"taken, for {budget.forgetting_limit:.1%}")
    axes.set(xlabel="offset of the new classes' scores", ylabel="%", ylim=(-2, 120), title="the trade-off")
    axes.legend(loc="upper center", ncols=2, fontsize=8)


def draw_confusion(axes: Any, evaluation: Evaluation) -> None:
    """The confusion matrix as shares of the true class."""
    counts = evaluation.confusion.sum(axis=1, keepdims=True)
    shares = evaluation.confusion / np.maximum(counts, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    k = len(evaluation.classes)
    axes.set_xticks(range(k), evaluation.classes, rotation=90)
    axes.set_yticks(range(k), evaluation.classes)
    axes.set(xlabel="predicted", ylabel="true", title="confusion")
    if k <= 20:
        for i, j in np.argwhere(evaluation.confusion):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, str(evaluation.confusion[i, j]), ha="center", va="center", color=colour, fontsize=7)
