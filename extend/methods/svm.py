"""A linear support vector machine on the features, old classes as pseudo-features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC, LinearSVC

from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.linear import LinearHead
from extend.memory.memory import Memory
from extend.methods.base import statistics_of
from extend.methods.stand_ins import raw_units, standardise, training_rows


@dataclass(frozen=True)
class SVM:
    """One-vs-rest linear SVMs (Cortes & Vapnik 1995), as scikit-learn fits them; features are standardised first.

    Old classes are stood for by Gaussian draws from the memory, by the new features moved to the old means (FeTrIL,
    Petit et al. 2023), or by real features where the user gives ``old=``. Costs O(n d) a pass of `LinearSVC`, O(n^2 d)
    for `SVC`, and the draws in memory. Not for very many classes: one problem a class.

    Args:
        C: inverse regularisation strength.
        solver: ``"linear_svc"`` (squared hinge loss) or ``"svc"`` (hinge loss, libsvm).
        old: ``"gaussian"`` or ``"translated"``.

    >>> from extend.methods import SVM
    >>> SVM(C=0.1).old
    'gaussian'
    """

    C: float = 0.01
    solver: Literal["linear_svc", "svc"] = "linear_svc"
    old: Literal["gaussian", "translated"] = "gaussian"
    needs_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.C <= 0 or self.solver not in ("linear_svc", "svc") or self.old not in ("gaussian", "translated"):
            raise ArgumentError(f"{self}: expected C > 0, solver 'linear_svc' or 'svc', old 'gaussian' or 'translated'")

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        memory = statistics_of(memory, "svm")
        first_new = head.num_classes if head is not None else 0
        rows, labels = training_rows(memory, new, min(first_new, int(new.labels.min())), self.old, key)
        scaled, mean, spread = standardise(rows)
        if self.solver == "svc":
            machine = OneVsRestClassifier(SVC(kernel="linear", C=self.C)).fit(scaled, labels)
            kernel = np.concatenate([one.coef_ for one in machine.estimators_]).T
            bias = np.concatenate([one.intercept_ for one in machine.estimators_])
        else:
            seed = key % 2**32
            fitted = LinearSVC(C=self.C, class_weight="balanced", dual="auto", random_state=seed).fit(scaled, labels)
            kernel, bias = fitted.coef_.T, fitted.intercept_
        if kernel.shape[1] == 1:  # Two classes: scikit-learn gives one column, positive for the second.
            kernel, bias = np.hstack([-kernel, kernel]), np.hstack([-bias, bias])
        kernel, bias = raw_units(kernel, bias, mean, spread)
        return LinearHead.of(kernel, bias, memory.offset)
