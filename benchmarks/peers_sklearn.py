"""scikit-learn's ways, and Deep_SLDA: joint refits, `partial_fit`, and one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers_protocol import Peer, Problem
from benchmarks.speed import DeepSLDA


class Joint:
    """Refit on everything seen so far: the upper bound, which keeps every old row."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.model = make, make()
        self.x: list[np.ndarray] = []
        self.y: list[np.ndarray] = []

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        self.x.append(x)
        self.y.append(y)
        self.model = self.make().fit(np.concatenate(self.x), np.concatenate(self.y))

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)

    def kept(self) -> int:
        return sum(rows.nbytes for rows in self.x)


class Partial:
    """`partial_fit` with every class declared beforehand; optionally scaled by the base rows."""

    def __init__(self, model: Any, problem: Problem, scaled: bool) -> None:
        self.model, self.classes = model, np.arange(problem.classes)
        self.scaler = StandardScaler(with_mean=scaled, with_std=scaled).fit(problem.steps[0][0])

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        with np.errstate(divide="ignore"):
            self.model.partial_fit(self.scaler.transform(x), y, classes=self.classes)

    def predict(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return self.model.predict(self.scaler.transform(x))

    def kept(self) -> int:
        return 0


class Streaming:
    """Deep_SLDA: base initialisation as published (class means, OAS covariance), then one sample at a time."""

    def __init__(self, problem: Problem) -> None:
        self.model, self.started = DeepSLDA(problem.dim, problem.known[0]), False

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        model, more = self.model, known - len(self.model.mean)
        model.mean = np.pad(model.mean, ((0, more), (0, 0)))
        model.count = np.pad(model.count, (0, more))
        if not self.started:
            model.count = np.bincount(y, minlength=known).astype(np.float32)
            model.mean = np.stack([x[y == label].mean(axis=0) for label in range(known)])
            away = OAS(assume_centered=True).fit(x - model.mean[y])
            model.covariance, model.n, self.started = away.covariance_.astype(np.float32), len(y), True
        else:
            for row, label in zip(x, y, strict=True):
                model.learn(row, label)
        model.predict(x[:1])  # The inverse is part of the fit's time.

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)

    def kept(self) -> int:
        return self.model.covariance.nbytes + self.model.mean.nbytes + self.model.count.nbytes


def _joint(name: str, settings: str, make: Callable[[], Any], slow: bool = False) -> Peer:
    return Peer(name, "scikit-learn", settings, "all", lambda problem: Joint(make), slow)


def _partial(name: str, settings: str, make: Callable[[int], Any], scaled: bool) -> Peer:
    return Peer(name, "scikit-learn", settings, "none", lambda problem: Partial(make(problem.seed), problem, scaled))


DECLARED = "partial_fit, one pass over each increment, all classes declared beforehand"
SCALED = f"{DECLARED}; StandardScaler fitted on the base rows"

PEERS = (
    _joint(
        "joint logistic regression",
        "StandardScaler, LogisticRegression(max_iter=1000), refitted at each step",
        lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        slow=True,
    ),
    _joint(
        "joint LDA",
        "LinearDiscriminantAnalysis(solver='lsqr', shrinkage='auto'), refitted at each step",
        lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        slow=True,
    ),
    _joint("joint ridge", "RidgeClassifier(), refitted at each step", RidgeClassifier),
    _partial(
        "SGDClassifier",
        f"SGDClassifier(loss='log_loss'); {SCALED}",
        lambda seed: SGDClassifier(loss="log_loss", random_state=seed),
        scaled=True,
    ),
    _partial("GaussianNB", f"GaussianNB(); {DECLARED}", lambda seed: GaussianNB(), scaled=False),
    _partial("Perceptron", f"Perceptron(); {SCALED}", lambda seed: Perceptron(random_state=seed), scaled=True),
    Peer(
        "Deep_SLDA",
        "numpy",
        "restated from the published code: base by class means and OAS covariance, then one sample at a time; "
        "shrinkage 1e-4; scores of classes not yet seen are left out",
        "none",
        Streaming,
    ),
)
