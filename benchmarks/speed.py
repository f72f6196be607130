"""From features in memory to the first answer of the extended classifier: ``python -m benchmarks.speed``.

Peers, in the same run: scikit-learn's LDA refitted on all data, and Deep_SLDA (Hayes & Kanan 2020), whose update is
restated here: one sample at a time, then the inverse of the shrunk covariance. The floor is the flops of the Gram
matrix and the solve over this machine's measured float64 matrix product.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import jax
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.results import write
from extend.classifier import evaluate_features
from extend.data import Features
from extend.heads import LinearHead
from extend.memory import Memory
from extend.memory.strengths import oas
from extend.methods import LDA

REPEATS = 7


class DeepSLDA:
    """Streaming LDA: running class means and one shared covariance, a sample at a time; float32 as published."""

    def __init__(self, dim: int, classes: int, shrinkage: float = 1e-4) -> None:
        self.mean = np.zeros((classes, dim), np.float32)
        self.count = np.zeros(classes, np.float32)
        self.covariance = np.ones((dim, dim), np.float32)
        self.n, self.shrinkage = 0, shrinkage

    def learn(self, x: np.ndarray, label: int) -> None:
        away = x - self.mean[label]
        self.covariance = (self.n * self.covariance + np.outer(away, away) * (self.n / (self.n + 1))) / (self.n + 1)
        self.mean[label] += away / (self.count[label] + 1)
        self.count[label] += 1
        self.n += 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        dim = self.covariance.shape[0]
        shrunk = (1 - self.shrinkage) * self.covariance + self.shrinkage * np.eye(dim, dtype=np.float32)
        precision = np.linalg.pinv(shrunk, hermitian=True)
        kernel = self.mean @ precision
        return (x @ kernel.T - 0.5 * (kernel * self.mean).sum(axis=1)).argmax(axis=1)


def case(
    name: str,
    dim: int,
    old: int,
    old_each: int,
    new: int,
    new_each: int,
    scatter: Literal["class", "pooled"],
    recursive: bool = False,
) -> list[str]:
    """One row of the table."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    centres = rng.normal(size=(old + new, dim))
    labels = np.concatenate([np.repeat(np.arange(old), old_each), np.repeat(np.arange(old, old + new), new_each)])
    x = (centres[labels] + rng.normal(size=(len(labels), dim)) @ mix).astype(np.float32)
    keys = rng.integers(0, 2**64, len(labels), dtype=np.uint64)
    names = tuple(f"c{i}" for i in range(old + new))
    is_new = labels >= old
    query = x[-1:]

    base = Memory.of(Features(x[~is_new], labels[~is_new], names[:old], keys[~is_new]), scatter=scatter)
    base = replace(base, shrinkage=oas(base.statistics))
    if recursive:
        base = base.with_inverses(base.shared_strength()[0])
    fresh = Features(x[is_new], labels[is_new] - old, names[old:], keys[is_new])
    logits = jax.jit(LinearHead.logits)
    found: list[LinearHead] = []

    def ours() -> None:
        memory = base + Memory.of(fresh, scatter=scatter)
        found[:] = [LDA().fit(memory)]
        np.asarray(logits(found[0], query))

    slda = DeepSLDA(dim, old + new)
    slda.mean[:old], slda.count[:old] = base.statistics.mean, base.statistics.count
    slda.covariance, slda.n = (base.statistics.within / len(x)).astype(np.float32), int((~is_new).sum())
    start = (slda.mean.copy(), slda.count.copy(), slda.covariance.copy(), slda.n)

    def streaming() -> None:
        slda.mean, slda.count, slda.covariance, slda.n = start[0].copy(), start[1].copy(), start[2].copy(), start[3]
        for row, label in zip(x[is_new], labels[is_new], strict=True):
            slda.learn(row, label)
        slda.predict(query)

    def refit() -> None:
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3).fit(x, labels).predict(query)

    ours_s, ours_spread = timed(ours, REPEATS)
    slda_s, _ = timed(streaming, 3)
    refit_s, _ = timed(refit, 2)
    n = new * new_each
    flops = n * dim**2 + dim**3 / 3 + 2 * dim**2 * (old + new)
    if recursive:
        flops = 4 * n * dim**2 + 4 * n * dim * old + 2 * dim**2 * new
    floor = flops / matrix_rate()
    held, held_labels = base.held_out
    accuracy = evaluate_features(found[0], names, held, held_labels).accuracy
    return [
        f"| {name} | {1000 * ours_s:.1f} ± {1000 * ours_spread:.1f} | {1000 * slda_s:.0f} | {1000 * refit_s:.0f} "
        f"| 1/{slda_s / ours_s:.1f} | 1/{refit_s / ours_s:.0f} | {1000 * floor:.1f} "
        f"| {ours_s / floor:.1f} | {accuracy:.3f} |"
    ]


def timed(run: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median and half the interquartile range of seconds, after one warm-up."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    quarters = statistics.quantiles(seconds, n=4)
    return statistics.median(seconds), (quarters[2] - quarters[0]) / 2


def matrix_rate(size: int = 1500) -> float:
    """Flops a second of a float64 matrix product on all cores, best of five."""
    a = np.random.default_rng(0).normal(size=(size, size))
    best = min(timed(lambda: np.dot(a, a), 2)[0] for _ in range(3))
    return 2 * size**3 / best


def main() -> None:
    lines = [
        "| set | extend, ms | Deep_SLDA, ms | LDA refit, ms | of Deep_SLDA | of the refit | floor, ms | over the floor "
        "| held-out accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
        *case("A: 512 features, 50 classes x 500, + 5 x 500", 512, 50, 500, 5, 500, "class"),
        *case("B: 768 features, 1000 classes x 100, + 1 x 100", 768, 1000, 100, 1, 100, "pooled"),
        *case("B with the inverse kept (`recursive=True`)", 768, 1000, 100, 1, 100, "pooled", recursive=True),
        "",
        f"Matrix product: {matrix_rate() / 1e9:.0f} Gflop/s in float64. The floor counts the Gram, Cholesky and solve, "
        "or, with the inverse kept, the rank-n update.",
    ]
    write("speed", "speed", "From new features in memory to the first answer of the extended classifier", lines)


if __name__ == "__main__":
    main()
