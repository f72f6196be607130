"""Integer names and integer labels, through every public call that takes labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression, SGDClassifier

import extend
from extend.models import MLP
from tests.conftest import identity

RNG = np.random.default_rng(0)
PLACE = np.repeat(np.arange(4), 60)
X = (RNG.normal(size=(240, 4)) + 5 * np.eye(4)[PLACE]).astype(np.float32)
OLD = PLACE < 3
ORDERS = ([2, 0, 1, 3], [0, 5, 7, 9], [-1, 0, 1, 2], [30, 20, 10, 0])
FORMS = (np.asarray, list, pd.Series, lambda v: np.asarray(v, float), lambda v: np.asarray(v).astype(str))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", FORMS)
def test_labels_are_names_in_every_call(order: list[int], form: Any) -> None:
    numbers = np.asarray(order)[PLACE]
    labels, texts = form(numbers[OLD]), numbers.astype(str)
    half = np.arange(len(X)) % 2 == 0
    held_out = (X[OLD & ~half], form(numbers[OLD & ~half]))
    clf = extend.wrap(identity, order[:3], (X[OLD & half], form(numbers[OLD & half])), held_out=held_out)
    assert clf.classes == tuple(map(str, order[:3]))
    assert (clf.predict(X[OLD]) == texts[OLD]).all() and set(clf.recipe.learnt.values()) == {1.0}
    assert clf.score(X[OLD], labels) == 1.0
    assert extend.evaluate(clf, (X[OLD], labels)).accuracy == 1.0
    assert extend.evaluate(clf, (X[::2][:60], form(numbers[::2][:60]))).accuracy == 1.0  # Of some classes alone.
    new = form(numbers[~OLD])
    for given in ((clf, X[~OLD], new), (clf, (X[~OLD], new)), (clf, {order[3]: X[~OLD]})):
        wider, report = extend.add_classes(*given, validation=(X + 1e-3, form(numbers)), old=(X[OLD], labels))
        assert wider.classes == tuple(map(str, order)) and report.overall == 1.0 and report.new == 1.0
        assert wider.score(X, form(numbers)) == 1.0


@pytest.mark.parametrize("order", ORDERS)
def test_a_network_is_adapted_to_labels_that_are_names(order: list[int]) -> None:
    numbers = np.asarray(order)[PLACE]
    model = extend.wrap(MLP(4, inputs=4, hidden=(16,), rngs=nnx.Rngs(0)), order, inputs=extend.Array((4,)))
    how = extend.Training(epochs=15, batch_size=32, learning_rate=1e-2)
    clf, _ = extend.adapt(model, (X[::2], numbers[::2]), held_out=(X[1::2], numbers[1::2]), training=how)
    assert (clf.predict(X) == numbers.astype(str)).mean() > 0.95
    with pytest.raises(ValueError, match="is held out as well"):
        extend.wrap(clf.backbone, order, (X, numbers), held_out=(X, numbers))


@pytest.mark.parametrize("labels", [[5, 6], [1, 0], [-1, 1], [False, True], [5.0, 6.0], ["cat", "dog"]])
@pytest.mark.parametrize("kind", [SGDClassifier, LogisticRegression])
def test_a_fitted_scikit_learn_classifier_takes_its_own_labels(labels: list[Any], kind: type) -> None:
    two = PLACE < 2
    y = np.asarray(labels)[PLACE[two]]
    fitted = kind(random_state=0).fit(X[two], y)
    clf = extend.wrap(fitted, data=(X[two], y))
    assert (clf.predict(X[two]) == fitted.predict(X[two]).astype(str)).all()
    assert clf.score(X[two], y) == fitted.score(X[two], y) == 1.0
    assert set(clf.recipe.learnt.values()) == {1.0}


def test_missing_labels_are_refused_in_every_call() -> None:
    clf = extend.wrap(identity, ["a", "b", "c"], (X[OLD], PLACE[OLD]))
    gone = [*["a", "b"] * 29, None, float("nan")]
    calls = {
        "wrap": lambda: extend.wrap(identity, ["a", "b"], (X[:60], gone)),
        "held_out": lambda: extend.wrap(identity, ["a", "b"], (X[:60], ["a", "b"] * 30), held_out=(X[:60], gone)),
        "add": lambda: extend.add_classes(clf, X[:60], gone, on_existing="update"),
        "old": lambda: extend.add_classes(clf, {"d": X[~OLD]}, old=(X[:60], gone)),
        "validation": lambda: extend.add_classes(clf, {"d": X[~OLD]}, validation=(X[:60], gone)),
        "evaluate": lambda: extend.evaluate(clf, (X[:60], gone)),
        "score": lambda: clf.score(X[:60], gone),
    }
    for call in calls.values():
        with pytest.raises(extend.DataError, match="2 labels are missing, at rows 58, 59"):
            call()
    with pytest.raises(extend.DataError, match="class 'd': 1 sample holds masked values, at row 3"):
        extend.add_classes(clf, {"d": np.ma.masked_where(np.arange(240).reshape(60, 4) == 12, X[~OLD])})
    with pytest.raises(extend.ArgumentError, match="the name at place 1 is missing"):
        extend.wrap(identity, ["a", None], (X[:60], ["a"] * 60))
