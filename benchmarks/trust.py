"""Is a report to be believed? What reports tell of old classes from held-out features, against the truth on test rows.

``python -m benchmarks.trust``. The runs are those that `benchmarks.forgetting` has recorded; run that first. A control
is run here: a method that ruins one old class must be found out, and the class named.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import results, runner, streams
from benchmarks.results import Row
from benchmarks.streams import Stream
from extend.classifier import Evaluation
from extend.heads import LinearHead
from extend.memory import Memory
from extend.methods import LDA, ClosedForm


@dataclass(frozen=True)
class Sabotage(ClosedForm):
    """LDA, and then nothing is ever taken for the class of this name."""

    victim: str
    name: ClassVar[str] = "sabotage"

    def fit(self, memory: Memory) -> LinearHead:
        fitted = LDA().fit(memory)
        (block,) = fitted.blocks
        bias = np.array(block.bias)
        bias[memory.classes.index(self.victim)] -= 1e6
        return replace(fitted, blocks=(replace(block, bias=bias),))


def control(stream: Stream) -> Row:
    """One increment with an honest and a ruined LDA: what the reports say, and what is true."""
    clf = runner.adopt(stream, runner.View())
    assert clf is not None
    test, parts = runner.test_rows(clf, stream), runner.steps(stream)[:1]
    counts = np.bincount(stream.held.labels, minlength=len(stream.base))
    victim = int(counts.argmax())
    name = stream.base[victim]
    row: Row = {"stream": stream.name, "order": stream.order, "victim": name, "held": int(counts[victim])}
    row["blind"] = int((counts == 0).sum())
    for key, method in (("honest", LDA()), ("ruined", Sabotage(name))):
        run = runner.follow(clf, method, parts, test, stream.order)
        told, last = run.reports[0], run.evaluations[-1]
        row[f"{key}_told"] = told.forgetting
        row[f"{key}_true"] = run.evaluations[0].accuracy - last.of(stream.base)
        row[f"{key}_worst"] = told.worst
    return row


def compare(row: Row, stream: Stream) -> Row | None:
    """Told and true of one run; None if it had no held-out features."""
    told = row.get("told")
    if not told:
        return None
    test = int((stream.test.labels < len(stream.base)).sum())
    truth, said = row["old_after"], told["after"]
    out: Row = {key: row[key] for key in ("stream", "order", "method")}
    out |= {"told": 100 * (told["before"] - said), "true": row["forgetting"], "after": [said, truth]}
    out |= {"rows": told["n"], "test_rows": test, "holds": told["low"] <= truth <= told["high"]}
    low, high = wilson(truth, test)
    # The test value is a sample as well: the interval of the difference (Newcombe 1998, method 10).
    below = np.hypot(said - told["low"], high - truth)
    above = np.hypot(told["high"] - said, truth - low)
    return out | {"agrees": bool(-below <= truth - said <= above)}


def wilson(share: float, n: int) -> tuple[float, float]:
    """The interval that reports print, for a share of n rows."""
    right = round(share * n)
    return Evaluation(("a", "b"), np.array([[right, n - right], [0, 0]]), 0.0, 0.0).interval(("a",))


def lines(rows: list[Row], controls: list[Row]) -> list[str]:
    """The comparison by data set and by method, then the control."""
    out = [
        "Told: forgetting of the base classes over the whole run as held-out features tell it; true: on test",
        "rows; points. Bias: mean of told minus true; error: mean absolute difference. Holds: share of runs whose",
        "95 % interval of the accuracy on old classes holds the test value. Agrees: the same, allowing for the",
        "test value's own sampling error, which the interval does not know of: this is what should be 95 %. Runs",
        "of one data set and order share held-out and test rows, so they err together.",
    ]
    groups = [("data set", "stream", list(streams.ORDERS)), ("method", "method", [e.name for e in runner.ENTRIES])]
    for title, key, names in groups:
        out += ["", f"| {title} | runs | held-out rows | told | true | bias | error | holds | agrees |"]
        out += ["|---|---|---|---|---|---|---|---|---|"]
        for name in [*names, "all"]:
            some = [row for row in rows if row[key] == name or name == "all"]
            out += [_line(name, some)] if some else []
    out += [
        "",
        "## Control",
        "",
        "LDA on the first increment, honest, and with one old class's column ruined, so that nothing is taken for",
        "it any more. Held: held-out rows of that class; blind: base classes of which no row is held out, where a",
        "report cannot see anything. Forgetting in points; worst: the class that the report names, and its",
        "accuracy.",
        "",
        "| data set | order | class | held | blind | honest: told | true | ruined: told | true | worst | named |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in controls:
        figures = (f"{100 * row[key]:+.2f}" for key in ("honest_told", "honest_true", "ruined_told", "ruined_true"))
        name, accuracy = row["ruined_worst"]
        cells = [row["stream"], str(row["order"]), row["victim"], str(row["held"]), str(row["blind"]), *figures]
        named = "yes" if name == row["victim"] else "another is as bad" if accuracy == 0 else "no"
        cells += [f"{name} {100 * accuracy:.0f} %", named]
        out.append(f"| {' | '.join(cells)} |")
    return out


def _line(name: str, rows: list[Row]) -> str:
    told, true = (np.asarray([row[key] for row in rows]) for key in ("told", "true"))
    held = sorted({row["rows"] for row in rows})
    cells = [name, str(len(rows)), f"{held[0]} to {held[-1]}" if len(held) > 1 else str(held[0])]
    cells += [
        f"{told.mean():.2f}",
        f"{true.mean():.2f}",
        f"{(told - true).mean():+.2f}",
        f"{abs(told - true).mean():.2f}",
    ]
    cells += [f"{100 * np.mean([row[key] for row in rows]):.0f} %" for key in ("holds", "agrees")]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    recorded = results.read_json("forgetting")
    if not recorded:
        raise SystemExit("there are no recorded runs; make them with: python -m benchmarks.forgetting")
    rows: list[Row] = []
    controls: list[Row] = []
    with threadpool_limits(1, user_api="blas"):
        for name, order in sorted({(row["stream"], row["order"]) for row in recorded}, key=_place):
            stream = streams.load(name, order)
            mine = [row for row in recorded if (row["stream"], row["order"]) == (name, order)]
            rows += [found for row in mine if (found := compare(row, stream)) is not None]
            controls.append(control(stream))
            print(f"{name} {order}: {controls[-1]}", flush=True)
    results.write_json("trust", "trust", rows, control=controls)
    results.write("trust", "trust", "What reports tell, against the truth", lines(rows, controls))


def _place(run: tuple[str, int]) -> tuple[int, int]:
    return list(streams.ORDERS).index(run[0]), run[1]


if __name__ == "__main__":
    main()
