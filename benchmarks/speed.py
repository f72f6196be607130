"""From features in memory to the first answer of the extended classifier: ``python -m benchmarks.speed [A B C]``.

What is timed is what a user calls, with its defaults: ``extend.add_classes(clf, {name: features})``, report included,
then one ``predict``; and ``extend.wrap(function, names, (x, y))``. Beside them, interleaved in the same run: Deep_SLDA
(Hayes & Kanan 2020), whose update is restated here (one sample at a time, then the inverse of the shrunk covariance);
scikit-learn's LDA and logistic regression, refitted on all data; and Avalanche's StreamingLDA where it is installed.
The floor is the flops of the Gram matrix and the solve over this machine's measured float64 matrix product.
"""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

import extend
from benchmarks.results import write

REPEATS = 7


@dataclass(frozen=True)
class Work:
    """Old classes and new ones: how many, of how many samples each."""

    title: str
    dim: int
    old: int
    old_each: int
    new: int
    new_each: int
    scatter: Literal["class", "pooled"] = "class"
    refits: bool = True


SETS = {
    "A": Work("A: 512 features, 50 classes x 500, + 5 x 500", 512, 50, 500, 5, 500),
    "A pooled": Work("A, pooled scatter", 512, 50, 500, 5, 500, "pooled"),
    "B": Work("B: 768 features, 1000 classes x 100, + 1 x 100, pooled scatter", 768, 1000, 100, 1, 100, "pooled"),
    "B class": Work("B, a scatter a class", 768, 1000, 100, 1, 100),
    "C": Work("C: 512 features, 10,000 classes x 5, + 10 x 5", 512, 10000, 5, 10, 5, refits=False),
}


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


@dataclass(frozen=True, eq=False)
class Data:
    """Features of Gaussian classes with one covariance."""

    x: np.ndarray
    y: np.ndarray
    names: list[str]
    is_new: np.ndarray

    @classmethod
    def of(cls, work: Work) -> Data:
        rng = np.random.default_rng(0)
        mix = rng.standard_normal((work.dim, work.dim), np.float32) / np.float32(np.sqrt(work.dim))
        centres = rng.standard_normal((work.old + work.new, work.dim), np.float32)
        new = np.arange(work.old, work.old + work.new)
        y = np.concatenate([np.repeat(np.arange(work.old), work.old_each), np.repeat(new, work.new_each)])
        x = centres[y] + rng.standard_normal((len(y), work.dim), np.float32) @ mix
        return cls(x, y, [f"c{i}" for i in range(work.old + work.new)], y >= work.old)

    @property
    def new(self) -> dict[str, np.ndarray]:
        """The new classes, as they are given to `extend.add_classes`."""
        return {self.names[label]: self.x[self.y == label] for label in np.unique(self.y[self.is_new])}


def slda_of(work: Work, data: Data, base: extend.Classifier) -> Callable[[], None]:
    """Deep_SLDA that knows the old classes: learn the new ones, and answer once."""
    known = base.memory.statistics
    slda = DeepSLDA(work.dim, work.old + work.new)
    slda.mean[: work.old], slda.count[: work.old] = known.mean, known.count
    slda.covariance, slda.n = (known.within / len(data.x)).astype(np.float32), int((~data.is_new).sum())
    start = (slda.mean.copy(), slda.count.copy(), slda.covariance.copy(), slda.n)

    def run() -> None:
        slda.mean, slda.count, slda.covariance, slda.n = start[0].copy(), start[1].copy(), start[2].copy(), start[3]
        for row, label in zip(data.x[data.is_new], data.y[data.is_new], strict=True):
            slda.learn(row, label)
        slda.predict(data.x[-1:])

    return run


def avalanche_of(work: Work, data: Data, base: extend.Classifier) -> Callable[[], None] | None:
    """Avalanche's StreamingLDA, fitted sample by sample as its own training does; None where it is not installed."""
    try:
        import torch
        from avalanche.training.supervised.deep_slda import StreamingLDA
    except ImportError:
        return None
    known = base.memory.statistics
    model = StreamingLDA(
        torch.nn.Identity(), None, work.dim, work.old + work.new, shrinkage_param=1e-4, streaming_update_sigma=True
    )
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def run() -> None:
        model.muK[: work.old] = torch.from_numpy(known.mean).float()
        model.cK[: work.old] = torch.from_numpy(known.count.astype(np.float32))
        model.Sigma = torch.from_numpy(known.within / len(data.x)).float()
        model.num_updates, model.prev_num_updates = int((~data.is_new).sum()), -1
        for row, label in zip(x[data.is_new], y[data.is_new], strict=True):
            model.fit(row, label.reshape(1))
        model.predict(x[-1:])

    return run


def refits_of(work: Work, data: Data) -> dict[str, Callable[[], None]]:
    """scikit-learn on all data again."""
    if not work.refits:
        return {}

    def lda() -> None:
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3).fit(data.x, data.y).predict(data.x[-1:])

    def logistic() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Twenty steps: what it has not reached by then only takes longer.
            LogisticRegression(max_iter=20).fit(data.x, data.y).predict(data.x[-1:])

    return {"LDA refit": lda, "logistic refit, 20 steps": logistic}


