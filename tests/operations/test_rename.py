"""Other names for classes, a common name for several, and several names in place of one."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import extend
from extend.classifier import Classifier
from tests.conftest import blobs, names


@pytest.fixture
def clf() -> Classifier:
    x, y = blobs(4, 60, 5)
    return extend.wrap(lambda x: x, names(4), (x, y))


def test_renaming_changes_names_alone(clf: Classifier, tmp_path: Path) -> None:
    x, _ = blobs(4, 60, 5)
    renamed, report = extend.rename_classes(clf, {"class 1": "bee", "class 2": "class 1"})
    assert renamed.classes == ("class 0", "bee", "class 1", "class 3") and report.action == "rename"
    assert np.array_equal(renamed.decision_function(x), clf.decision_function(x))
    assert report.forgetting == 0 and report.new is not None and "renamed bee" in str(report)
    extend.save(renamed, tmp_path / "saved")
    again = extend.load(tmp_path / "saved", lambda x: x)
    assert again.classes == renamed.classes and again.memory is not None and again.memory.classes == renamed.classes
    wider, _ = extend.add_classes(again, {"class 2": x[:20] + 9})
    assert wider.classes[-1] == "class 2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "expected {old name: new name}"),
        ({"cow": "ox"}, "no class 'cow'; there are class 0"),
        ({"class 0": "class 1"}, "two classes would be called 'class 1'; to join them use merge_classes"),
        ({"class 0": ""}, "name"),
        ({"class 0": None}, "name"),
        (["class 0", "a"], "expected {old name: new name}"),
    ],
)
def test_names_that_cannot_be_meant(clf: Classifier, given: object, said: str) -> None:
    with pytest.raises(extend.ExtendError, match=re.escape(said)):
        extend.rename_classes(clf, given)  # type: ignore[arg-type]


def test_merged_classes_are_fitted_as_one(clf: Classifier) -> None:
    x, y = blobs(4, 60, 5)
    lda, _ = extend.add_classes(clf, {"new": x[:30] + 20}, method=extend.methods.LDA(0.1))
    merged, report = extend.merge_classes(lda, {"pet": ["class 0", "class 2"]})
    assert merged.classes == ("pet", "class 1", "class 3", "new") and report.classes == ("pet",)
    whole = np.asarray(merged.classes)[np.r_[np.array([0, 1, 0, 2])[y], np.full(30, 3)]]
    direct = extend.wrap(lambda x: x, merged.classes, (np.concatenate([x, x[:30] + 20]), whole))
    assert direct.memory is not None and merged.memory is not None
    assert np.array_equal(direct.memory.total, merged.memory.total)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(np.concatenate([x, x[:30] + 20]), whole)
    assert (merged.predict(x) == reference.predict(x)).mean() > 0.97
    assert any("taken for one of them" in note for note in report.notes)


def test_merging_takes_the_place_of_an_own_head(network: Classifier) -> None:
    merged, report = extend.merge_classes(network, {"class 1": ["class 1", "class 2"]})
    assert merged.classes == ("class 0", "class 1") and merged.recipe.method != "own head"
    assert any("took the place of own head" in note for note in report.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pet": ["class 0"]}, "expected the names of two classes or more"),
        ({"pet": "class 0"}, "expected the names of two classes or more"),
        ({"pet": ["class 0", "cow"]}, "no class 'cow'"),
        ({"class 3": ["class 0", "class 1"]}, "'class 3' is a class already"),
        ({"pet": ["class 0", "class 1"], "animal": ["class 1", "class 2"]}, "is in two groups"),
        ({"pet": names(4)}, "one class would be left of 4"),
        (None, "expected {new name: [classes]}"),
    ],
)
def test_groups_that_cannot_be_meant(clf: Classifier, given: object, said: str) -> None:
    with pytest.raises(extend.ExtendError, match=re.escape(said)):
        extend.merge_classes(clf, given)  # type: ignore[arg-type]


def test_a_class_is_split(clf: Classifier) -> None:
    x, y = blobs(4, 60, 5)
    parts = {"left": x[y == 3] - 4, "right": x[y == 3] + 4}
    split, report = extend.split_class(clf, "class 3", parts)
    assert split.classes == ("class 0", "class 1", "class 2", "left", "right") and report.action == "split"
    assert report.new is not None and report.forgetting is not None
    assert split.history[-1].action == "split" and "class 3" not in {n for e in split.history for n in e.classes}
    kept, _ = extend.split_class(clf, "class 3", {"class 3": parts["left"], "right": parts["right"]})
    assert kept.classes == ("class 0", "class 1", "class 2", "class 3", "right")
    assert np.allclose(kept.decision_function(x), split.decision_function(x), atol=1e-4)
    with pytest.raises(extend.ArgumentError, match="split into two or more"):
        extend.split_class(clf, "class 3", {"left": parts["left"]})
    with pytest.raises(extend.ArgumentError, match="'class 0' is another class already"):
        extend.split_class(clf, "class 3", {"left": parts["left"], "class 0": parts["right"]})
