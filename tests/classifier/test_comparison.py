"""Before and after, on the same rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import extend
from extend.classifier import Classifier, Evaluation, compare, since_learnt
from extend.data import read_into
from tests.conftest import blobs, identity


def test_a_step_that_adds_classes(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="lda")
    before, after, same = compare(plain, wider)
    assert before is not None and after is not None and plain.memory is not None and wider.memory is not None
    assert before.classes == plain.classes and before.n == len(plain.memory.held_out[0])
    assert after.classes == wider.classes and after.n == len(wider.memory.held_out[0])
    assert same is None and compare(plain, wider).old_after is not None


def test_samples_that_are_given(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="lda")
    x, y = blobs(4, 40, 5)
    check = read_into(wider.classes, (x, y), plain.backbone.inputs, "the data")
    before, after, same = compare(plain, wider, check)
    assert before is not None and after is not None and (before.n, after.n) == (120, 160) and same is None
    assert compare(plain, wider, check.take(y == 3)).before is None
    assert compare(replace(plain, memory=None), replace(wider, memory=None)) == (None, None, None)


def test_a_class_that_is_gone_was_measured_before(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="lda")
    smaller, _ = extend.remove_classes(wider, "class 1")
    before, after, same = compare(wider, smaller)
    assert before is not None and after is not None and same is None
    assert set(before.by_class) == {"class 0", "class 1", "class 2", "new"} and "class 1" not in after.classes


def test_more_samples_of_old_classes() -> None:
    """Of a class of 600 samples 50 are held out; 600 more bring others among the 50 with the lowest keys."""
    x, y = blobs(3, 1800, 5, spread=3.0)
    first = np.arange(len(x)) % 3 == 0
    clf = extend.wrap(identity, ["a", "b", "c"], (x[first], y[first]))
    more = (x[~first], np.array(["a", "b", "c"])[y[~first]])
    wider, report = extend.add_classes(clf, more, on_existing="update", method="lda")
    assert clf.memory is not None and wider.memory is not None
    rows, labels = clf.memory.held_out
    now, now_labels = wider.memory.held_out
    still = {(label, row.tobytes()) for label, row in zip(now_labels, now, strict=True)}
    both = np.array([(label, row.tobytes()) in still for label, row in zip(labels, rows, strict=True)])
    assert 0 < both.sum() < len(rows) and len(now) > both.sum()
    was = (np.asarray(clf.head.logits(rows[both])).argmax(axis=1) == labels[both]).mean()
    became = (np.asarray(wider.head.logits(rows[both])).argmax(axis=1) == labels[both]).mean()
    assert report.old_before == pytest.approx(was) and report.old_after == pytest.approx(became)
    assert report.forgetting == pytest.approx(was - became) and report.n_measured == len(now)
    before, after, same = compare(clf, wider)
    assert before is not None and same is not None and after is not None
    assert np.array_equal(before.confusion.sum(axis=1), same.confusion.sum(axis=1)) and same.n == both.sum() < after.n


def test_forgetting_since_each_class_was_learnt() -> None:
    now = Evaluation(("a", "b", "c"), np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), 0.2, 0.05)
    assert since_learnt({"a": 1.0, "b": 0.5, "c": 1.0, "gone": 1.0}, now) == pytest.approx((1 - 2) / 8)
    assert since_learnt({}, now) is None and since_learnt({"a": 1.0}, None) is None
    same = Evaluation(("a", "b", "c"), np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]]), 0.2, 0.05)
    assert since_learnt({"a": 1.0, "b": 0.5}, now, same) == pytest.approx((2 - 1 + 2 - 4) / 6)
