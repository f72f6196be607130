"""A linear support vector machine on the features, with pseudo-features for the old classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC

from extend.core.errors import ArgumentError
from extend.data import Features
from extend.heads import LinearHead
from extend.memory import Memory
from extend.methods.base import Need, OnFeatures
from extend.methods.choice import Choice
from extend.methods.increment import Increment
from extend.methods.stand_ins import raw_units, standardise, training_rows


@dataclass(frozen=True)
class SVM(OnFeatures):
    """Fit one linear SVM for each class against the rest, as scikit-learn does; features are standardised first.

    Real features stand for an old class where the user gives ``old=``. Otherwise Gaussian draws from the memory do, or
    the new features moved to the old means (FeTrIL). It costs O(n d) a pass with `LinearSVC` and O(n^2 d) with `SVC`,
    and the draws in memory. Do not use it for very many classes: each one is a problem of its own.

    Parameters
    ----------
    C
        The inverse regularisation strength.
    solver
        ``"linear_svc"`` (squared hinge loss) or ``"svc"`` (hinge loss, libsvm).
    old
        What stands for old classes: ``"gaussian"`` or ``"translated"``.

    References
    ----------
    Cortes & Vapnik 1995, Support-vector networks; Petit et al. 2023, FeTrIL.

    Examples
    --------
    >>> from extend.methods import SVM
    >>> SVM(C=0.1).old
    'gaussian'
    """

    C: float = 0.01
    solver: Literal["linear_svc", "svc"] = "linear_svc"
    old: Literal["gaussian", "translated"] = "gaussian"
    name: ClassVar[str] = "svm"

    def __post_init__(self) -> None:
        if self.C <= 0 or self.solver not in ("linear_svc", "svc") or self.old not in ("gaussian", "translated"):
            raise ArgumentError(f"{self}: expected C > 0, solver 'linear_svc' or 'svc', old 'gaussian' or 'translated'")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"memory", "rows"})

    def solve(self, increment: Increment, seed: int, use: Bool[np.ndarray, " m"] | None = None) -> Choice:
        return Choice(self, self.fit(self.memory_of(increment), increment.rows, seed))

    def fit(self, memory: Memory, rows: Features, seed: int) -> LinearHead:
        """Return the head for the classes of a memory; `rows` stand for the classes that have some."""
        points, labels = training_rows(memory, rows, self.old, seed)
        scaled, mean, spread = standardise(points)
        if self.solver == "svc":
            machine = OneVsRestClassifier(SVC(kernel="linear", C=self.C)).fit(scaled, labels)
            kernel = np.concatenate([one.coef_ for one in machine.estimators_]).T
            bias = np.concatenate([one.intercept_ for one in machine.estimators_])
        else:
            machine = LinearSVC(C=self.C, class_weight="balanced", dual="auto", random_state=seed % 2**32)
            machine.fit(scaled, labels)
            kernel, bias = machine.coef_.T, machine.intercept_
        if kernel.shape[1] == 1:  # Two classes: scikit-learn gives one column, positive for the second.
            kernel, bias = np.hstack([-kernel, kernel]), np.hstack([-bias, bias])
        kernel, bias, centre = raw_units(kernel, bias, mean, spread)
        return LinearHead.of(kernel, bias, memory.offset, centre=centre)
