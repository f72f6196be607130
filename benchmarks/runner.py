"""Runs one method over one stream of classes, and says what it gave: what several benchmarks share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

import extend
from benchmarks.streams import Stream
from extend.backbone import Transform
from extend.classifier import Classifier, Evaluation, evaluate_features
from extend.data import Features
from extend.methods import LDA, Blend, Gaussian, Imprint, Logistic, Method, NearestMean, NewUnits, Ridge
from extend.report import Report

Step = dict[str, np.ndarray]


@dataclass(frozen=True)
class View:
    """What of a stream's features a method gets.

    Args:
        transform, width: of the feature space.
        penultimate: the penultimate features alone, no taps.
        bare: the trained network with its own head and nothing else: no data, hence no memory.
    """

    transform: Transform | None = None
    width: extend.Width | None = None
    penultimate: bool = False
    bare: bool = False


@dataclass(frozen=True)
class Entry:
    """A method as the benchmarks run it: its name in the tables, itself, and the features it gets.

    Args:
        closed: a closed form, fast everywhere.
        appended: adds columns to a head that stays as it is.
    """

    name: str
    method: str | Method
    view: View = View()
    closed: bool = True
    appended: bool = False


PENULTIMATE = View(penultimate=True, bare=True)
ENTRIES = (
    Entry("auto", "auto"),
    Entry("lda", LDA()),
    Entry("ridge", Ridge()),
    Entry("ridge, balanced", Ridge(balanced=True)),
    Entry("gaussian", Gaussian()),
    Entry("gaussian, FeCAM", Gaussian("fecam"), View(transform="sqrt")),
    Entry("nearest_mean", NearestMean()),
    Entry("nearest_mean, cosine", NearestMean("cosine"), View(transform="l2")),
    Entry("logistic", Logistic()),
    Entry("blend", Blend()),
    Entry("ridge, ReLU 2000 (RanPAC)", Ridge(), View(width=extend.Width(2000))),
    Entry("lda, Fourier 2000 (KLDA)", LDA(), View(width=extend.Width(2000, "fourier"))),
    Entry("svm", "svm", closed=False),
    Entry("new_units", NewUnits(), closed=False, appended=True),
    Entry("imprint, no memory", Imprint(), PENULTIMATE, appended=True),
    Entry("naive, no memory", NewUnits(old="absent"), PENULTIMATE, closed=False, appended=True),
    Entry("naive", NewUnits(old="absent"), closed=False, appended=True),
)
"""Naive: the new columns are trained on the new classes alone."""


@dataclass(frozen=True, eq=False)
class Run:
    """A stream gone through: the classifier at the end; per step, base included, what it does on test rows."""

    clf: Classifier
    base: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    reports: tuple[Report, ...]

    def figures(self) -> dict[str, Any]:
        """Accuracies as fractions, forgetting in points, measured on test rows."""
        first, last = self.evaluations[0], self.evaluations[-1]
        before, after = first.accuracy, last.of(self.base)
        found = {
            "old_before": before,
            "old_after": after,
            "new": last.of(self.clf.classes[len(self.base) :]),
            "last": last.accuracy,
            "average": float(np.mean([evaluation.accuracy for evaluation in self.evaluations])),
            "forgetting": 100 * (before - after),
            "ece": last.ece,
            "seconds": sum(report.fit_seconds for report in self.reports),
        }
        rounded: dict[str, Any] = {name: round(value, 6) for name, value in found.items()}
        steps = [round(evaluation.accuracy, 6) for evaluation in self.evaluations]
        return rounded | {"bytes": self.clf.memory.nbytes if self.clf.memory is not None else 0, "steps": steps}

    def told(self) -> dict[str, Any] | None:
        """What the reports say of the base classes, first before and last after; None without held-out rows."""
        first, last = self.reports[0], self.reports[-1]
        if first.before is None or last.after is None:
            return None
        names = [name for name in self.base if name in last.after.by_class]
        right, n = last.after.counts(names)
        low, high = last.after.interval(names)
        before = first.before.of(names)
        told = {"before": before, "after": right / n, "low": low, "high": high}
        return {name: round(value, 6) for name, value in told.items()} | {"n": n, "worst": last.worst}


def adopt(stream: Stream, view: View) -> Classifier | None:
    """The base classifier, its memory measured on the base's training rows; None where the view does not exist.

    A network that was trained on the base classes keeps its own head. Others get the closed form that `auto` takes.
    """
    if view.bare and stream.head is None:
        return None
    dim = stream.train.features.shape[1]
    columns = stream.penultimate if view.penultimate else dim
    backbone = extend.FunctionBackbone.of(
        lambda x: x[:, :columns],
        jax.ShapeDtypeStruct((dim,), np.float32),
        head=stream.head,
        transform=view.transform,
        width=view.width,
        batch_size=1024,
    )
    if view.bare:
        return extend.wrap(backbone, stream.base)
    rows = stream.train.take(stream.train.labels < len(stream.base))
    names = np.asarray(stream.train.classes)
    data, held = ((part.features, names[part.labels]) for part in (rows, stream.held))
    return extend.wrap(backbone, stream.base, data, held_out=held)


def begin(clf: Classifier, stream: Stream, entry: Entry) -> Classifier:
    """The base classifier that `entry` starts from: without a trained head, its own closed form on the base.

    What appends columns or is trained starts from LDA there.
    """
    if stream.head is not None or entry.method == "auto" or clf.memory is None:
        return clf
    first: Any = entry.method if entry.closed and not entry.appended else LDA()
    return replace(clf, head=first.fit(clf.memory))


def steps(stream: Stream, group: int | None = None) -> list[Step]:
    """The training rows of the increments; with `group`, increments joined to that many classes each."""
    rows = {name: stream.train.features[stream.train.labels == i] for i, name in enumerate(stream.train.classes)}
    names = [name for increment in stream.increments for name in increment]
    parts: Sequence[Iterable[str]] = stream.increments
    if group is not None:
        parts = [names[start : start + group] for start in range(0, len(names), group)]
    return [{name: rows[name] for name in part} for part in parts]


def test_rows(clf: Classifier, stream: Stream) -> Features:
    """The test rows as the classifier's backbone sees them."""
    return replace(stream.test, features=clf.transform(stream.test.features))


def follow(
    clf: Classifier, method: str | Method, parts: Sequence[Step], test: Features, seed: int, every: bool = True
) -> Run:
    """Add the increments in turn and measure on test rows of the classes known by then, the base first.

    Without `every` only the base and the end are measured.
    """
    base, evaluations, reports = clf.classes, [_measured(clf, test)], []
    for number, part in enumerate(parts, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Of single samples and of naive training: both are meant.
            clf, report = extend.add_classes(clf, part, method=method, seed=seed)
        reports.append(report)
        if every or number == len(parts):
            evaluations.append(_measured(clf, test))
    return Run(clf, base, tuple(evaluations), tuple(reports))


def _measured(clf: Classifier, test: Features) -> Evaluation:
    if clf.classes != test.classes[: len(clf.classes)]:
        raise ValueError("the classifier's classes are not in the order of the stream's")
    known = test.labels < len(clf.classes)
    return evaluate_features(clf.head, clf.classes, test.features[known], test.labels[known])


def mean(values: Sequence[float], digits: int = 1) -> str:
    """The mean, and the standard deviation if there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return text + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1000:
        return str(count)
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
