"""Taking classes away."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

import extend
from extend.classifier import Classifier
from extend.models import MLP
from tests.conftest import blobs, names


def test_removing(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="new_units")
    smaller, _ = extend.remove_classes(wider, "new")
    x, _ = blobs(4, 40, 5)
    assert np.array_equal(smaller.decision_function(x), plain.decision_function(x))
    with pytest.raises(ValueError, match="no class 'cow'"):
        extend.remove_classes(plain, "cow")
    two, _ = extend.remove_classes(plain, "class 0")
    with pytest.raises(ValueError, match="keeps at least two"):
        extend.remove_classes(two, "class 1")


def test_removing_several(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="lda")
    smaller, report = extend.remove_classes(wider, ["class 0", "class 2"])
    one_by_one = extend.remove_classes(extend.remove_classes(wider, "class 0")[0], "class 2")[0]
    assert smaller.classes == ("class 1", "new") == one_by_one.classes and report.classes == ("class 0", "class 2")
    assert np.allclose(smaller.decision_function(fourth), one_by_one.decision_function(fourth), atol=1e-5)
    with pytest.raises(ValueError, match="classes 'class 1', 'new' cannot be removed: 0 of 2 would be left"):
        extend.remove_classes(smaller, ["class 1", "new"])


def test_integers_are_names(fourth: np.ndarray) -> None:
    x, y = blobs(4, 40, 5)
    clf = extend.wrap(lambda x: x, [5, 0, 7, 1], (x, np.array([5, 0, 7, 1])[y]))
    assert extend.remove_classes(clf, 7)[0].classes == ("5", "0", "1")
    assert extend.remove_classes(clf, [7, np.int64(5)])[0].classes == ("0", "1")
    with pytest.raises(ValueError, match="no class '9'; there are 5, 0, 7, 1"):
        extend.remove_classes(clf, 9)


def test_removing_what_the_fisher_diagonal_never_saw_leaves_it(fourth: np.ndarray) -> None:
    x, y = blobs(3, 40, 5)
    clf = extend.wrap(MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0)), names(3), (x, y), keep=extend.Keep(fisher=True))
    wider, _ = extend.add_classes(clf, {"new": fourth}, method="lda")
    back, report = extend.remove_classes(wider, "new")
    assert clf.memory is not None and clf.memory.fisher is not None
    assert back.memory is not None and back.memory.fisher is not None and not report.notes
    assert all(np.array_equal(back.memory.fisher.values[n], f) for n, f in clf.memory.fisher.values.items())
    x, y = blobs(3, 40, 5)
    old = {**{name: x[y == label] for label, name in enumerate(names(3))}, "new": fourth}
    joint, _ = extend.add_classes(wider, {"next": fourth + 9}, old=old, method=extend.methods.Joint(epochs=1))
    assert extend.remove_classes(joint, "new")[0].memory.fisher is None  # type: ignore[union-attr]  # It was measured anew on all.
    other, report = extend.remove_classes(wider, "class 0")
    assert other.memory is not None and other.memory.fisher is None
    assert any("the Fisher diagonal is gone" in note for note in report.notes)
    untold = replace(clf, recipe=replace(clf.recipe, fisher_classes=None))  # Nothing says that the class is not in it.
    assert extend.remove_classes(untold, "class 0")[0].memory.fisher is None  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["auto", "lda", "new_units", "gaussian"])
def test_a_model_has_its_own_head_again_when_all_that_came_is_gone(method: str) -> None:
    x, y = blobs(5, 60, 5, spread=1.0)
    net = MLP(3, inputs=5, hidden=(16,), rngs=nnx.Rngs(0))
    before = extend.wrap(net, names(3), (x[y < 3], y[y < 3]))
    added, _ = extend.add_classes(before, {"e": x[y == 3]}, method=method)
    after, report = extend.remove_classes(added, "e")
    assert np.array_equal(after.predict_proba(x), before.predict_proba(x)) and report.forgetting is not None
    assert after.recipe == before.recipe
    base_less, _ = extend.remove_classes(added, names(3)[0])
    assert base_less.classes == (*names(3)[1:], "e")


def test_the_method_before_an_addition_is_in_force_again() -> None:
    """A class of three samples makes auto choose anew; without it the earlier choice and its temperature come back."""
    x, y = blobs(5, 60, 5, spread=1.5)
    wrapped = extend.wrap(lambda x: x, names(3), (x[y < 3], y[y < 3]))
    before, _ = extend.add_classes(wrapped, {"e": x[y == 3]}, method=extend.methods.Auto((extend.methods.Gaussian(),)))
    added, report = extend.add_classes(before, {"f": x[y == 4][:3]})
    assert before.recipe.method == "gaussian" != report.method
    after, _ = extend.remove_classes(added, "f")
    assert after.recipe.method == "gaussian"
    assert np.allclose(after.predict_proba(x), before.predict_proba(x), atol=1e-5)
