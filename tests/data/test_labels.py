"""What labels mean, and which are refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend import data
from extend.core.errors import ArgumentError, DataError
from extend.data import class_names
from extend.data.labels import is_missing, read_labels, rows_in_words
from tests.conftest import spec


def meant(labels: Any, *args: Any, **options: Any) -> list[str]:
    """The names that labels are read as."""
    places, classes = read_labels(labels, len(labels), *args, **options)
    assert places.dtype == np.int64
    return [classes[place] for place in places]


@pytest.mark.parametrize(
    "form", [list, np.asarray, pd.Series, lambda v: np.asarray(v, float), lambda v: np.array(v, object)]
)
@pytest.mark.parametrize("names", [(2, 0, 1), ("2", "0", "1"), (0, 5, 7), (-1, 1), (5, 10**12)])
def test_integer_labels_of_integer_names_are_the_names(names: tuple[Any, ...], form: Any) -> None:
    labels = [int(name) for name in (*names[1:], *names)]
    assert meant(form(labels), names) == list(map(str, labels))


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), min_size=1))
def test_the_order_of_integer_names_does_not_matter(names: list[int], labels: list[int]) -> None:
    assert meant(labels, names) == list(map(str, labels))


def test_integers_are_places_where_no_name_is_an_integer() -> None:
    assert meant([1, 0, 1], ("cat", "dog")) == ["dog", "cat", "dog"]
    assert meant([True, False], ("cat", "dog")) == ["dog", "cat"]
    assert meant(np.array([1.0, 0.0]), ("cat", "dog")) == ["dog", "cat"]
    assert meant([0, 2, 1], ("0", "1", "other")) == ["0", "other", "1"]  # Both readings agree on 0 and 1.
    assert meant([1, 0], ("v2", "007")) == ["007", "v2"]
    with pytest.raises(DataError, match="labels run from 0 to 2, but there are 2 names"):
        read_labels([0, 2], 2, ("cat", "dog"))


def test_a_place_is_not_mistaken_for_an_integer_name() -> None:
    for names, label in (((0, 5, 7), 1), ((1, 2, 3), 0), (("2", "0", "cat"), 1)):
        with pytest.raises(DataError, match=f"label {label} is not one of the classes .*np.asarray"):
            read_labels([int(names[1]), label], 2, names)


def test_names_that_are_written_beside_the_labels() -> None:
    assert meant([0, 1, 0], ("8", "9"), listed=True) == ["8", "9", "8"]
    assert meant([9, 8], ("8", "9"), listed=True) == ["9", "8"]
    assert meant([1, 2], ("2", "0", "1"), listed=True) == ["1", "2"]
    read = data.read((np.zeros((2, 3)), [1, 2], [2, 0, 1]), spec(3))
    assert [read.classes[label] for label in read.labels] == ["1", "2"]


def test_other_values_that_are_names() -> None:
    assert meant([True, False], ("False", "True")) == ["True", "False"]
    assert meant([0.5, 1.5], ("0.5", "1.5")) == ["0.5", "1.5"]
    assert meant(np.array([2.0, 0.0]), ("2.0", "0.0", "1.0")) == ["2.0", "0.0"]
    assert meant([2, 0], ("2.0", "0.0", "1.0")) == ["2.0", "0.0"]
    assert meant(np.array([b"cat", b"dog"])) == ["cat", "dog"]
    assert meant(pd.Categorical(["b", "a"], ["a", "b"])) == ["b", "a"]
    assert meant(["cat", 7, np.str_("dog")]) == ["cat", "7", "dog"]
    assert class_names([b"cat", np.int64(7)]) == ("cat", "7")


def test_integers_that_name_new_classes() -> None:
    assert meant([9, 8, 9], known=("0", "1")) == ["9", "8", "9"]
    assert read_labels([9, 8, 9], 3, known=("0", "1"))[1] == ("9", "8")
    with pytest.raises(DataError, match="integer labels without names"):
        read_labels([9, 8, 9], 3, known=("cat", "dog"))


MISSING = {
    "None": ["c", "c", None],
    "NaN in a list": ["c", "c", float("nan")],
    "NaN that NumPy made text": np.array(["c", "c", np.nan]),
    "NaN among objects": np.array(["c", "c", np.nan], object),
    "Series": pd.Series(["c", "c", None]),
    "string": pd.Series(["c", "c", None], dtype="string"),
    "category": pd.Series(["c", "c", None]).astype("category"),
    "Int64": pd.Series([0, 1, None], dtype="Int64"),
    "boolean": pd.Series([False, True, None], dtype="boolean"),
    "float": np.array([0, 1, np.nan]),
    "NaT": pd.Series([pd.Timestamp(0), pd.Timestamp(0), pd.NaT]),
    "masked numbers": np.ma.MaskedArray([0, 1, 1], [0, 0, 1]),
    "masked texts": np.ma.MaskedArray(["c", "c", "d"], [0, 0, 1]),
    "empty": ["c", "c", ""],
    "blank": np.array(["c", "c", " "]),
}


@pytest.mark.parametrize("names", [None, ("c", "d")])
@pytest.mark.parametrize("kind", MISSING)
def test_missing_labels_are_refused_with_their_rows(kind: str, names: tuple[str, ...] | None) -> None:
    with pytest.raises(DataError, match=r"^1 label is missing, at row 2: leave these samples out"):
        read_labels(MISSING[kind], 3, names)


def test_many_missing_labels_are_counted() -> None:
    with pytest.raises(DataError, match="7 labels are missing, at rows 1, 2, 3, 4, 5 and 2 more"):
        read_labels(["c", *[None] * 7], 8)
    assert rows_in_words(np.array([True])) == "at row 0"


def test_names_that_are_missing() -> None:
    for name in (None, float("nan"), pd.NA, pd.NaT, ""):
        assert is_missing(name)
        with pytest.raises(DataError, match=r"a class is called .*, a missing name"):
            data.read({"a": np.zeros((1, 3)), name: np.zeros((1, 3))}, spec(3))
        with pytest.raises(ArgumentError, match=r"classes is .*: the name at place 1 is missing"):
            class_names(["a", name])
    assert not any(map(is_missing, ("None", "nan", "NA", 0, False, 0.0)))
    assert meant(["nan", "None"]) == ["nan", "None"]  # Texts that a user wrote are names.


SIGMOID = 'activation="sigmoid"'


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a"], ["a", "b"]], rf"the label of row 0 is \['a'\]; expected one class .*{SIGMOID}"),
        ([{"a"}, {"a", "b"}], f"the label of row 0 is {{'a'}}.*{SIGMOID}"),
        (["a", ("a", "b")], rf"the label of row 1 is \('a', 'b'\).*{SIGMOID}"),
        (pd.Series([["a"], ["a", "b"]]), f"the label of row 0 is .*{SIGMOID}"),
        (np.array([[1, 1], [0, 1]]), rf"a matrix \[2, 2\] of 0 and 1, several classes a sample.*{SIGMOID}"),
        (pd.DataFrame([[1.0, 1.0], [0.0, 0.0]]), f"several classes a sample.*{SIGMOID}"),
        ([["a", "b"], ["b", "c"]], rf"labels have shape \[2, 2\].*{SIGMOID}"),
        (
            np.array([[1, 0], [0, 1]]),
            r"a one-hot matrix .* pass np.asarray\(classes\)\[labels.argmax\(axis=1\)\]",
        ),
        (np.array([[1], [0]]), r"labels have shape \[2, 1\].*pass labels.ravel\(\)"),
        ({"a", "b"}, "labels are a set, which has no order"),
        ("ab", "labels is 'ab'; expected one for each of 2 samples"),
        (3, "labels is 3; expected one for each of 2 samples"),
    ],
)
def test_several_labels_for_a_sample(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(labels, 2, ("a", "b", "c"))


def test_a_long_list_of_classes_is_cut() -> None:
    with pytest.raises(DataError, match=re.escape("one of the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...")):
        read_labels(["x"], 1, range(10000))
