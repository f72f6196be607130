"""Jit-compiled evaluation: confusion matrix, log-loss and calibration are gathered on the device, pulled once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from extend import data
from extend.backbone.extract import batches, replicated
from extend.classifier.classifier import Classifier
from extend.data import Progress
from extend.heads.base import Head

BINS = 15


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a classifier does on labelled samples.

    `confusion` int64 ``[k, k]``: rows are true classes, columns predicted ones. `log_loss` is the mean of
    ``-log p(true class)`` in nats. `ece` is the expected calibration error over 15 bins (Guo et al. 2017, equation 3).

    >>> Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05).by_class
    {'a': 0.75, 'b': 1.0}
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    log_loss: float
    ece: float

    @property
    def n(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of all samples that are right; NaN without samples."""
        return self.of(self.classes)

    @cached_property
    def by_class(self) -> dict[str, float]:
        """Accuracy on each class that has samples."""
        counts = self.confusion.sum(axis=1)
        return {name: float(self.confusion[i, i] / counts[i]) for i, name in enumerate(self.classes) if counts[i]}

    def of(self, names: Sequence[str]) -> float:
        """Accuracy on the samples of these classes; NaN without samples."""
        right, count = self.counts(names)
        return right / count if count else float("nan")

    def counts(self, names: Sequence[str]) -> tuple[int, int]:
        """How many samples of these classes are right, and how many there are."""
        rows = [self.classes.index(name) for name in names]
        return int(self.confusion[rows, rows].sum()), int(self.confusion[rows].sum())

    def interval(self, names: Sequence[str]) -> tuple[float, float]:
        """A 95 % interval of that accuracy (Wilson 1927)."""
        right, n = self.counts(names)
        if not n:
            return (0.0, 1.0)
        z, p = 1.96, right / n
        centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return float((centre - half) / (1 + z**2 / n)), float((centre + half) / (1 + z**2 / n))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    """Measure a classifier on labelled data, in any form that `extend.add_classes` takes.

    Integer labels mean places in ``classifier.classes``. One compilation serves any number of samples.

    Raises:
        ValueError: wrong inputs, or a label that is not one of the classes.

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
    head: Head, classes: tuple[str, ...], rows: np.ndarray, labels: np.ndarray, batch_size: int = 1024
) -> Evaluation:
    """Measure a head on features float32 ``[n, d]`` with labels ``[n]`` into `classes`."""
    tally = _empty(len(classes))
    for start in range(0, len(rows), batch_size):
        stop = min(start + batch_size, len(rows))
        part = np.zeros((batch_size, rows.shape[1]), np.float32)
        part[: stop - start] = rows[start:stop]
        padded = np.full(batch_size, -1, np.int32)
        padded[: stop - start] = labels[start:stop]
        tally = _step(tally, head, part, padded)
    return _evaluation(classes, tally)


Tally = dict[str, jax.Array]


def _empty(k: int) -> Tally:
    return {
        "confusion": jnp.zeros((k, k), jnp.int32),
        "loss": jnp.zeros(()),
        "bin_count": jnp.zeros(BINS),
        "bin_right": jnp.zeros(BINS),
        "bin_confidence": jnp.zeros(BINS),
    }


@partial(jax.jit, donate_argnums=0)
def _step(tally: Tally, head: Head, features: jax.Array, labels: jax.Array) -> Tally:
    """Add one padded batch; rows with label -1 do not count."""
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
    pulled = jax.device_get(tally)
    confusion = pulled["confusion"].astype(np.int64)
    n = max(1, int(confusion.sum()))
    gaps = np.abs(pulled["bin_right"] - pulled["bin_confidence"]).sum()
    return Evaluation(classes, confusion, float(pulled["loss"]) / n, float(gaps) / n)
