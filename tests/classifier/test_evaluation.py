"""Evaluation against scikit-learn's metrics."""

import jax
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

import extend
from extend.classifier import Classifier, Evaluation, evaluate_features
from extend.classifier.evaluation import BINS
from extend.heads import LinearHead
from tests.conftest import blobs, names


def test_against_scikit_learn(plain: Classifier) -> None:
    x, y = blobs(3, 300, 5, seed=0, spread=2.5)
    found = extend.evaluate(plain, (x, y))
    scores = plain.decision_function(x).astype(np.float64)
    probabilities, predicted = softmax(scores, axis=1), scores.argmax(axis=1)
    assert found.n == 900
    assert found.accuracy == pytest.approx(accuracy_score(y, predicted))
    assert np.array_equal(found.confusion, confusion_matrix(y, predicted, labels=range(3)))
    assert found.log_loss == pytest.approx(log_loss(y, probabilities), rel=1e-4)
    confidence, right = probabilities.max(axis=1), predicted == y
    bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    ece = sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    assert found.ece == pytest.approx(ece, abs=1e-4)
    assert found.of(["class 1"]) == pytest.approx(right[y == 1].mean())
    low, high = found.interval(["class 1"])
    assert low < found.by_class["class 1"] < high


def test_one_compilation_and_one_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    traces, pulls = [], []

    def function(x: jax.Array) -> jax.Array:
        traces.append(x.shape)
        return x

    x, y = blobs(3, 300, 5)
    clf = extend.wrap(function, names(3), (x, y))
    traces.clear()
    real = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: pulls.append(1) or real(tree))
    for count in (10, 500, 900):
        extend.evaluate(clf, (x[:count], y[:count]))
    assert traces == [] and len(pulls) == 3  # wrap has compiled already


def test_labels_by_name_and_by_mapping(plain: Classifier) -> None:
    x, y = blobs(3, 30, 5)
    by_number = extend.evaluate(plain, (x, y))
    by_name = extend.evaluate(plain, (x, [f"class {i}" for i in y]))
    by_mapping = extend.evaluate(plain, {f"class {i}": x[y == i] for i in (2, 0, 1)})
    assert np.array_equal(by_number.confusion, by_name.confusion)
    assert np.array_equal(by_number.confusion, by_mapping.confusion)


def test_unknown_labels_are_named(plain: Classifier) -> None:
    with pytest.raises(ValueError, match="class 'horse', which is not one of class 0"):
        extend.evaluate(plain, {"horse": np.zeros((2, 5))})


def test_no_samples_give_nan_and_the_whole_interval() -> None:
    head = LinearHead.of(np.eye(2), np.zeros(2))
    found = evaluate_features(head, ("a", "b"), np.eye(2, dtype=np.float32)[:1], np.array([0]))
    assert np.isnan(found.of(["b"])) and found.interval(["b"]) == (0.0, 1.0)
    assert found.by_class == {"a": 1.0}


def test_it_prints_and_becomes_json(plain: Classifier) -> None:
    x, y = blobs(3, 30, 5)
    found = extend.evaluate(plain, (x, y))
    assert "accuracy" in str(found) and "class 2" in str(found)
    assert found.to_dict()["n"] == 90


def test_classes_that_are_not_there_have_no_samples() -> None:
    found = Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05)
    assert found.counts(["b", "gone"]) == (4, 4) and found.counts(["gone"]) == (0, 0)
    assert np.isnan(found.of(["gone"])) and found.interval(["gone"]) == (0.0, 1.0)
