"""How many examples a new class needs: accuracy with 1, 2, 5, 10 and 20 (Omniglot has at most 15) rows of each.

``python -m benchmarks.few_examples [--streams NAME ...] [--orders N] [--draws N] [--methods PART ...]``. The base
classes keep all their rows; every draw takes as many rows of each new class at random. Rows are added to
``results/few_examples.json``; one that is there is not measured again without ``--again``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import results, runner, streams
from benchmarks.results import FOLDER, Row
from benchmarks.streams import Stream
from extend.methods import Gaussian

SHOTS = {
    "digits": (1, 2, 5, 10, 20),
    "omniglot": (1, 2, 5, 10, 15),
    "clinc150": (1, 2, 5, 10, 20),
    "cifar10-resnet20": (1, 2, 5, 10, 20),
}
ORDERS = {"digits": 1, "omniglot": 5, "clinc150": 1, "cifar10-resnet20": 1}
DRAWS = {"digits": 5, "omniglot": 1, "clinc150": 2, "cifar10-resnet20": 5}
"""Omniglot's five orders, each with rows of its own, are draws enough; Gaussians, being slow, get one."""

GROUPS = {"clinc150": 10}
"""So many classes come at a time; elsewhere as many as the stream says."""

ENTRIES = tuple(entry for entry in runner.ENTRIES if entry.closed)


def drawn(stream: Stream, shots: int, draw: int) -> list[runner.Step]:
    """The increments with so many rows a class, or all that there are."""
    rng = np.random.default_rng([draw, stream.order])
    parts = [
        {name: rows[rng.permutation(len(rows))] for name, rows in part.items()}
        for part in runner.steps(stream, GROUPS.get(stream.name))
    ]
    return [{name: rows[:shots] for name, rows in part.items()} for part in parts]


def run(names: list[str], orders: int, draws: int, wanted: list[str], again: bool) -> list[Row]:
    """Measure what is missing, one method after the other."""
    for name in names:
        for order in range(min(orders, ORDERS[name])):
            stream = None
            for entry in ENTRIES:
                many = min(draws, 1 if isinstance(entry.method, Gaussian) else DRAWS[name])
                keys = [(name, order, entry.name, shots, draw) for shots in SHOTS[name] for draw in range(many)]
                rows = {_key(row): row for row in results.read_json("few_examples")}
                missing = [key for key in keys if key not in rows or again]
                if not missing or not any(part in entry.name for part in wanted):
                    continue
                started = time.perf_counter()
                stream = stream or streams.load(name, order)
                clf = runner.adopt(stream, entry.view)
                if clf is None:
                    continue
                clf, test = runner.begin(clf, stream, entry), runner.test_rows(clf, stream)
                for key in missing:
                    parts = drawn(stream, key[3], key[4])
                    found = runner.follow(clf, entry.method, parts, test, key[4], every=False)
                    row: Row = {"stream": name, "order": order, "method": entry.name, "shots": key[3], "draw": key[4]}
                    row |= {f: v for f, v in found.figures().items() if f not in ("bytes", "steps", "average")}
                    if entry.method == "auto":
                        row["chosen"] = [report.method for report in found.reports]
                    rows[key] = row
                results.write_json("few_examples", "few_examples", list(rows.values()), seeds="draws: [draw, order]")
                print(f"{name} {order} {entry.name}: {time.perf_counter() - started:.0f} s", flush=True)
    return results.read_json("few_examples")


def lines(rows: list[Row]) -> list[str]:
    """The tables: accuracy on new classes and on all, by the number of examples."""
    out = [
        "Test accuracy in percent after all increments, on the new classes / on all, mean ± standard deviation",
        "over class orders (omniglot) or random draws (the others, order 0). All rows of the base classes are in",
        "the memory. CLINC150's intents come ten at a time.",
    ]
    for stream in (name for name in SHOTS if any(row["stream"] == name for row in rows)):
        known = f"before, on the {len(streams.load(stream, 0).base)} base classes"
        before = np.mean([row["old_before"] for row in rows if row["stream"] == stream])
        out += ["", f"## {stream}", "", f"The network's own head {known}: {100 * before:.1f}.", ""]
        out += ["| method | runs | " + " | ".join(f"{s} a class" for s in SHOTS[stream]) + " |"]
        out += ["|---|---|" + "---|" * len(SHOTS[stream])]
        for entry in ENTRIES:
            cells, count = [], 0
            for shots in SHOTS[stream]:
                some = of(rows, stream, entry.name, shots)
                count = max(count, len(some))
                both = [runner.mean([100 * row[key] for row in some]) for key in ("new", "last")] if some else []
                cells.append(" / ".join(both))
            out += [f"| {entry.name} | {count} | {' | '.join(cells)} |"] if count else []
        for shots in SHOTS[stream]:
            taken = [name for row in of(rows, stream, "auto", shots) for name in row["chosen"]]
            counts = ", ".join(f"{name} {taken.count(name)}" for name in sorted(set(taken)))
            out += ["", f"auto with {shots} a class took: {counts}."] if taken else []
    return out


def of(rows: list[Row], stream: str, method: str, shots: int) -> list[Row]:
    return [row for row in rows if (row["stream"], row["method"], row["shots"]) == (stream, method, shots)]


def plot(rows: list[Row]) -> None:
    """Accuracy on new classes (top) and on all (bottom) by the number of examples, a curve a method."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    names = [name for name in SHOTS if any(row["stream"] == name for row in rows)]
    figure, axes = plt.subplots(2, len(names), figsize=(2.5 + 3.6 * len(names), 6.4), squeeze=False)
    colours = [plt.get_cmap("tab20")(number) for number in range(20)]
    for column, stream in enumerate(names):
        for axis, key, what in zip(axes[:, column], ("new", "last"), ("new classes", "all classes"), strict=True):
            for number, entry in enumerate(ENTRIES):
                points = [(s, some) for s in SHOTS[stream] if (some := of(rows, stream, entry.name, s))]
                values = [100 * np.mean([row[key] for row in some]) for _, some in points]
                style = {"color": colours[number], "linewidth": 2.5 if entry.name == "auto" else 1.2}
                axis.plot([s for s, _ in points], values, marker="o", markersize=3, label=entry.name, **style)
            axis.set(ylabel=f"{what}, %", xlabel="examples a new class", title=stream)
            axis.set_xscale("log")
            axis.set_xticks(SHOTS[stream], [str(s) for s in SHOTS[stream]])
            axis.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="center right", fontsize=7, frameon=False)
    figure.tight_layout(rect=(0, 0, 1 - 2 / (2.5 + 3.6 * len(names)), 1))
    figure.savefig(FOLDER / "few_examples.png", dpi=80)
    plt.close(figure)


def _key(row: Row) -> tuple[str, int, str, int, int]:
    return row["stream"], row["order"], row["method"], row["shots"], row["draw"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", nargs="+", choices=SHOTS, default=list(SHOTS))
    parser.add_argument("--orders", type=int, default=5, help="the first so many class orders")
    parser.add_argument("--draws", type=int, default=5, help="the first so many random draws")
    parser.add_argument("--methods", nargs="+", default=[""], help="only methods with one of these in their names")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    options = parser.parse_args()
    with threadpool_limits(1, user_api="blas"):
        rows = run(options.streams, options.orders, options.draws, options.methods, options.again)
    results.write("few_examples", "few_examples", "New classes from few examples", lines(rows))
    plot(rows)


if __name__ == "__main__":
    main()