def case(work: Work) -> tuple[str, str]:
    """One row of the table of additions, and one of the table of wraps."""
    data = Data.of(work)
    old, names = ~data.is_new, data.names[: work.old]

    def wrapped() -> extend.Classifier:
        return extend.wrap(lambda x: x, names, (data.x[old], data.y[old]), scatter=work.scatter)

    base = wrapped()

    def adding(method: str) -> Callable[[], None]:
        def run() -> None:
            clf, _ = extend.add_classes(base, data.new, method=method)
            clf.predict(data.x[-1:])

        return run

    wraps: dict[str, Callable[[], object]] = {"wrap": wrapped}
    if work.refits:
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3)
        wraps["LDA fit"] = lambda: lda.fit(data.x[old], data.y[old])
    found = interleaved(wraps, dict.fromkeys(wraps, 3))
    runs = {"auto": adding("auto"), "lda": adding("lda"), "Deep_SLDA": slda_of(work, data, base)}
    runs |= refits_of(work, data)
    if (avalanche := avalanche_of(work, data, base)) is not None:
        runs["Avalanche"] = avalanche
    first = {name: once(run) for name, run in runs.items()}
    slow = {"LDA refit": 3, "logistic refit, 20 steps": 1, "Avalanche": 3}
    seconds = interleaved(runs, {name: slow.get(name, REPEATS) for name in runs})
    return added_row(work, base, first, seconds), wrapped_row(work, base, found)


def added_row(
    work: Work, base: extend.Classifier, first: Mapping[str, float], seconds: Mapping[str, tuple[float, float]]
) -> str:
    """The row of the table of additions."""
    n = work.new * work.new_each
    flops = n * work.dim**2 + work.dim**3 / 3 + 2 * work.dim**2 * (work.old + work.new)
    floor = flops / matrix_rate()
    median = {name: value for name, (value, _) in seconds.items()}

    def shown(name: str) -> str:
        return f"{1000 * median[name]:.0f}" if name in median else "-"

    def ratio(name: str) -> str:
        return f"1/{median[name] / median['auto']:.1f}" if name in median else "-"

    chosen = (base.recipe.chosen or {}).get("method", "-")
    cells = [
        work.title,
        f"{1000 * first['auto']:.0f}",
        f"{1000 * median['auto']:.0f} ± {1000 * seconds['auto'][1]:.0f}",
        f"{1000 * median['lda']:.0f}",
        chosen,
        *(shown(name) for name in ("Deep_SLDA", "Avalanche", "LDA refit", "logistic refit, 20 steps")),
        ratio("Deep_SLDA"),
        ratio("LDA refit"),
        f"{1000 * floor:.0f}",
        f"{median['auto'] / floor:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def wrapped_row(work: Work, base: extend.Classifier, found: Mapping[str, tuple[float, float]]) -> str:
    """The row of the table of wraps."""
    wrap, lda = found["wrap"][0], found.get("LDA fit", (float("nan"), 0.0))[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    raw = work.old * work.old_each * work.dim * 4
    assert base.memory is not None
    peer, share = (f"{lda:.2f}", f"{wrap / lda:.1f}") if work.refits else ("-", "-")
    kept = base.memory.nbytes / 1e6
    return f"| {work.title} | {wrap:.2f} | {peer} | {share} | {kept:.0f} | {raw / 1e6:.0f} | {peak:.1f} |"


def once(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Median and half the interquartile range of seconds of each, all in turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    for number in range(max(repeats.values())):
        for name, run in runs.items():
            if number < repeats[name]:
                found[name].append(once(run))
    return {name: (statistics.median(s), _half(s)) for name, s in found.items()}


def _half(seconds: list[float]) -> float:
    if len(seconds) < 2:
        return 0.0
    quarters = statistics.quantiles(seconds, n=4)
    return (quarters[2] - quarters[0]) / 2


def matrix_rate(size: int = 1500) -> float:
    """Flops a second of a float64 matrix product on all cores, best of six."""
    a = np.random.default_rng(0).normal(size=(size, size))
    return 2 * size**3 / min(once(lambda: np.dot(a, a)) for _ in range(6))


def main() -> None:
    wanted = sys.argv[1:] or list(SETS)
    rows = [case(SETS[name]) for name in wanted]
    lines = [
        '| set | first call, ms | steady, ms | `method="lda"`, ms | chosen | Deep_SLDA, ms | Avalanche, ms '
        "| LDA refit, ms | logistic refit, ms | of Deep_SLDA | of LDA refit | floor, ms | over the floor |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(added for added, _ in rows),
        "",
        "| set | `extend.wrap`, s | LDA fit, s | ratio | memory, MB | raw features, MB | peak so far, GB |",
        "|---|---|---|---|---|---|---|",
        *(wrapped for _, wrapped in rows),
        "",
        "Additions: `extend.add_classes(clf, {name: features})` with its defaults, report included, then a `predict`. "
        f"Matrix product: {matrix_rate() / 1e9:.0f} Gflop/s in float64. The floor counts the Gram, Cholesky and solve.",
    ]
    write("speed", "speed", "From new features in memory to the first answer of the extended classifier", lines)


if __name__ == "__main__":
    main()
