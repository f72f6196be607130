"""Every method on every data set and class order, beside heads refitted on all data.

``python -m benchmarks.forgetting [--streams NAME ...] [--orders N] [--methods PART ...] [--quick]``. All figures are on
the streams' test rows; held-out rows serve the reports alone (see `benchmarks.trust`). Rows are added to
``results/forgetting.json`` one by one; one that is there is not measured again without ``--again``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks import results, runner, streams
from benchmarks.results import FOLDER, Row
from benchmarks.runner import View
from benchmarks.streams import Stream
from extend.classifier import Classifier
from extend.classifier.evaluation import BINS

FIGURES = ("old_before", "old_after", "new", "last", "average")
SLOW = ("svm", "new_units", "naive")
"""On CLINC150 in order 0 only; on Omniglot `svm` in order 0 only."""
JOINED = (*SLOW, "blend")
"""On CLINC150 in five increments of ten classes."""
FEW_ROWS = 5000
"""More than these are too many for a kernel machine."""

JOINT: dict[str, Callable[[], Any]] = {
    "joint logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "joint LDA": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "joint ridge": lambda: RidgeClassifierCV(alphas=np.logspace(-4, 4, 17)),
    "joint RBF SVM": lambda: make_pipeline(StandardScaler(), SVC(C=10)),
}
NAMES = (*(entry.name for entry in runner.ENTRIES), *JOINT)
QUICK = (*(entry.name for entry in runner.ENTRIES if entry.closed), "joint LDA")


def skipped(name: str, stream: str, order: int) -> str:
    """Why a method is left out on a stream in an order; empty if it is not."""
    if order and ((name == "svm" and stream == "omniglot") or (name in SLOW and stream == "clinc150")):
        return "order 0 only: slow"
    if stream == "cifar10-resnet20" and name == "joint logistic regression" and order:
        return "order 0 only: the orders name the same features differently"
    if name == "joint RBF SVM" and stream not in ("digits", "omniglot"):
        return f"more than {FEW_ROWS} rows"
    return ""


def measure(stream: Stream, name: str, bases: dict[View, Classifier | None], group: int | None = None) -> Row | None:
    """One row of the results; None where the method cannot be had.

    `bases` keeps what the methods share; with `group`, increments are joined to that many classes each.
    """
    row: Row = {"stream": stream.name, "order": stream.order, "method": name}
    if name in JOINT:
        return row | {"kind": "joint", "increments": 1, "note": "base and end only"} | joint(stream, name)
    entry = next(entry for entry in runner.ENTRIES if entry.name == name)
    notes = []
    if stream.name == "clinc150" and (name in JOINED or group):
        group = 10
        notes.append("increments of ten")
    if stream.name == "cifar10-resnet20" and name == "svm":
        entry = replace(entry, view=View(penultimate=True))
        notes.append(f"{stream.penultimate} penultimate columns")
    if entry.view not in bases:
        if entry.view.width is not None or entry.view.transform is not None:  # Only the plain ones are shared.
            for view in [view for view in bases if view.width is not None or view.transform is not None]:
                del bases[view]
        bases[entry.view] = runner.adopt(stream, entry.view)
    clf = bases[entry.view]
    if clf is None:
        return None
    parts, test = runner.steps(stream, group), runner.test_rows(clf, stream)
    run = runner.follow(runner.begin(clf, stream, entry), entry.method, parts, test, stream.order)
    row |= {"kind": "ours", "increments": len(parts), "note": ", ".join(notes)} | run.figures()
    if entry.method == "auto":
        row["chosen"] = [report.method for report in run.reports]
    return row | {"told": run.told()}


def joint(stream: Stream, name: str) -> Row:
    """A head fitted to all rows of all classes at once, held-out ones included; before: to those of the base."""
    x = np.concatenate([stream.train.features, stream.held.features])
    y = np.concatenate([stream.train.labels, stream.held.labels])
    test, labels, known = stream.test.features, stream.test.labels, len(stream.base)
    first = JOINT[name]().fit(x[y < known], y[y < known])
    before = float(first.score(test[labels < known], labels[labels < known]))
    started = time.perf_counter()
    model = JOINT[name]().fit(x, y)
    seconds = time.perf_counter() - started
    right = model.predict(test) == labels
    after, last = float(right[labels < known].mean()), float(right.mean())
    figures: dict[str, Any] = {
        "old_before": before,
        "old_after": after,
        "new": float(right[labels >= known].mean()),
        "last": last,
        "average": None,
        "forgetting": 100 * (before - after),
        "ece": None,
        "seconds": seconds,
    }
    if name in ("joint logistic regression", "joint LDA"):
        figures["ece"] = calibration_error(softmax(model.decision_function(test), axis=1), labels)
    rounded: Row = {key: round(value, 6) if value is not None else None for key, value in figures.items()}
    return rounded | {"bytes": x.nbytes, "steps": [round(before, 6), round(last, 6)]}


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error over as many bins as `extend.evaluate` has (Guo et al. 2017, equation 3)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(place, right - confidence, BINS)).sum() / len(labels))


def run(names: list[str], orders: int, wanted: list[str], again: bool) -> list[Row]:
    """Measure what is missing, one row after the other, and return all rows known."""
    for name in names:
        for order in range(min(orders, streams.ORDERS[name])):
            stream: Stream | None = None
            bases: dict[View, Classifier | None] = {}
            for method in sorted(wanted, key=lambda method: method == "svm"):  # The slowest last.
                key = (name, order, method)
                rows = {(row["stream"], row["order"], row["method"]): row for row in results.read_json("forgetting")}
                if skipped(method, name, order) or (key in rows and not again):
                    continue
                stream = stream or streams.load(name, order)
                started = time.perf_counter()
                row = measure(stream, method, bases)
                if row is None:
                    continue
                rows[key] = row
                save(list(rows.values()))
                took = time.perf_counter() - started
                print(f"{name} {order} {method}: last {100 * row['last']:.2f} ({took:.0f} s)", flush=True)
    return results.read_json("forgetting")


def quick() -> list[Row]:
    """Rows of digits and, in increments of ten, CLINC150, both in order 0; nothing is recorded."""
    rows = []
    for name, group in (("digits", None), ("clinc150", 10)):
        stream = streams.load(name, 0)
        bases: dict[View, Classifier | None] = {}
        for method in QUICK:
            started = time.perf_counter()
            if row := measure(stream, method, bases, group):
                rows.append(row)
                took = time.perf_counter() - started
                print(f"{name} 0 {method}: last {100 * row['last']:.2f} ({took:.0f} s)", flush=True)
    return rows


def save(rows: list[Row]) -> None:
    seeds = "networks, methods and pseudo-samples: the number of the class order; random layers: 0"
    order = {name: place for place, name in enumerate(NAMES)}
    known = list(streams.ORDERS)
    rows = sorted(rows, key=lambda row: (known.index(row["stream"]), row["order"], order.get(row["method"], 99)))
    results.write_json("forgetting", "forgetting", rows, seeds=seeds)


def of(rows: list[Row], stream: str, method: str) -> list[Row]:
    """The rows of a method on a stream, in the order of the class orders."""
    found = [row for row in rows if (row["stream"], row["method"]) == (stream, method)]
    return sorted(found, key=lambda row: row["order"])


def lines(rows: list[Row]) -> list[str]:
    """The tables, one a data set."""
    out = [
        "Test accuracy in percent, mean ± standard deviation over class orders. Before, after: on the base",
        "classes, before and after all increments; new: on all others; last: on all at the end; average: mean",
        "over the steps, base included; forgetting in points; ECE in percent. Seconds: all fits together, BLAS on",
        "one thread. Memory: what is kept, float64 statistics and held-out rows; of joint heads: all rows.",
        "",
        "Before: the trained network's own head where the network was trained on the base classes (digits,",
        "omniglot, cifar10-resnet20); elsewhere the method itself on the base (what appends or is trained: LDA).",
        "Naive: new columns trained on the new classes alone. No memory: the network and its penultimate features",
        "are all there is.",
    ]
    for stream in (name for name in streams.ORDERS if any(row["stream"] == name for row in rows)):
        out += ["", f"## {stream}", ""]
        out += ["| method | orders | before | after | new | last | average | forgetting | ECE | s | memory |"]
        out += ["|---|---|---|---|---|---|---|---|---|---|---|"]
        out += [_line(name, found) for name in NAMES if (found := of(rows, stream, name))]
        whys = {name: skipped(name, stream, streams.ORDERS[stream] - 1) for name in NAMES}
        out += [""] if any(whys.values()) else []
        out += [f"{name}: {why}." for name, why in whys.items() if why]
        if taken := [name for row in of(rows, stream, "auto") for name in row["chosen"]]:
            counts = ", ".join(f"{name} {taken.count(name)}" for name in sorted(set(taken), key=taken.count)[::-1])
            out += ["", f"auto took, over all increments: {counts}."]
    return out


def _line(name: str, rows: list[Row]) -> str:
    cells = []
    for figure in FIGURES:
        values = [100 * row[figure] for row in rows if row[figure] is not None]
        cells.append(runner.mean(values, 2) if values else "")
    cells.append(runner.mean([row["forgetting"] for row in rows], 2))
    errors = [100 * row["ece"] for row in rows if row["ece"] is not None]
    cells += [runner.mean(errors) if errors else "", f"{np.mean([row['seconds'] for row in rows]):.2g}"]
    title = f"{name} ({rows[0]['note']})" if rows[0]["note"] and rows[0]["kind"] == "ours" else name
    return f"| {title} | {len(rows)} | {' | '.join(cells)} | {runner.size(rows[0]['bytes'])} |"


def plot(rows: list[Row]) -> None:
    """Last accuracy of every method, one panel a data set; the best joint head as a dashed line."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    names = [name for name in streams.ORDERS if any(row["stream"] == name for row in rows)]
    methods = [entry.name for entry in runner.ENTRIES]
    figure, axes = plt.subplots(1, len(names), figsize=(3 + 2.2 * len(names), 4.6), sharey=True, squeeze=False)
    for axis, stream in zip(axes[0], names, strict=True):
        for place, method in enumerate(methods):
            last = [100 * row["last"] for row in of(rows, stream, method)]
            if last:
                error = np.std(last, ddof=1) if len(last) > 1 else 0
                axis.barh(place, np.mean(last), xerr=error, color="#3070b0", height=0.75)
                axis.text(1, place, f"{np.mean(last):.1f}", va="center", fontsize=7, color="white")
            else:
                axis.text(1, place, "not run", va="center", fontsize=7, color="grey")
        if bound := best(rows, stream, tuple(JOINT)):
            axis.axvline(100 * bound[1], color="#c04030", linestyle="--", linewidth=1)
        axis.set(xlim=(0, 100), xlabel="last accuracy, %")
        axis.set_title(stream, fontsize=10)
    axes[0, 0].set_yticks(range(len(methods)), methods, fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.suptitle("no old sample kept; dashed: the best head refitted on all data", fontsize=9)
    figure.tight_layout()
    figure.savefig(FOLDER / "forgetting.png", dpi=80)
    plt.close(figure)


def best(rows: list[Row], stream: str, methods: tuple[str, ...]) -> tuple[str, float, float] | None:
    """Of these methods the one with the highest mean last accuracy on a stream, that accuracy, and its forgetting."""
    found = []
    for method in methods:
        if runs := of(rows, stream, method):
            last, lost = (float(np.mean([row[key] for row in runs])) for key in ("last", "forgetting"))
            found.append((method, last, lost))
    return max(found, key=lambda item: item[1]) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", nargs="+", choices=streams.ORDERS, default=list(streams.ORDERS))
    parser.add_argument("--orders", type=int, default=5, help="the first so many class orders")
    parser.add_argument("--methods", nargs="+", default=[""], help="only methods with one of these in their names")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="digits and clinc150, order 0, closed forms and joint LDA; print, record nothing",
    )
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    options = parser.parse_args()
    wanted = [name for name in NAMES if any(part in name for part in options.methods)]
    with threadpool_limits(1, user_api="blas"):
        if options.quick:
            print("\n".join(lines(quick())))
            return
        rows = run(options.streams, options.orders, wanted, options.again)
    title = "Adding classes without old data: every method, data set and class order"
    results.write("forgetting", "forgetting", title, lines(rows))
    plot(rows)


if __name__ == "__main__":
    main()
