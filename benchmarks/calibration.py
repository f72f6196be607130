"""Calibration after any method: ``python -m benchmarks.calibration``.

ECE and accuracy on test rows after all additions, before and after weight alignment (WA), bias correction (BiC) and
temperature, each fitted on the memory's held-out rows.
"""

from __future__ import annotations

import argparse

import extend
from benchmarks.results import write, write_json
from benchmarks.runner import ENTRIES, adopt, begin, follow, mean, steps, test_rows
from benchmarks.streams import ORDERS, load
from extend.operations.calibrate import Step

STEPS: dict[str, tuple[Step, ...]] = {
    "as fitted": (),
    "temperature": ("temperature",),
    "bias, temperature": ("bias", "temperature"),
    "weights, temperature": ("weights", "temperature"),
}
NAMES = ("lda", "ridge", "gaussian", "nearest_mean", "new_units")


def figures(name: str, order: int, method: str) -> dict[str, dict[str, float]]:
    """ECE and accuracies of each way to calibrate, after all increments of one stream."""
    stream = load(name, order)
    entry = next(entry for entry in ENTRIES if entry.name == method)
    clf = adopt(stream, entry.view)
    assert clf is not None  # None of these is bare.
    parts = steps(stream, 10 if len(stream.increments) > 20 else None)
    run = follow(begin(clf, stream, entry), entry.method, parts, test_rows(clf, stream), order)
    fresh = run.clf.classes[len(stream.base) :]
    found = {}
    for label, chosen in STEPS.items():
        try:
            done = extend.calibrate(run.clf, chosen, new=fresh)[0] if chosen else run.clf
        except ValueError:
            continue  # Gaussians have no columns to align.
        after = extend.evaluate(done, (stream.test.features, [stream.test.classes[i] for i in stream.test.labels]))
        found[label] = {
            "ece": after.ece,
            "log_loss": after.log_loss,
            "last": after.accuracy,
            "old": after.of(run.base),
            "new": after.of(fresh),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", nargs="*", default=["digits", "omniglot", "cifar10-efficientnet", "clinc150"])
    parser.add_argument("--orders", type=int, default=5, help="how many orders of each (default 5)")
    options = parser.parse_args()
    rows, lines = [], []
    for name in options.streams:
        lines += [
            "",
            f"## {name}",
            "",
            "| method | calibration | ECE | log-loss | last | old | new |",
            "|" + "---|" * 7,
        ]
        for method in NAMES:
            runs = [figures(name, order, method) for order in range(min(options.orders, ORDERS[name]))]
            rows += [{"stream": name, "method": method, "order": i, "figures": run} for i, run in enumerate(runs)]
            for label in runs[0]:
                cells = [mean([100 * run[label]["ece"] for run in runs])]
                cells.append(mean([run[label]["log_loss"] for run in runs], 3))
                cells += [mean([100 * run[label][key] for run in runs], 2) for key in ("last", "old", "new")]
                lines.append(f"| {method} | {label} | " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
    write_json("calibration", "calibration", rows)
    title = "Calibration on held-out rows, measured on test rows: percent, log-loss in nats, over class orders"
    write("calibration", "calibration", title, lines)


if __name__ == "__main__":
    main()
