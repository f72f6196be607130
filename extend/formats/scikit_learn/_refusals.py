"""Why an estimator of scikit-learn is not opened, and what to do instead."""

from __future__ import annotations

from typing import Any

AS_FUNCTION = "(docs/formats.md, Other models)"
INSTEAD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("SVC", "NuSVC"), "put Nystroem or RBFSampler before a LinearSVC, or give its decision_function as a backbone"),
    (("KNeighborsClassifier", "RadiusNeighborsClassifier", "NearestCentroid"), "give what it compares as features"),
    (("GaussianNB", "MultinomialNB", "BernoulliNB", "ComplementNB", "CategoricalNB"), "give what it reads as features"),
    (("LinearDiscriminantAnalysis",), "give its transform, or what it reads, as features"),
    (("QuadraticDiscriminantAnalysis", "GaussianProcessClassifier"), "give what it reads as features"),
)
TREES = ("Forest", "Trees", "Tree", "Boosting", "Bagging", "AdaBoost", "XGB", "LGBM", "CatBoost")


def refusal(estimator: Any, supported: str) -> str:
    """Return one line that says why an estimator has no head to widen, and what to do.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> refusal(Ridge(), "LogisticRegression")
    'Ridge predicts a number (a regression), and has no classes'
    """
    kind = type(estimator).__name__
    if hasattr(estimator, "best_estimator_"):
        return f"{kind} is not supported; open its best_estimator_"
    if is_regression(estimator):
        return f"{kind} predicts a number (a regression), and has no classes"
    for names, instead in INSTEAD:
        if kind in names:
            return f"{kind} has no linear head to widen: {instead} to extend.wrap {AS_FUNCTION}"
    if any(part in kind for part in TREES):
        return f"{kind} has no linear head to widen: give its leaves (apply) as features to extend.wrap {AS_FUNCTION}"
    return f"{kind} is not supported; there are {supported}; others become a backbone function {AS_FUNCTION}"


def is_regression(estimator: Any) -> bool:
    """Whether an estimator predicts numbers."""
    if type(estimator).__name__.endswith("Regressor"):
        return True
    try:
        from sklearn.base import is_regressor

        return bool(is_regressor(estimator))
    except Exception:  # Objects of other libraries may lack what scikit-learn asks.
        return False
