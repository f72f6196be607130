"""What a peer is, and how one is measured: the increments in turn, each with its own rows and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from benchmarks.streams import Stream

LIMIT = 300.0
"""Seconds that a peer may learn on one stream."""
MANY = 20
"""A slow peer gets a stream of more increments than this in increments of ten classes."""

Rows = tuple[np.ndarray, np.ndarray]


class TooSlowError(Exception):
    """The peer would take longer than `LIMIT`."""


class Learner(Protocol):
    """A classifier in the middle of a stream."""

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        """Learn the rows of one increment; labels below `known` have been seen by then, this increment's included."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The labels of rows."""

    def kept(self) -> int:
        """Bytes kept beyond the model that predicts."""


@dataclass(frozen=True)
class Problem:
    """A stream as rows: ``steps[0]`` is the base, then the increments; ``known[i]`` classes are known after step i."""

    steps: tuple[Rows, ...]
    known: tuple[int, ...]
    test: Rows
    seed: int

    @property
    def dim(self) -> int:
        return self.test[0].shape[1]

    @property
    def classes(self) -> int:
        return self.known[-1]

    @classmethod
    def of(cls, stream: Stream, group: int | None = None) -> Problem:
        """The rows of a stream; with `group`, its increments joined to that many classes each."""
        sizes = [len(increment) for increment in stream.increments]
        if group is not None:
            sizes = [min(group, sum(sizes) - start) for start in range(0, sum(sizes), group)]
        known = np.cumsum([len(stream.base), *sizes])
        x = np.concatenate([stream.train.features, stream.held.features])
        y = np.concatenate([stream.train.labels, stream.held.labels])
        step = np.searchsorted(known, y, side="right")
        order = np.random.default_rng(stream.order).permutation(len(y))
        rows = [order[step[order] == i] for i in range(len(known))]
        test = (stream.test.features, stream.test.labels)
        return cls(tuple((x[at], y[at]) for at in rows), tuple(known.tolist()), test, stream.order)


@dataclass(frozen=True)
class Peer:
    """A way of adding classes that is not ours.

    Args:
        settings: what a reader needs to run it again.
        keeps: the old samples that it keeps: "none", "exemplars" or "all".
        make: a new learner for a problem; imports the peer's library.
        slow: true if it gets `MANY` increments in larger ones.
    """

    name: str
    package: str
    settings: str
    keeps: str
    make: Callable[[Problem], Learner]
    slow: bool = False


def installed(package: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def measure(peer: Peer, stream: Stream) -> dict[str, Any]:
    """One row of the results; if the peer fails, the row says why instead of figures."""
    problem = Problem.of(stream, 10 if peer.slow and len(stream.increments) > MANY else None)
    row: dict[str, Any] = {
        "stream": stream.name,
        "order": stream.order,
        "peer": peer.name,
        "version": f"{peer.package} {installed(peer.package)}",
        "keeps": peer.keeps,
        "increments": len(problem.steps) - 1,
        "reduced": len(problem.steps) - 1 != len(stream.increments),
    }
    try:
        return row | _figures(peer, problem)
    except Exception as error:  # A peer may fail in any way, and the table says how.
        return row | {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:300]}


def _figures(peer: Peer, problem: Problem) -> dict[str, Any]:
    learner = peer.make(problem)
    fitting = 0.0
    x, y = problem.test
    base, found, right = problem.known[0], [], np.zeros(0, bool)
    for (rows, labels), known in zip(problem.steps, problem.known, strict=True):
        started = time.perf_counter()
        learner.learn(rows, labels, known)
        fitting += time.perf_counter() - started
        asked = y < known
        right = np.asarray(learner.predict(x[asked])) == y[asked]
        found.append(float(right.mean()))
    old = float(right[y < base].mean())
    figures = {
        "old_before": found[0],
        "old_after": old,
        "new": float(right[y >= base].mean()),
        "last": found[-1],
        "average": float(np.mean(found)),
        "forgetting": 100 * (found[0] - old),
        "seconds": fitting,
    }
    rounded = {name: round(value, 6) for name, value in figures.items()}
    return rounded | {"bytes": int(learner.kept()), "steps": [round(value, 6) for value in found]}
