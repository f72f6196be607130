"""Sparse matrices and DataFrames are features wherever inputs are read, and mean what the dense array means."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

import extend
from extend.classifier import Classifier
from extend.data import Array, input_spec, read
from tests.conftest import identity

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.random((40, 4)) + 3 * np.eye(4)[label] for label in (0, 1, 2)]).astype(np.float32)
X *= RNG.random(X.shape) < 0.8
Y = np.repeat(["a", "b", "c"], 40)
OLD = Y != "c"


def frame(x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x, columns=[f"f{i}" for i in range(x.shape[1])])


FORMS = [scipy.sparse.csr_matrix, scipy.sparse.coo_matrix, scipy.sparse.csc_array, frame]


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_the_dense_array_everywhere(form: type) -> None:
    def run(made: type) -> tuple[Classifier, list[np.ndarray]]:
        held = (made(X[OLD][::5]), Y[OLD][::5])
        clf = extend.wrap(identity, ["a", "b"], (made(X[OLD]), Y[OLD]), held_out=held)
        clf, report = extend.add_classes(
            clf,
            {"c": made(X[~OLD])},
            method="svm",
            old=(made(X[OLD]), Y[OLD]),
            validation=(made(X * 1.001), Y),
        )
        assert report.after is not None
        found = extend.evaluate(clf, (made(X), Y))
        return clf, [clf.decision_function(made(X)), report.after.confusion, found.confusion]

    (sparse, ours), (dense, expected) = run(form), run(np.asarray)
    assert sparse.backbone.inputs == dense.backbone.inputs == Array((4,))
    for one, two in zip(ours, expected, strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(sparse.predict(form(X)), dense.predict(X))


def test_columns_of_bool_int_and_float_are_mixed() -> None:
    table = pd.DataFrame(
        {
            "flag": [True, False],
            "count": np.array([3, 250], np.uint8),
            "size": [0.5, np.pi],
            "nullable": pd.array([1, 2], "Int64"),
            "maybe": pd.array([False, True], "boolean"),
        }
    )
    expected = np.float32([[1, 3, 0.5, 1, 0], [0, 250, np.pi, 2, 1]])
    found = Array((5,)).check(table, "the inputs")
    assert found.dtype == np.float32 and np.array_equal(found, expected)
    assert input_spec(table) == Array((5,))


def test_integers_stay_integers_where_they_are_wanted() -> None:
    table = pd.DataFrame({"one": [2**24 + 1, 2], "two": [3, 4]})
    found = Array((2,), np.dtype(np.int32)).check(table, "the inputs")
    assert found.dtype == np.int32 and found.tolist() == [[2**24 + 1, 3], [2, 4]]


def test_columns_without_numbers_are_named() -> None:
    table = pd.DataFrame({"size": [1.0, 2.0], "colour": ["red", "blue"], "when": pd.to_datetime(["2024", "2025"])})
    with pytest.raises(extend.DataError, match=r"class 'x': columns 'colour' \(\w+\), 'when' \(datetime64\[\w+\]\) of"):
        read({"x": table}, Array((3,)))


def test_what_is_missing_is_named_by_its_row() -> None:
    table = pd.DataFrame({"one": pd.array([1, None], "Int64"), "two": [3, 4]})
    with pytest.raises(extend.DataError, match="1 samples hold NaN or infinity, the first at row 1"):
        read({"x": table}, Array((2,)))


def test_a_table_of_another_width_is_refused() -> None:
    with pytest.raises(extend.DataError, match=r"shape \[3, 3\] given; expected \[n, 2\]"):
        read({"x": scipy.sparse.csr_matrix(np.eye(3))}, Array((2,)))


def test_a_model_of_another_framework_takes_tables() -> None:
    model = LogisticRegression().fit(X[OLD], Y[OLD])
    clf = extend.wrap(model, data=(frame(X[OLD]), Y[OLD]))
    assert np.array_equal(clf.predict(scipy.sparse.csr_matrix(X)), model.predict(X))
