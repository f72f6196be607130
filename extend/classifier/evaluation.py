"""Measuring a classifier: on labelled data, on features, and on the held-out features of its memory.

Confusion matrix, log-loss and calibration error are gathered on the device by a compiled function, and pulled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from extend import data
from extend.backbone import batches, replicated
from extend.classifier.classifier import Classifier
from extend.data import Progress
from extend.heads import Head
from extend.memory import Memory

BLOCK = 1 << 20
"""So many scores are measured at a time: a block that stays near the processor."""
MOST_FLOPS = 2e9
"""A measurement takes no more, some 20 ms, unless there are more classes than that."""
BINS = 15
"""The calibration error is taken over this number of bins of confidence."""


class EvaluationDict(TypedDict):
    """An `Evaluation` as JSON."""

    n: int
    accuracy: float
    by_class: dict[str, float]
    log_loss: float
    ece: float
    classes: list[str]
    confusion: list[list[int]]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier did on labelled samples.

    Parameters
    ----------
    classes
        The k class names, in the order of rows and columns of `confusion`.
    confusion
        The number of samples of each true class (row) that were taken for each class (column).
    log_loss
        The mean of ``-log p(true class)``, in nats.
    ece
        The expected calibration error over 15 bins [1]_.

    References
    ----------
    .. [1] Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Examples
    --------
    >>> Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05).by_class
    {'a': 0.75, 'b': 1.0}
    """

    classes: tuple[str, ...]
    confusion: Int[np.ndarray, "k k"]
    log_loss: float
    ece: float

    @property
    def n(self) -> int:
        """The number of samples."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of all samples that were right; NaN without samples."""
        return self.of(self.classes)

    @cached_property
    def by_class(self) -> dict[str, float]:
        """The accuracy on each class that has samples."""
        shares = np.diag(self.confusion) / np.maximum(self._totals, 1)
        return {self.classes[i]: float(shares[i]) for i in np.flatnonzero(self._totals)}

    def of(self, names: Sequence[str]) -> float:
        """Return the accuracy on the samples of these classes; NaN without samples.

        Examples
        --------
        >>> Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05).of(["a"])
        0.75
        """
        right, count = self.counts(names)
        return right / count if count else float("nan")

    def counts(self, names: Sequence[str]) -> tuple[int, int]:
        """Return how many samples of these classes were right, and how many there are.

        A class that is not among `classes` has no samples.

        Examples
        --------
        >>> Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05).counts(["a", "gone"])
        (3, 4)
        """
        rows = [self._places[name] for name in names if name in self._places]
        return int(self.confusion[rows, rows].sum()), int(self._totals[rows].sum())

    @property
    def totals(self) -> dict[str, int]:
        """The number of samples of each class that has some."""
        return {self.classes[i]: int(self._totals[i]) for i in np.flatnonzero(self._totals)}

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}

    @cached_property
    def _totals(self) -> Int[np.ndarray, " k"]:
        """The number of samples of each class."""
        return self.confusion.sum(axis=1)

    def interval(self, names: Sequence[str]) -> tuple[float, float]:
        """Return a 95 % interval of the accuracy on the samples of these classes (Wilson 1927)."""
        right, n = self.counts(names)
        if not n:
            return (0.0, 1.0)
        z, p = 1.96, right / n
        centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return float((centre - half) / (1 + z**2 / n)), float((centre + half) / (1 + z**2 / n))

    def to_dict(self) -> EvaluationDict:
        """Return the evaluation for JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "by_class": self.by_class,
            "log_loss": self.log_loss,
            "ece": self.ece,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        low, high = self.interval(self.classes)
        lines = [f"accuracy {self.accuracy:.1%} ({low:.1%} to {high:.1%}) on {self.n} samples"]
        lines += [f"log-loss {self.log_loss:.3f}   calibration error {self.ece:.3f}", ""]
        wide = max(map(len, self.by_class), default=0)
        lines += [f"  {name:<{wide}}  {value:.1%}" for name, value in self.by_class.items()]
        return "\n".join(lines)


def evaluate(
    classifier: Classifier, samples: Any, *, skip_broken: bool = False, progress: Progress | None = None
) -> Evaluation:
    """Measure a classifier on labelled data.

    One compilation serves any number of samples.

    Parameters
    ----------
    classifier
        The classifier to measure.
    samples
        Labelled data in any form that `extend.add_classes` takes. Integer labels mean the names
        or, where names are no integers, places in ``classifier.classes``.
    skip_broken
        Whether images that cannot be read are left out.
    progress
        What wraps the reading of images and the batches, such as a progress bar.

    Raises
    ------
    ExtendError
        The inputs are wrong, or a label is not one of the classes.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> extend.evaluate(clf, {"b": x[4:]}).accuracy
    1.0
    """
    read = data.read_into(
        classifier.classes, samples, classifier.backbone.inputs, "the data", skip_broken=skip_broken, progress=progress
    )
    backbone = classifier.backbone
    join, finish = backbone.compiled
    params, put = replicated(backbone.params)
    tally = _empty(len(classifier.classes))
    for batch, rows in batches(backbone, read, progress):
        labels = np.full(backbone.batch_size, -1, np.int32)
        labels[: len(rows)] = read.labels[rows]
        tally = _step(tally, classifier.head, finish(params, join(params, put(batch))), labels)
    return _evaluation(classifier.classes, tally)


def evaluate_features(
    head: Head,
    classes: tuple[str, ...],
    rows: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
) -> Evaluation:
    """Measure a head on labelled features, on the host: no number of classes or rows is compiled for.

    Parameters
    ----------
    head
        The head to measure.
    classes
        The names of the head's columns.
    rows
        The features.
    labels
        The place of each row's true class among `classes`.

    Examples
    --------
    >>> from extend.heads.linear import LinearHead
    >>> head = LinearHead.of(np.eye(2), np.zeros(2))
    >>> evaluate_features(head, ("a", "b"), np.eye(2), np.array([0, 0])).accuracy
    0.5
    """
    k, size = len(classes), max(128, BLOCK // max(1, len(classes)))
    tally, host = _empty(k, np), jax.tree.map(np.asarray, head)
    for start in range(0, len(rows), size):
        scores, true = host.logits(np.asarray(rows[start : start + size], np.float32)), labels[start : start + size]
        known = head.link.host_log_probabilities(scores)
        confidence, predicted = np.exp(known.max(axis=1)), scores.argmax(axis=1)
        place = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
        np.add.at(tally["confusion"], (true, predicted), 1)
        tally["loss"] -= known[np.arange(len(true)), true].sum(dtype=np.float64)
        for name, weights in (("count", None), ("right", predicted == true), ("confidence", confidence)):
            tally[f"bin_{name}"] += np.bincount(place, weights=weights, minlength=BINS)
    return _evaluation(classes, tally)


def rows_each(memory: Memory, k: int) -> int:
    """Return how many held-out rows of each class are measured: all, unless scoring them takes too long.

    Parameters
    ----------
    k
        The number of classes that there are scores of.
    """
    present = int((np.bincount(memory.held_out_labels) > 0).sum())
    return max(1, int(MOST_FLOPS / (2 * memory.dim * k)) // max(1, present))


def held_out_evaluation(
    memory: Memory | None, head: Head, classes: tuple[str, ...], each: int | None = None
) -> Evaluation | None:
    """Measure a head on the held-out features of a memory.

    Parameters
    ----------
    memory
        The memory that holds the features; None where there is none.
    head
        The head to measure.
    classes
        The names of the head's columns. Held-out features of other classes are left out.
    each
        How many rows of each class to measure, the ones of the smallest keys; None as `rows_each` says.

    Returns
    -------
    Evaluation | None
        What was measured; None where the memory holds no feature of these classes.

    Examples
    --------
    >>> import extend
    >>> x, y = np.random.default_rng(0).normal(size=(200, 2)).astype("float32"), np.repeat([0, 1], 100)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x + 9 * y[:, None].astype("float32"), y))
    >>> held_out_evaluation(clf.memory, clf.head, clf.classes).accuracy
    1.0
    """
    if memory is None:
        return None
    rows, labels = memory.held_out_first(rows_each(memory, len(classes)) if each is None else each)
    at = {name: i for i, name in enumerate(classes)}
    place = np.asarray([at.get(name, -1) for name in memory.classes], int)[labels]
    known = place >= 0
    if not known.any():
        return None
    return evaluate_features(head, classes, rows if known.all() else rows[known], place[known])


Tally = dict[str, Any]
"""What is gathered, on the device or on the host, by name."""


def _empty(k: int, xp: Any = jnp) -> Tally:
    """Return the tally of no samples of k classes."""
    return {
        "confusion": xp.zeros((k, k), np.int32),
        "loss": xp.zeros(()),
        "bin_count": xp.zeros(BINS),
        "bin_right": xp.zeros(BINS),
        "bin_confidence": xp.zeros(BINS),
    }


@partial(jax.jit, donate_argnums=0)
def _step(tally: Tally, head: Head, features: Float[Array, "n d"], labels: Int[Array, " n"]) -> Tally:
    """Add one padded batch to a tally; rows with label -1 do not count."""
    counts = labels >= 0
    true = jnp.where(counts, labels, 0)
    scores = head.logits(features)
    log_probabilities = head.link.log_probabilities(scores)
    predicted, confidence = scores.argmax(axis=1), jnp.exp(log_probabilities.max(axis=1))
    loss = -log_probabilities[jnp.arange(len(true)), true]
    weight = counts.astype(jnp.float32)
    place = jnp.clip((confidence * BINS).astype(jnp.int32), 0, BINS - 1)
    return {
        "confusion": tally["confusion"].at[true, predicted].add(counts.astype(jnp.int32)),
        "loss": tally["loss"] + (weight * loss).sum(),
        "bin_count": tally["bin_count"].at[place].add(weight),
        "bin_right": tally["bin_right"].at[place].add(weight * (predicted == true)),
        "bin_confidence": tally["bin_confidence"].at[place].add(weight * confidence),
    }


def _evaluation(classes: tuple[str, ...], tally: Tally) -> Evaluation:
    """Pull a tally from the device and sum it up."""
    pulled = jax.device_get(tally)
    confusion = pulled["confusion"].astype(np.int64)
    n = max(1, int(confusion.sum()))
    gaps = np.abs(pulled["bin_right"] - pulled["bin_confidence"]).sum()
    return Evaluation(classes, confusion, float(pulled["loss"]) / n, float(gaps) / n)
