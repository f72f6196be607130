"""Digits, 0 to 7 and then 8 and 9, over ten random splits: ``python -m benchmarks.digits_splits``.

One network a split, none picked. Beside it: the same network retrained on all ten classes, and an RBF SVM on raw
pixels. All figures are on the split's test samples.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.svm import SVC

import extend
from benchmarks.results import write
from extend.cli import digits as demo

METHODS = ("auto", "lda", "ridge", "nearest_mean", "svm", "new_units")


def split_figures(split: int) -> dict[str, float]:
    """Accuracy and forgetting, in percent and points, of every method and of the upper bounds on one split."""
    x, x_test, y, y_test = demo.digits(split)
    base = demo.train_base(split)
    old = (x_test[y_test < 8], y_test[y_test < 8])
    before = extend.evaluate(base, old).accuracy
    figures = {"base": 100 * before}
    for method in METHODS:
        clf, steps = demo.add_8_then_9(base, split, method)
        figures[method] = 100 * (steps[-1].overall or 0.0)
        figures[f"{method} forgetting"] = 100 * (before - extend.evaluate(clf, old).accuracy)
    naive = demo.naive(base, split)
    figures["naive"] = 100 * (naive.overall or 0.0)
    figures["joint network"] = 100 * (demo.joint(base, split).overall or 0.0)
    machine = SVC(C=10, gamma="scale").fit(x.reshape(len(x), -1), y)
    figures["joint RBF SVM"] = 100 * machine.score(x_test.reshape(len(x_test), -1), y_test)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="first split")
    parser.add_argument("--splits", type=int, default=10, help="how many")
    options = parser.parse_args()
    splits = range(options.first, options.first + options.splits)
    found = []
    for split in splits:
        found.append(split_figures(split))
        print(f"split {split}: " + ", ".join(f"{name} {value:.2f}" for name, value in found[-1].items()), flush=True)
    lines = ["| | mean | " + " | ".join(map(str, splits)) + " |", "|---|" + "---|" * (len(splits) + 1)]
    for name in found[0]:
        row = [figures[name] for figures in found]
        lines.append(f"| {name} | {np.mean(row):.2f} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    title = "Digits: 0 to 7, then 8, then 9; overall accuracy in percent, forgetting in points, by split"
    write("digits_splits", "digits_splits", title, lines)


if __name__ == "__main__":
    main()
