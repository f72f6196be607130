"""Classes under other names, and samples taken out: what remains is what would have been measured from the start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.core.errors import ArgumentError, DataError
from extend.data import Features
from extend.memory import Memory, regrouped, without_samples
from tests.laws.test_rows import KINDS, made, same


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=3, max_size=5),
    st.integers(0, 10**6),
    st.integers(2, 30),
    KINDS,
    st.sampled_from(["class", "pooled"]),
    st.data(),
)
def test_merged_classes_are_the_class_of_all_their_samples(
    sizes: list[int], seed: int, rows: int, dtype: str, scatter: str, data: st.DataObject
) -> None:
    whole = made(sizes, seed)
    names = [data.draw(st.sampled_from(["x", "y", "z"])) for _ in sizes]
    classes = tuple(dict.fromkeys(names))
    place = np.asarray([classes.index(name) for name in names])
    joint = Features(whole.features, place[whole.labels], classes, whole.keys)
    kept = {"max_rows": rows, "dtype": dtype, "scatter": scatter}
    merged = regrouped(Memory.of(whole, **kept), dict(zip(whole.classes, names, strict=True)))  # type: ignore[arg-type]
    assert same(merged, Memory.of(joint, **kept))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=2, max_size=3), st.integers(0, 10**6), KINDS, st.data())
def test_samples_taken_out_were_never_there(sizes: list[int], seed: int, dtype: str, data: st.DataObject) -> None:
    whole = made(sizes, seed)
    gone = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))))
    named = set(zip(whole.labels[gone].tolist(), whole.keys[gone].tolist(), strict=True))
    gone = np.asarray([pair in named for pair in zip(whole.labels.tolist(), whole.keys.tolist(), strict=True)])
    left = whole.take(~gone)
    if len(np.unique(left.labels)) < len(sizes):
        with pytest.raises(ArgumentError, match="remove_classes"):
            without_samples(Memory.of(whole, dtype=dtype), whole.take(gone))
        return
    assert same(without_samples(Memory.of(whole, dtype=dtype), whole.take(gone)), Memory.of(left, dtype=dtype))


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 80), st.integers(0, 10**6), st.sampled_from(["class", "pooled"]), st.integers(1, 20))
def test_samples_are_subtracted_from_what_was_folded(size: int, seed: int, scatter: str, few: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.choice(2**62, 2 * size, replace=False).astype(np.uint64) * np.uint64(4)
    whole = Features(rng.normal(size=(2 * size, 5)).astype(np.float32), np.repeat([0, 1], size), ("a", "b"), keys)
    gone = np.isin(np.arange(2 * size), size + rng.choice(size, few, replace=False))
    kept = {"max_rows": 5, "scatter": scatter}
    found = without_samples(Memory.of(whole, **kept), whole.take(gone))  # type: ignore[arg-type]
    expected = whole.take(~gone)
    assert found.total.tolist() == [size, size - few]
    held = np.isin(keys, found.held_out_keys)
    fitted = expected.take(~np.isin(expected.keys, found.held_out_keys))
    for label in (0, 1):
        rows = fitted.features[fitted.labels == label].astype(np.float64)
        assert np.allclose(found.statistics.mean[label], rows.mean(axis=0), atol=1e-9)
        if scatter == "class":
            assert np.allclose(found.statistics.scatter(label), np.cov(rows.T, bias=True) * len(rows), atol=1e-8)
    assert held.sum() == len(found.held_out_keys)


def test_what_was_never_there_is_refused() -> None:
    rng = np.random.default_rng(0)
    keys = rng.choice(2**62, 61, replace=False).astype(np.uint64)
    x = rng.normal(size=(61, 4)).astype(np.float32)
    x[60] += 50
    whole = Features(x, np.r_[np.repeat([0, 1], 30), 1], ("a", "b"), keys)
    known, stranger = whole.take(np.arange(60)), whole.take(np.arange(61) == 60)
    with pytest.raises(DataError, match="not among those that class 'b' was measured from"):
        without_samples(Memory.of(known), stranger)
    with pytest.raises(DataError, match="never in its statistics"):
        without_samples(Memory.of(known, max_rows=2), stranger)
