"""Notes about classes that overlap."""

from __future__ import annotations

import numpy as np
import pytest

import extend
from extend.classifier import Classifier, Evaluation
from extend.data import Array, read
from extend.report import hardly_told_apart, twice_named
from tests.conftest import identity

RNG = np.random.default_rng(3)


def told(notes: tuple[str, ...] | list[str], part: str) -> list[str]:
    return [note for note in notes if part in note]


@pytest.fixture
def wide() -> Classifier:
    """Two classes, a of 300 samples around 0, b of 300 around 9."""
    x = RNG.normal(size=(600, 4)).astype(np.float32)
    x[300:] += 9
    return extend.wrap(identity, ["a", "b"], (x, np.repeat([0, 1], 300)))


def test_the_same_samples_under_two_new_names(plain: Classifier, fourth: np.ndarray) -> None:
    new = {"new": fourth, "copy": fourth[:7], "other": fourth + 50}
    _, report = extend.add_classes(plain, new, method="lda")
    assert told(report.notes, "7 samples are there under two names, 'new' and 'copy'")
    assert not told(report.notes, "'other'")


def test_the_same_samples_under_an_old_name(wide: Classifier) -> None:
    x = RNG.normal(size=(300, 4)).astype(np.float32)
    clf, report = extend.add_classes(wide, {"first": x + 30}, method="lda")
    assert not told(report.notes, "two names")
    _, report = extend.add_classes(clf, {"second": np.concatenate([x + 30, x - 30])}, method="lda")
    (note,) = told(report.notes, "two names")
    assert note.startswith("at least ") and "'first' and 'second'" in note
    assert 10 <= int(note.split()[2]) <= 300


def test_a_sample_of_its_own_class_is_no_second_name(wide: Classifier) -> None:
    x = RNG.normal(size=(40, 4)).astype(np.float32)
    clf, _ = extend.add_classes(wide, {"c": x + 30}, method="lda")
    again, report = extend.add_classes(clf, {"c": x + 30}, on_existing="update", method="lda")
    assert again.classes == clf.classes and not told(report.notes, "two names")


def test_many_pairs_are_counted() -> None:
    samples = read({str(i): np.full((1, 2), i // 2) for i in range(10)}, Array((2,)))
    notes = twice_named(samples, None)
    assert len(notes) == 4 and notes[-1] == "and so are samples of 2 more pairs of names"


@pytest.mark.parametrize("method", ["lda", "ridge", "gaussian", "auto"])
def test_a_class_that_is_hardly_told_apart(wide: Classifier, method: str) -> None:
    near, apart = RNG.normal(size=(300, 4)) + 0.05, RNG.normal([20, -20, 20, -20], size=(300, 4))
    _, report = extend.add_classes(wide, {"near": near, "apart": apart}, method=method)
    (note,) = told(report.notes, "hardly told apart")
    assert note.startswith("'near' is hardly told apart from 'a': ")
    after = report.after
    assert after is not None
    i, j = after.classes.index("near"), after.classes.index("a")
    n, m = after.confusion.sum(axis=1)[[i, j]]
    first, second = f"{after.confusion[i, j]} of {n} of the samples", f"{after.confusion[j, i]} of {m} the other way"
    assert first in note and second in note


def test_classes_that_are_told_apart_get_no_note(wide: Classifier) -> None:
    for distance in (3.0, 20.0):
        _, report = extend.add_classes(wide, {"c": RNG.normal(size=(300, 4)) - distance}, method="lda")
        assert not told(report.notes, "told apart")


def test_a_class_of_which_nothing_is_held_out(wide: Classifier) -> None:
    """Its own samples tell, on which it was fitted; a head that cannot tell these apart can tell no others."""
    _, report = extend.add_classes(wide, {"few": RNG.normal(size=(9, 4)), "far": np.full((9, 4), 40.0)}, method="lda")
    (note,) = told(report.notes, "told apart")
    assert note.startswith("'few' is hardly told apart from 'a'") and "of 9 of the samples of 'few' measured" in note


def test_every_pair_is_named_once_and_the_worst_first(wide: Classifier) -> None:
    counts = np.zeros((5, 5), int)
    counts[2:, 2:] = [[20, 20, 10], [20, 20, 10], [15, 15, 20]]
    after = Evaluation(("a", "b", "x", "y", "z"), counts, 0.0, 0.0)
    clf, _ = extend.add_classes(wide, {name: RNG.normal(size=(20, 4)) for name in "xyz"}, method="lda")
    fresh = clf.backbone and read({name: np.zeros((1, 4)) for name in "xyz"}, clf.backbone.inputs)
    notes = hardly_told_apart(clf, fresh, ("x", "y", "z"), after)  # type: ignore[arg-type]  # Not looked at here.
    assert [note.split(":")[0] for note in notes] == [
        "'x' is hardly told apart from 'y'",
        "'x' is hardly told apart from 'z'",
        "'y' is hardly told apart from 'z'",
    ]
