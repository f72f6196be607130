"""Every public function answers every kind of wrong argument with one of our own errors, and with one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extend
from extend.classifier import Classifier
from tests.conftest import blobs, identity, names

X, Y = blobs(4, 40, 5)
OLD = (X[Y < 3], Y[Y < 3])
NEW = X[Y == 3]


@pytest.fixture(scope="module")
def clf() -> Classifier:
    return extend.wrap(identity, names(3), OLD)


@pytest.fixture(scope="module")
def saved(clf: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that names its network itself."""
    from flax import nnx

    folder = tmp_path_factory.mktemp("saved") / "clf"
    model = extend.models.MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0))
    extend.wrap(model, names(3), OLD).save(folder)
    return folder


NO_CLASSIFIER: dict[str, Any] = {
    "a path that does not exist": "no/such/folder",
    "None": None,
    "a number": 3,
    "an array": X,
    "a list": [1, 2],
}
NO_DATA: dict[str, Any] = {
    "a path that does not exist": "no/such/folder",
    "None": None,
    "a number": 3,
    "a list": [1, 2, 3],
    "an empty mapping": {},
    "wrong shape": {"d": np.zeros((4, 7), np.float32)},
    "no batch axis": {"d": np.zeros(5, np.float32)},
    "no samples": {"d": np.zeros((0, 5), np.float32)},
    "NaN": {"d": np.full((4, 5), np.nan, np.float32)},
    "text as inputs": {"d": ["a", "b"]},
    "ragged": {"d": [[1.0, 2.0], [3.0]]},
    "labels of another length": (X[:4], ["d"] * 3),
    "integer labels without names": (X[:4], [7, 8, 9, 9]),
    "labels that are fractions": (X[:4], [0.5, 1.5, 0.5, 1.5]),
    "a tuple of four": (X[:4], ["d"] * 4, 1, 2),
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "load": extend.load,
    "save": lambda c: extend.save(c, "never-written"),
    "inspect": extend.inspect,
    "add_classes": lambda c: extend.add_classes(c, {"d": NEW}),
    "remove_classes": lambda c: extend.remove_classes(c, "class 1"),
    "calibrate": extend.calibrate,
    "retune": extend.retune,
    "adapt": lambda c: extend.adapt(c, OLD),
    "replace_head": lambda c: extend.replace_head(c, ["x", "y"]),
    "evaluate": lambda c: extend.evaluate(c, OLD),
}


