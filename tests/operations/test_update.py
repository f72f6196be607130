"""More samples of classes that exist: what the report says is true of the classes themselves."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import extend
from extend.classifier import Classifier
from tests.conftest import blobs, identity

NAMES = np.array(["a", "b", "c", "d"])


def domain(rng: np.random.Generator, n: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Four classes around centres that draw near one another as `scale` falls."""
    centres = np.random.default_rng(7).normal(size=(4, 16)) * 1.6 * scale
    y = np.repeat(np.arange(4), n)
    return (rng.normal(size=(len(y), 16)) + centres[y]).astype(np.float32), y


@pytest.fixture(scope="module")
def blurred() -> tuple[Classifier, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """A classifier, more samples of its classes from a bad camera, fresh old samples, and what was given to measure."""
    rng = np.random.default_rng(0)
    old, held = domain(rng, 600, 0.5), domain(rng, 100, 0.5)
    clf = extend.wrap(identity, list("abcd"), old, held_out=held)
    return clf, domain(rng, 600, 0.04), domain(rng, 2000, 0.5), held[0]


@pytest.mark.parametrize("method", ["lda", "ridge", "auto"])
def test_forgetting_is_that_of_fresh_old_samples(blurred: tuple, method: str) -> None:
    clf, (x, y), (x_test, y_test), _ = blurred
    wider, report = extend.add_classes(clf, (x, NAMES[y]), on_existing="update", method=method)
    true = clf.score(x_test, y_test) - wider.score(x_test, y_test)
    assert report.forgetting == pytest.approx(true, abs=0.03)
    assert "old samples before" in str(report)
    assert report.forgetting_since_learnt is not None and abs(report.forgetting_since_learnt - true) < 0.03


def test_old_samples_and_updated_classes_are_two_figures() -> None:
    """Without `held_out=`, of what is held out now a half is of the bad camera."""
    rng = np.random.default_rng(0)
    (x, y), (x_bad, y_bad) = domain(rng, 300, 0.5), domain(rng, 300, 0.04)
    clf = extend.wrap(identity, list("abcd"), (x, y))
    wider, report = extend.add_classes(clf, (x_bad, NAMES[y_bad]), on_existing="update", method="lda")
    assert report.before is not None and report.same_rows is not None and report.new is not None
    assert report.before.n == report.same_rows.n < report.n_measured and report.classes == tuple("abcd")
    assert report.old_after is not None and report.new < report.old_after - 0.1
    assert any(f"on the {report.before.n} features that were held out before" in note for note in report.notes)
    text = str(report)
    assert "old samples before" in text and "updated classes" in text and "overall" in text
    x_test, y_test = domain(rng, 2000, 0.5)
    true = clf.score(x_test, y_test) - wider.score(x_test, y_test)
    assert report.forgetting == pytest.approx(true, abs=0.06)


def test_a_true_forgetting_is_told(blurred: tuple) -> None:
    """Classes a and b get one another's names."""
    clf, _, (x_test, y_test), _ = blurred
    rng = np.random.default_rng(1)
    x, y = domain(rng, 3000, 0.5)
    swapped = np.array([1, 0, 2, 3])[y]
    wider, report = extend.add_classes(clf, (x, NAMES[swapped]), on_existing="update", method="lda")
    true = clf.score(x_test, y_test) - wider.score(x_test, y_test)
    assert true > 0.2 and report.forgetting == pytest.approx(true, abs=0.06)


def test_one_more_sample_of_a_large_class_is_no_reason_to_warn(plain: Classifier, fourth: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, report = extend.add_classes(plain, {"class 0": fourth[:1]}, on_existing="update", method="lda")
        assert not any("one sample" in note for note in report.notes)
        with pytest.raises(UserWarning, match="class 'new' has one sample: its own spread is not known"):
            extend.add_classes(plain, {"new": fourth[:1]}, method="lda")


def test_old_and_new_classes_in_one_step(plain: Classifier, fourth: np.ndarray) -> None:
    x, y = blobs(4, 400, 5, seed=0)
    _, report = extend.add_classes(plain, {"class 0": x[y == 0], "new": fourth}, on_existing="update", method="lda")
    assert report.action == "add" and report.old == plain.classes
    assert report.before is not None and report.same_rows is not None
    assert report.before.n == report.same_rows.n and "new" not in report.same_rows.by_class


def test_rows_given_to_measure_with_are_never_fitted_on(blurred: tuple) -> None:
    """More samples of a class come with held-out candidates of their own, which do not take the given rows' places."""
    clf, (x, y), _, held = blurred
    wider, _ = extend.add_classes(clf, (x, NAMES[y]), on_existing="update", method="lda")
    assert clf.memory is not None and wider.memory is not None
    now = {row.tobytes() for row in wider.memory.held_out[0]}
    assert all(row.tobytes() in now for row in held)
    merged = wider.memory + extend.wrap(identity, list("abcd"), (x, y), held_out=(x + 1, y)).memory
    now = {row.tobytes() for row in merged.held_out[0]}
    assert all(row.tobytes() in now for row in (*held, *(x + 1)))
    assert merged.statistics.count.sum() + len(merged.held_out[0]) == merged.total.sum()
