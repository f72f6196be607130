"""The SVM against scikit-learn's own, and its stand-ins for old classes."""

import numpy as np
import pytest
from sklearn.svm import SVC, LinearSVC

from extend.data import Features
from extend.memory import Memory
from extend.methods import SVM
from extend.methods.stand_ins import training_rows
from tests.conftest import blobs

X, Y = blobs(4, 60, 5, spread=1.0)
CLASSES = ("a", "b", "c", "d")
KEYS = np.arange(len(Y), dtype=np.uint64) + np.uint64(2**63)
MEMORY = Memory.of(Features(X, Y, CLASSES, KEYS), max_rows=0)
EVERYTHING = Features(X, Y, CLASSES, KEYS)
NEW = EVERYTHING.take(Y == 3)


def test_on_real_features_it_is_scikit_learns_linear_svc() -> None:
    head = SVM(C=0.5).fit(MEMORY, EVERYTHING, 0)
    mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    reference = LinearSVC(C=0.5, class_weight="balanced", dual="auto", random_state=0).fit((X - mean) / spread, Y)
    expected = reference.decision_function((X - mean) / spread)
    assert np.allclose(head.logits(X), expected, atol=1e-2)


def test_svc_is_one_against_the_rest() -> None:
    head = SVM(C=0.5, solver="svc").fit(MEMORY, EVERYTHING, 0)
    mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    scaled = ((X - mean) / spread).astype(np.float32)
    reference = SVC(kernel="linear", C=0.5).fit(scaled, Y == 2)
    assert np.allclose(np.asarray(head.logits(X))[:, 2], reference.decision_function(scaled), atol=1e-3)


def test_two_classes_have_two_columns() -> None:
    two = Features(X[Y < 2], Y[Y < 2], ("a", "b"), KEYS[Y < 2])
    memory = Memory.of(two)
    head = SVM().fit(memory, two, 0)
    assert head.num_classes == 2
    assert (np.asarray(head.logits(two.features)).argmax(axis=1) == two.labels).mean() > 0.9


@pytest.mark.parametrize("old", ["gaussian", "translated"])
def test_pseudo_features_do_nearly_as_well_as_real_ones(old: str) -> None:
    head = SVM(old=old).fit(MEMORY, NEW, 0)
    real = SVM().fit(MEMORY, EVERYTHING, 0)
    accuracy = [(np.asarray(h.logits(X)).argmax(axis=1) == Y).mean() for h in (head, real)]
    assert accuracy[0] > accuracy[1] - 0.05


def test_translated_rows_are_the_new_ones_around_the_old_means() -> None:
    rows, labels = training_rows(MEMORY, NEW, "translated", 0)
    for label in range(3):
        moved = rows[labels == label]
        assert np.allclose(moved.mean(axis=0), MEMORY.statistics.mean[label], atol=1e-5)
        assert np.allclose(np.cov(moved.T), np.cov(X[Y == 3].T), atol=1e-4)


def test_real_rows_stand_for_their_class() -> None:
    some = EVERYTHING.take((Y == 3) | (Y == 1))
    rows, labels = training_rows(MEMORY, some, "gaussian", 0)
    assert np.array_equal(rows[labels == 1], X[Y == 1])


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="expected C > 0"):
        SVM(C=0)


def test_the_rows_that_the_memory_keeps_stand_for_old_classes() -> None:
    old = Memory.of(Features(X, Y, CLASSES, KEYS))
    points, labels = training_rows(old, Features(X[Y == 2], Y[Y == 2], CLASSES, KEYS[Y == 2]), "gaussian", 0)
    for label in (0, 1):
        kept = old.training.features[old.training.labels == label]
        assert np.array_equal(points[labels == label], kept)