def refused(call: Callable[[], Any]) -> str:
    """The one line that says why; any other error is a failure."""
    with pytest.raises(extend.ExtendError) as caught:
        call()
    text = str(caught.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize("wrong", NO_CLASSIFIER)
@pytest.mark.parametrize("function", CALLS)
def test_what_is_no_classifier_is_refused(function: str, wrong: str) -> None:
    refused(lambda: CALLS[function](NO_CLASSIFIER[wrong]))
    assert not Path("never-written").exists()


@pytest.mark.parametrize("wrong", NO_DATA)
def test_what_is_no_data_is_refused(clf: Classifier, wrong: str) -> None:
    data = NO_DATA[wrong]
    refused(lambda: extend.add_classes(clf, data))
    refused(lambda: extend.evaluate(clf, data))
    if data is not None:  # Then there is nothing to measure, which is allowed.
        refused(lambda: extend.wrap(identity, names(3), data))
        refused(lambda: extend.wrap(identity, names(3), OLD, held_out=data if data != 3 else "3"))
        refused(lambda: extend.add_classes(clf, {"d": NEW}, old=data))
        refused(lambda: extend.add_classes(clf, {"d": NEW}, validation=data))
    refused(lambda: extend.adapt(clf, data))


@pytest.mark.parametrize(
    ("wrong", "inputs"),
    {
        "wrong shape": np.zeros((4, 7)),
        "text": ["a"],
        "None": None,
        "NaN": np.full((2, 5), np.nan),
        "ragged": [[1.0], [1.0, 2.0]],
    }.items(),
)
def test_wrong_inputs_of_a_classifier_are_refused(clf: Classifier, wrong: str, inputs: Any) -> None:
    for method in (clf.predict, clf.predict_proba, clf.decision_function, clf.transform):
        refused(lambda method=method: method(inputs))
    refused(lambda: clf.score(inputs, [0]))


@pytest.mark.parametrize(
    "model",
    [None, 3, "text", "no/such/file.onnx", [1], object(), dict, np.zeros(3)],
    ids=lambda model: repr(model)[:20],
)
def test_wrap_refuses_what_is_no_model(model: Any) -> None:
    refused(lambda: extend.wrap(model, names(3), OLD))


@pytest.mark.parametrize(
    "classes", [None, 3, [], ["a", "a", "b"], ["a", "b"], "abc"], ids=lambda classes: repr(classes)
)
def test_wrap_refuses_wrong_names(classes: Any) -> None:
    if classes == "abc":
        pytest.skip("three letters are three names, as a sequence of strings")
    refused(lambda: extend.wrap(identity, classes, OLD))


@pytest.mark.parametrize(
    "options",
    [
        {"method": None},
        {"method": 3},
        {"method": "ldda"},
        {"method": "no such method"},
        {"method": dict},
        {"on_existing": "replace"},
        {"on_existing": None},
        {"max_forgetting": 1.5},
        {"max_forgetting": "much"},
        {"max_forgetting": -0.1},
        {"exemplars": -1},
        {"exemplars": "many"},
        {"seed": "x"},
    ],
    ids=str,
)
def test_add_classes_refuses_wrong_options(clf: Classifier, options: dict[str, Any]) -> None:
    refused(lambda: extend.add_classes(clf, {"d": NEW}, **options))


def test_a_misspelt_method_is_answered_with_the_right_spelling(clf: Classifier) -> None:
    assert "'lda'" in refused(lambda: extend.add_classes(clf, {"d": NEW}, method="ldda"))


@pytest.mark.parametrize("method", ["LDA", "Lda", extend.methods.LDA, extend.methods.LDA()], ids=str)
def test_a_method_is_known_by_name_in_any_case_and_by_its_class(clf: Classifier, method: Any) -> None:
    assert extend.add_classes(clf, {"d": NEW}, method=method)[1].method == "lda"


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        ("remove_classes", "no such class"),
        ("remove_classes", None),
        ("remove_classes", 3),
        ("replace_head", ["x"]),
        ("replace_head", None),
        ("replace_head", ["x", "x"]),
        ("calibrate", "temperature and more"),
        ("calibrate", None),
        ("calibrate", ["no such step"]),
        ("inspect", 3),
    ],
)
def test_wrong_second_arguments_are_refused(clf: Classifier, function: str, wrong: Any) -> None:
    refused(lambda: getattr(extend, function)(clf, wrong) if function != "inspect" else extend.inspect(wrong))


@pytest.mark.parametrize("path", [None, 3, "", "missing/folder/file.nosuchformat"], ids=repr)
def test_save_refuses_wrong_paths(clf: Classifier, path: Any) -> None:
    refused(lambda: extend.save(clf, path))


def test_every_operation_takes_a_path(saved: Path, tmp_path: Path) -> None:
    path = str(saved)
    assert extend.evaluate(path, OLD).n == 120
    assert extend.add_classes(path, {"d": NEW})[0].classes[-1] == "d"
    assert extend.remove_classes(path, "class 1")[0].classes == ("class 0", "class 2")
    assert extend.calibrate(path)[0].classes == tuple(names(3))
    assert extend.replace_head(path, ["x", "y"]).classes == ("x", "y")
    assert extend.inspect(path)["classes"] == names(3)
    extend.save(path, tmp_path / "copy")
    assert extend.load(tmp_path / "copy").classes == tuple(names(3))


def test_samples_and_labels_may_come_side_by_side(clf: Classifier) -> None:
    one = extend.add_classes(clf, NEW, ["d"] * len(NEW))[0]
    two = extend.add_classes(clf, {"d": NEW})[0]
    assert np.array_equal(one.decision_function(X), two.decision_function(X))


def test_tqdm_is_a_progress(clf: Classifier) -> None:
    from tqdm import tqdm

    assert extend.add_classes(clf, {"d": NEW}, progress=tqdm)[0].classes[-1] == "d"


def test_dir_shows_the_public_names_alone() -> None:
    assert dir(extend) == sorted(extend.__all__)
    assert all(hasattr(extend, name) for name in extend.__all__)


def test_heads_and_classifiers_can_be_compared_and_hashed(clf: Classifier) -> None:
    head = extend.LinearHead.of(np.eye(3), np.zeros(3))
    assert head == head and head != extend.LinearHead.of(np.eye(3), np.zeros(3))
    assert clf == clf and len({head, clf.head, clf}) == 3
