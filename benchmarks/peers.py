"""Other libraries' ways of adding classes, on the same streams and frozen features as ours.

``python -m benchmarks.peers [--streams NAME ...] [--orders N]`` needs the extra ``peers``. A peer learns the base rows
(training and held-out), then every increment's training rows and nothing else, unless it keeps old rows and says so.
Results are added to ``benchmarks/results/peers.json`` row by row; a row that is there is not measured again without
``--again``. What fails says why.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers_avalanche, peers_keras, peers_river, peers_sklearn, results, streams
from benchmarks.peers_protocol import Peer, installed, measure

PEERS: tuple[Peer, ...] = (*peers_sklearn.PEERS, *peers_avalanche.PEERS, *peers_river.PEERS, *peers_keras.PEERS)
COLOURS = {"all": "#999999", "exemplars": "#e0a030", "none": "#3070b0"}
FIGURES = ("old_before", "old_after", "new", "last", "average")

Row = dict[str, Any]


def run(names: Iterable[str], orders: int, wanted: list[str], again: bool) -> list[Row]:
    """Measure what is missing, one row after the other, and return all rows known."""
    rows = {(row["stream"], row["order"], row["peer"]): row for row in results.read_json("peers")}
    for name in names:
        for order in range(min(orders, streams.ORDERS[name])):
            stream = None
            for peer in PEERS:
                key, found = (name, order, peer.name), rows.get((name, order, peer.name))
                if not any(part in peer.name for part in wanted) or (found and "error" not in found and not again):
                    continue
                stream = stream or streams.load(name, order)
                started = time.perf_counter()
                rows[key] = measure(peer, stream)
                _save(list(rows.values()))
                said = rows[key].get("error") or f"last {100 * rows[key]['last']:.2f}"
                print(f"{name} {order} {peer.name}: {said} ({time.perf_counter() - started:.0f} s)", flush=True)
    return list(rows.values())


def lines(rows: list[Row]) -> list[str]:
    """The tables, one a data set, then what each peer is."""
    out = [
        "Test accuracy in percent, mean ± deviation over class orders. Before, after: on the base classes, before and",
        "after all increments; added: on all others; last: on all at the end; average: mean over the steps, base",
        "included; forgetting in points. Seconds: all fits together, up to the first answer. Kept: bytes beyond the",
        "model; samples are kept as float32 features. (5): increments joined to five, as one by one takes too long.",
    ]
    for name in (name for name in streams.ORDERS if any(row["stream"] == name for row in rows)):
        out += ["", f"## {name}", ""]
        out += [
            "| peer | old samples | orders | old before | old after | added | last | average | forgetting | s | kept |"
        ]
        out += ["|---|---|---|---|---|---|---|---|---|---|---|"]
        out += [_line(peer, _of(rows, name, peer)) for peer in PEERS]
    out += ["", "## Settings", "", "| peer | version | settings |", "|---|---|---|"]
    for peer in PEERS:
        versions = sorted({row["version"] for row in rows if row["peer"] == peer.name})
        out += [f"| {peer.name} | {', '.join(versions)} | {_escaped(peer.settings)} |"] if versions else []
    return out


def plot(rows: list[Row], file: Path) -> None:
    """Last accuracy of every peer, one panel a data set."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    names = [name for name in streams.ORDERS if any(row["stream"] == name for row in rows)]
    size = (3 + 2.2 * len(names), 1.2 + 0.22 * len(PEERS))
    figure, axes = plt.subplots(1, len(names), figsize=size, sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for place, peer in enumerate(PEERS):
            last = [100 * row["last"] for row in _of(rows, name, peer) if "last" in row]
            if last:
                axis.barh(place, np.mean(last), xerr=np.std(last), color=COLOURS[peer.keeps], height=0.75)
                inside = np.mean(last) > 20
                at, colour = (1, "white") if inside else (np.mean(last) + np.std(last) + 2, "black")
                axis.text(at, place, f"{np.mean(last):.1f}", va="center", fontsize=7, color=colour)
            else:
                axis.text(1, place, "not run", va="center", fontsize=7, color="grey")
        axis.set(xlim=(0, 100), title=name, xlabel="last accuracy, %")
        axis.title.set_fontsize(10)
    axes[0, 0].set_yticks(range(len(PEERS)), [peer.name for peer in PEERS], fontsize=8)
    axes[0, 0].invert_yaxis()
    patches = [Patch(color=colour, label=f"old samples kept: {keeps}") for keeps, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="lower center", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _of(rows: list[Row], name: str, peer: Peer) -> list[Row]:
    return sorted((row for row in rows if (row["stream"], row["peer"]) == (name, peer.name)), key=lambda r: r["order"])


def _line(peer: Peer, rows: list[Row]) -> str:
    good = [row for row in rows if "error" not in row]
    if not good:
        why = _escaped(rows[0]["error"]) if rows else "not measured"
        return f"| {peer.name} | {peer.keeps} | {len(rows)} | {why} |" + " |" * 7
    title = f"{peer.name} ({good[0]['increments']})" if good[0]["reduced"] else peer.name
    cells = [_mean([100 * row[figure] for row in good]) for figure in FIGURES]
    cells += [_mean([row["forgetting"] for row in good]), f"{np.mean([row['seconds'] for row in good]):.2g}"]
    return f"| {title} | {peer.keeps} | {len(good)} | {' | '.join(cells)} | {_size(good[0]['bytes'])} |"


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values):.1f}" if len(values) > 1 else "")


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _size(count: int) -> str:
    if count < 1000:
        return str(count)
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _save(rows: list[Row]) -> None:
    packages = dict.fromkeys((*results.PACKAGES, "torch", *(peer.package for peer in PEERS)))
    results.write_json(
        "peers",
        "peers",
        rows,
        versions={name: installed(name) for name in packages},
        seeds="every peer is seeded with the number of the class order",
        settings={peer.name: peer.settings for peer in PEERS},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", nargs="+", choices=streams.ORDERS, default=list(streams.ORDERS))
    parser.add_argument("--orders", type=int, default=1, help="the first so many class orders")
    parser.add_argument("--peers", nargs="+", default=[""], help="only peers with one of these in their names")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    options = parser.parse_args()
    rows = run(options.streams, options.orders, options.peers, options.again)
    title = "Adding classes with other libraries, on the same streams and features"
    results.write("peers", "peers", title, lines(rows))
    plot(rows, results.FOLDER / "peers.png")


if __name__ == "__main__":
    main()
