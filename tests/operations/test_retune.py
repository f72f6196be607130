"""Choosing again."""

import numpy as np

import extend
from tests.conftest import blobs, names


def test_auto_chooses_again() -> None:
    x, y = blobs(4, 60, 5, spread=1.5)
    clf = extend.wrap(lambda x: x, names(3), (x[y < 3], y[y < 3]))
    clf, _ = extend.add_classes(clf, {"new": x[y == 3]})
    again, report = extend.retune(clf)
    assert again.recipe.chosen is not None and again.recipe.chosen["classes"] == 4
    assert again.recipe.method == report.method == again.recipe.chosen["method"]
    assert abs(again.score(x, np.asarray(clf.classes)[y]) - clf.score(x, np.asarray(clf.classes)[y])) < 0.05
