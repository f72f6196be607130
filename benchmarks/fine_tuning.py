"""Cats and dogs when the backbone moves: ResNet-20 of eight CIFAR-10 classes, then cat, then dog; every option.

``python -m benchmarks.fine_tuning [--only PART ...] [--seeds N] [--again] [--workers N]`` needs EXTEND_DATA and
``checkpoints/cifar10-8``. The base classifier with exemplars and Fisher diagonal is kept below ``.cache``. Rows are
added to ``results/fine_tuning.json``; one that is there is not measured again without ``--again``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

import extend
from benchmarks import datasets, results
from benchmarks.cats_and_dogs import BLOCKS
from benchmarks.make_checkpoints import CIFAR_TAPS, cifar8_samples
from benchmarks.results import Row
from extend.classifier import Classifier
from extend.core.checkpoint import is_ours
from extend.data import Samples
from extend.methods import FineTune, Joint, Ridge
from extend.training.optimiser import one_cycle_sgd

BASE, WIDE = Path(".cache/fine_tuning-base"), Path(".cache/fine_tuning-wide")
EACH = 20
"""Exemplars a class once there are ten classes."""
PLAIN = FineTune(flip=True, padding=4, epochs=3)
NEW = ("cat", "dog")


@dataclass(frozen=True)
class Entry:
    """A row of the table: the method, what is kept of old data, whether cat and dog come at once, and the features."""

    name: str
    method: Any
    exemplars: bool = False
    fisher: bool = False
    old: bool = False
    at_once: bool = False
    wide: bool = False


def retrained(epochs: int) -> Joint:
    """An epoch of all ten classes is 384 steps of 128, so the rate ends a little above 0."""
    return Joint(flip=True, padding=4, epochs=epochs, head=None, optimiser=one_cycle_sgd(0.1, epochs * 390))


def _both(name: str, fisher: bool = False, wide: bool = False, **options: Any) -> tuple[Entry, ...]:
    method = replace(PLAIN, **options)
    return tuple(
        Entry(f"{name}, {EACH} exemplars" if kept else name, method, kept, fisher, wide=wide) for kept in (False, True)
    )


ENTRIES = (
    Entry("frozen features: auto", "auto"),
    Entry("frozen features: lda", "lda"),
    Entry("frozen features: ridge", "ridge"),
    Entry("frozen features: gaussian", "gaussian"),
    *_both("fine_tune"),
    *_both("distillation off", distillation=0.0),
    *_both("feature distillation 1", feature_distillation=1.0),
    *_both("feature distillation 10", feature_distillation=10.0),
    *_both("EWC 100", True, ewc=100.0),
    *_both("drift map weakly non-linear", drift="weak"),
    *_both("drift by translation (SDC)", drift="translation"),
    *_both("no drift compensation", drift=None),
    *_both("statistics of batch norm move", frozen_statistics=False),
    *_both("average with old weights 0.5", True, average=0.5),
    *_both("average 0.5 without Fisher diagonal", average=0.5),
    *_both("last block only", select="last_block"),
    *_both("norm layers only", select="norm", learning_rate=1e-3),
    *_both("LoRA of rank 4", lora=4, learning_rate=1e-3),
    *_both("early stopping", patience=2),
    *_both("mixed precision", mixed_precision=True),
    *_both("trained head kept", head=None),
    Entry("not balanced, 20 exemplars", replace(PLAIN, balanced=False), True),
    Entry("cat and dog at once", PLAIN, at_once=True),
    Entry(f"cat and dog at once, {EACH} exemplars", PLAIN, True, at_once=True),
    Entry("wide features, frozen: ridge", "ridge", wide=True),
    *_both("wide features: average 0.5 without Fisher diagonal", wide=True, average=0.5, head=Ridge()),
    Entry("joint, all data again, 5 epochs", Joint(flip=True, padding=4, epochs=5), old=True, at_once=True),
    *(
        Entry(f"joint, all data again, {epochs} epochs of SGD", retrained(epochs), old=True, at_once=True)
        for epochs in (12, 60)
    ),
)


@cache
def base(wide: bool) -> Classifier:
    """The eight-class network with its memory, exemplars and Fisher diagonal; wide: 7 taps, 4000 random features."""
    folder = WIDE if wide else BASE
    if not is_ours(folder):
        kept, held = cifar8_samples()
        saved = extend.load("checkpoints/cifar10-8").backbone
        model = extend.models.ResNet(**saved.description["config"], rngs=nnx.Rngs(0))
        taps, width = ([extend.Tap(block, 2) for block in BLOCKS], 4000) if wide else (CIFAR_TAPS, None)
        backbone = extend.FlaxBackbone.from_nnx(model, 8, datasets.CIFAR10, taps=taps, width=width)
        backbone = replace(backbone.with_network(saved.params["network"]), own_head=saved.own_head)
        limit = EACH * 10 * 32 * 32 * 3
        clf = extend.wrap(
            backbone,
            datasets.CIFAR8_NAMES,
            kept,
            held_out=held,
            scatter="pooled" if wide else "class",
            keep=extend.Keep(exemplar_bytes=limit, fisher=True),
        )
        clf.save(folder)
    return extend.load(folder)


def run(only: list[str], seeds: int, again: bool, workers: int) -> list[Row]:
    """Measure what is missing, the longest first, in so many processes side by side."""
    rows = {(row["method"], row["seed"]): row for row in results.read_json("fine_tuning")}
    missing = [
        (entry, seed)
        for seed in range(seeds)
        for entry in ENTRIES
        if any(part in entry.name for part in only)
        and (again or (entry.name, seed) not in rows)
        and not (seed and isinstance(entry.method, str))  # Nothing in a closed form is random.
    ]
    for wide in {entry.wide for entry, _ in missing}:
        base(wide)
    missing.sort(key=lambda task: -task[0].method.epochs if task[0].old else 0)
    for row in _measured(missing, workers):
        rows[row["method"], row["seed"]] = row
        results.write_json("fine_tuning", "fine_tuning", list(rows.values()), seeds=list(range(seeds)))
        print(
            f"{row['method']} {row['seed']}: old {row['old_after']:.4f} cat {row['cat']:.4f} dog {row['dog']:.4f} "
            f"last {row['last']:.4f} {row['reported']} {row['seconds']:.0f} s",
            flush=True,
        )
    return results.read_json("fine_tuning")


def _measured(tasks: list[tuple[Entry, int]], workers: int) -> Iterator[Row]:
    if workers == 1:
        yield from (measure(entry.name, seed, 0) for entry, seed in tasks)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(measure, entry.name, seed, workers - 1) for entry, seed in tasks]):
            yield done.result()


def measure(name: str, seed: int, beside: int) -> Row:
    """One row: both increments, then the test; `beside`: other runs at the same time."""
    entry = next(entry for entry in ENTRIES if entry.name == name)
    new, test = _data()
    start = base(entry.wide)
    assert start.memory is not None
    memory = start.memory
    if not entry.exemplars:
        memory = replace(memory, exemplars=None)
    if not entry.fisher:
        memory = replace(memory, fisher=None)
    clf = replace(start, memory=memory)
    old = cifar8_samples()[0] if entry.old else None
    started, notes, reported = time.perf_counter(), [], []
    for names in [NEW] if entry.at_once else [(name,) for name in NEW]:
        labels = [new.classes.index(name) for name in names]
        part = new.take(np.isin(new.labels, labels))
        part = replace(part, labels=np.searchsorted(labels, part.labels), classes=names)
        clf, report = extend.add_classes(clf, part, method=entry.method, old=old, seed=seed, progress=_bar)
        notes += list(report.notes)
        reported.append([report.old_after, report.new, report.reason.partition(",")[0]])
    seconds = time.perf_counter() - started
    if any("interrupted" in note for note in notes):
        sys.exit(f"{entry.name}: interrupted, and so not recorded")
    found = extend.evaluate(clf, test)
    row: Row = {
        "method": entry.name,
        "seed": seed,
        "device": results.device(),
        "jax": version("jax"),
        "beside": beside,
        "old_before": _before(),
    }
    row |= {"old_after": found.of(datasets.CIFAR8_NAMES), "last": found.accuracy, "seconds": seconds}
    row |= {name: found.of([name]) for name in NEW}
    return row | {"reported": reported, "notes": [note for note in notes if "early" in note]}


@cache
def _data() -> tuple[Samples, Samples]:
    return datasets.cifar10("train", NEW), datasets.cifar10("test")


@cache
def _before() -> float:
    """Accuracy of the eight-class network on its classes."""
    return extend.evaluate(base(False), datasets.cifar10("test", datasets.CIFAR8_NAMES)).accuracy


def lines(rows: list[Row]) -> list[str]:
    """The table, mean and standard deviation over seeds."""
    devices = sorted({row["device"] for row in rows})
    named = ("seeds", "8 old before", "after", *NEW, "last accuracy", "forgetting", *(f"minutes, {d}" for d in devices))
    out = [f"| | {' | '.join(named)} |", "|" + "---|" * (1 + len(named))]
    for entry in ENTRIES:
        some = [row for row in rows if row["method"] == entry.name]
        if not some:
            continue
        cells = [_cell([row[key] for row in some]) for key in ("old_before", "old_after", *NEW)]
        cells.append(_cell([row["last"] for row in some], 2))
        cells.append(_cell([row["old_before"] - row["old_after"] for row in some]))
        for device in devices:
            minutes = [row["seconds"] / 60 for row in some if row["device"] == device]
            cells.append(f"{np.mean(minutes):.1f}" if minutes else "")
        out.append(f"| {entry.name} | {len(some)} | {' | '.join(cells)} |")
    counts = Counter(f"{row['device']} with jax {row['jax']}, {row['beside']} others beside it" for row in rows)
    return [*out, "", "Runs: " + "; ".join(f"{count} on {name}" for name, count in sorted(counts.items())) + "."]


def _cell(values: list[float], digits: int = 1) -> str:
    mean = f"{100 * np.mean(values):.{digits}f}"
    return f"{mean} ± {100 * np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def _bar(steps: Iterable[Any], total: int) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(steps, total=total, leave=False, disable=not sys.stderr.isatty())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="only rows with one of these in their names")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side; minutes are then longer")
    options = parser.parse_args()
    if options.workers > 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # They share a GPU's memory.
    rows = run(options.only, options.seeds, options.again, options.workers)
    note = (
        "Minutes are those of one run of both increments, compilation included; runs beside it share the device and "
        "the CPU's cores. Wide features are 7 taps and 4000 random ReLU features."
    )
    results.write("fine_tuning", "fine_tuning", "Cats and dogs when the backbone moves", [*lines(rows), "", note])


if __name__ == "__main__":
    main()
