"""The memory of parts is the memory of the whole, wherever a class was folded and however rows are stored."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.data import Features
from extend.memory import Memory

KINDS = st.sampled_from(["float32", "float16", "int8"])


def made(sizes: list[int], seed: int, first: int = 0) -> Features:
    """Features of some classes; some samples are there twice."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    pool = rng.integers(0, 2**64, len(y), dtype=np.uint64)
    keys = pool[rng.integers(0, len(y), len(y))]  # Samples of one content have one key.
    x = np.random.default_rng(7).normal(size=(64, 5)).astype(np.float32)[(keys % np.uint64(64)).astype(int)]
    return Features(x, y, tuple(f"c{first + i}" for i in range(len(sizes))), keys)


def same(one: Memory, two: Memory) -> bool:
    """Whether two memories are one, but for rounding of their sums."""
    rows = all(
        np.array_equal(getattr(one.rows, name), getattr(two.rows, name))
        for name in ("features", "labels", "keys", "copies", "given")
    )
    a, b = one.statistics, two.statistics
    return bool(
        rows
        and one.classes == two.classes
        and np.array_equal(one.held_out_keys, two.held_out_keys)
        and np.array_equal(one.total, two.total)
        and np.array_equal(a.count, b.count)
        and np.allclose(a.mean, b.mean, rtol=1e-6, atol=1e-9)
        and np.allclose(a.within, b.within, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(b.within).max())))
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=4), st.integers(0, 10**6), st.integers(2, 30), KINDS, st.data()
)
def test_parts_add_up(sizes: list[int], seed: int, rows: int, dtype: str, data: st.DataObject) -> None:
    whole = made(sizes, seed)
    split = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))))
    parts = [Memory.of(whole.take(part), max_rows=rows, dtype=dtype) for part in (split, ~split)]
    together = Memory.of(whole, max_rows=rows, dtype=dtype)
    assert same(parts[0] + parts[1], together) and same(parts[1] + parts[0], together)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=3), st.integers(1, 60), st.integers(0, 10**6), KINDS)
def test_a_class_that_came_goes_without_a_trace(sizes: list[int], size: int, seed: int, dtype: str) -> None:
    before = Memory.of(made(sizes, seed), max_rows=20, dtype=dtype)
    came = before + Memory.of(made([size], seed + 1, first=9), max_rows=20, dtype=dtype)
    assert same(came.without("c9"), before)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(0, 10**6), st.integers(0, 30).filter(lambda n: n != 1), st.integers(0, 60))
def test_no_class_is_held_out_whole(size: int, seed: int, rows: int, most: int) -> None:
    memory = Memory.of(made([size], seed), max_rows=rows, max_held_out=most)
    keys = memory.held_out_keys
    assert len(np.unique(keys)) == len(keys) <= most and memory.statistics.count[0] > 0
    different = len(np.unique(made([size], seed).keys))
    assert (len(keys) > 0) == (different >= 10 and most > 0)
