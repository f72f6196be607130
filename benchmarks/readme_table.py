"""README's table of figures, from ``results/forgetting.json`` and ``results/peers.json``.

``python -m benchmarks.readme_table`` writes it between the markers ``<!-- table: forgetting -->`` and ``<!-- end -->``;
with ``--check`` it writes nothing and exits 1 if README differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks import results, streams
from benchmarks.forgetting import JOINT, best, of
from benchmarks.results import Row

README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- table: forgetting -->", "<!-- end -->"
SHOWN = ("auto", "lda", "ridge", "gaussian", "nearest_mean", "svm", "new_units", "imprint, no memory", "naive")

Figures = dict[str, tuple[str, float, float]]
"""A data set's method, last accuracy and forgetting."""


def table(rows: list[Row], peers: list[Row]) -> str:
    """Methods x data sets: last accuracy and forgetting, in percent and points."""
    names = [name for name in streams.ORDERS if any(row["stream"] == name for row in rows)]
    counts = {name: len(of(rows, name, "auto")) for name in names}
    titles = [f"{name} ({count} order{'s' if count > 1 else ''})" for name, count in counts.items()]
    out = ["| last accuracy, % / forgetting, points | " + " | ".join(titles) + " |", "|---|" + "---|" * len(names)]
    for method in SHOWN:
        found = {name: figures for name in names if (figures := best(rows, name, (method,)))}
        out += [_line(f"`{method.partition(',')[0]}`{''.join(method.partition(',')[1:])}", names, found, False)]
    out.append(_line("best joint head, all data", names, _bests(rows, names, JOINT)))
    renamed = [row | {"method": row["peer"]} for row in peers if "error" not in row]
    for title, keeps in (("best peer without old samples", "none"), ("best peer with exemplars", "exemplars")):
        some = [row for row in renamed if row["keeps"] == keeps]
        out.append(_line(title, names, _bests(some, names, dict.fromkeys(row["method"] for row in some))))
    return "\n".join(line for line in out if line)


def _bests(rows: list[Row], names: list[str], methods: Iterable[str]) -> Figures:
    return {name: figures for name in names if (figures := best(rows, name, tuple(methods)))}


def _line(title: str, names: list[str], found: Figures, say: bool = True) -> str:
    """One row; with `say`, which method it was. Empty without any figure."""
    if not found:
        return ""
    cells = []
    for name in names:
        if name not in found:
            cells.append("")
            continue
        method, last, forgetting = found[name]
        rounded = float(np.round(forgetting, 1)) + 0.0  # No minus zero.
        cells.append(f"{100 * last:.1f} / {rounded:.1f}" + (f" ({method.removeprefix('joint ')})" if say else ""))
    return f"| {title} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if README differs")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    options = parser.parse_args()
    rows = results.read_json("forgetting")
    if not rows:
        raise SystemExit("there are no figures; make them with: python -m benchmarks.forgetting")
    made = table(rows, results.read_json("peers"))
    if options.print:
        print(made)
        return
    text = README.read_text()
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"README has no markers {START} and {END}")
    wanted = f"{before}{START}\n{made}\n{END}{after}"
    if options.check:
        if wanted != text:
            print("README's table differs from the results; run: python -m benchmarks.readme_table")
            sys.exit(1)
        return
    README.write_text(wanted)


if __name__ == "__main__":
    main()
