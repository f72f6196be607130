"""river: one sample at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.peers_protocol import LIMIT, Peer, Problem, TooSlowError

PROBE = 200


class OneByOne:
    """`learn_one` a row at a time; gives up early where that would take longer than `LIMIT`."""

    def __init__(self, problem: Problem) -> None:
        self.left, self.rate, self.spent = sum(len(y) for _, y in problem.steps), 0.0, 0.0
        self.model: Any = self.build()

    def build(self) -> Any:
        """The river model."""
        raise NotImplementedError  # Each peer below has its own.

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        for start in range(0, len(y), PROBE):
            started = time.perf_counter()
            rows, labels = x[start : start + PROBE].tolist(), y[start : start + PROBE].tolist()
            for row, label in zip(rows, labels, strict=True):
                self.model.learn_one(dict(enumerate(row)), label)
            took = time.perf_counter() - started
            self.spent, self.left = self.spent + took, self.left - len(labels)
            expected = self.spent + took / len(labels) * self.left
            if expected > LIMIT:
                raise TooSlowError(f"skipped: about {expected / 60:.0f} minutes of learning, the limit is 5")

    def kept(self) -> int:
        return 0


class NaiveBayes(OneByOne):
    """A Gaussian a class and feature."""

    def build(self) -> Any:
        from river.naive_bayes import GaussianNB

        return GaussianNB()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """As `predict_one` does, for many rows: its densities are not below 1e-9, river's `_PDF_EPS`."""
        counts, columns, scores = self.model.class_counts, range(x.shape[1]), []
        for label, count in counts.items():
            gaussians = [self.model.gaussians[label][i] for i in columns]
            mean, deviation = (np.asarray([getattr(one, name) for one in gaussians]) for name in ("mu", "sigma"))
            width = np.where(deviation > 0, deviation, 1.0)
            density = np.exp(-(((x - mean) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
            density = np.where(deviation > 0, density, 0.0)
            scores.append(np.log(count / counts.total()) + np.log(1e-9 + density).sum(axis=1))
        return np.asarray(list(counts))[np.argmax(scores, axis=0)]


class Softmax(OneByOne):
    """Softmax regression behind a running StandardScaler."""

    def build(self) -> Any:
        from river.linear_model import SoftmaxRegression
        from river.preprocessing import StandardScaler

        return StandardScaler() | SoftmaxRegression()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """As `predict_one` does, for many rows."""
        scaler, softmax = self.model.steps.values()
        columns = range(x.shape[1])
        mean = np.asarray([scaler.means[i] for i in columns])
        deviation = np.sqrt([scaler.vars[i] for i in columns])
        scaled = np.divide(x - mean, deviation, out=np.zeros(x.shape), where=deviation > 0)
        labels = list(softmax.weights)
        kernel = np.asarray([[softmax.weights[label].get(i, 0.0) for i in columns] for label in labels])
        return np.asarray(labels)[(scaled @ kernel.T).argmax(axis=1)]


PEERS = (
    Peer("river GaussianNB", "river", "naive_bayes.GaussianNB(), learn_one", "none", NaiveBayes, slow=True),
    Peer(
        "river SoftmaxRegression",
        "river",
        "preprocessing.StandardScaler() | linear_model.SoftmaxRegression(), learn_one",
        "none",
        Softmax,
        slow=True,
    ),
)
