"""What a memory keeps of a class: rows, and statistics of what is beyond them."""

import numpy as np
import pytest

from extend.data import Features
from extend.memory import Memory, held_out_rows
from extend.memory.rows import decode, encode
from extend.memory.serialise import from_tree, to_tree
from tests.conftest import blobs


def features(each: int, k: int = 2, dim: int = 4, seed: int = 0) -> Features:
    x, y = blobs(k, each, dim, seed=seed)
    keys = np.random.default_rng(seed).integers(0, 2**64, len(y), dtype=np.uint64)
    return Features(x.astype(np.float32), y, tuple("abcdef"[:k]), keys)


@pytest.mark.parametrize("scatter", ["class", "pooled"])
def test_a_class_is_rows_until_it_has_more_than_are_kept(scatter: str) -> None:
    small, large = (Memory.of(features(each), scatter=scatter, max_rows=50) for each in (50, 400))
    assert small.whole.all() and not small.core.count.any() and len(small.rows) == 100
    held = np.bincount(large.held_out[1])
    assert not large.whole.any() and np.array_equal(np.bincount(large.rows.labels), held + 50)
    assert np.array_equal(large.core.count, 400 - held - 50) and large.total.tolist() == [400, 400]


def test_the_statistics_are_those_of_all_samples_that_are_not_held_out() -> None:
    given = features(400)
    memory = Memory.of(given, max_rows=50)
    train = given.take(~held_out_rows(given.keys, given.labels))
    for label in range(2):
        x = train.features[train.labels == label].astype(np.float64)
        assert memory.statistics.count[label] == len(x)
        assert np.allclose(memory.statistics.mean[label], x.mean(axis=0))
        assert np.allclose(memory.statistics.scatter(label), np.cov(x.T) * (len(x) - 1))
    assert np.allclose(memory.statistics.within, sum(memory.statistics.scatter(i) for i in range(2)))


@pytest.mark.parametrize("sizes", [(30, 30), (30, 400), (400, 30), (400, 400)])
def test_folded_and_unfolded_memories_add_exactly(sizes: tuple[int, int]) -> None:
    one, two = (features(each, seed=seed) for seed, each in enumerate(sizes))
    both = Memory.of(one.concatenate(two), max_rows=50)
    added = Memory.of(one, max_rows=50) + Memory.of(two, max_rows=50)
    assert np.array_equal(added.rows.keys, both.rows.keys) and np.array_equal(added.rows.features, both.rows.features)
    assert np.array_equal(added.held_out_keys, both.held_out_keys)
    assert np.array_equal(added.total, both.total)
    assert np.allclose(added.statistics.within, both.statistics.within, rtol=1e-9)
    assert np.allclose(added.statistics.mean, both.statistics.mean, rtol=1e-9)


def test_a_class_leaves_without_a_trace_whether_folded_or_not() -> None:
    large, small = features(400, k=2), features(20, k=3)
    only = small.take(small.labels == 2).relabel(("a", "b", "c"))
    before = Memory.of(large, max_rows=50)
    came = Memory.of(Features(only.features, np.zeros(20, int), ("c",), only.keys), max_rows=50)
    after = (before + came).without("c")
    assert np.array_equal(after.rows.keys, before.rows.keys) and after.classes == before.classes
    assert np.allclose(after.statistics.within, before.statistics.within, rtol=1e-12)
    with pytest.raises(ValueError, match='scatter="class"'):
        Memory.of(large, max_rows=50, scatter="pooled").without("a")
    rows_only = Memory.of(features(30), scatter="pooled").without("a")
    assert rows_only.classes == ("b",) and rows_only.statistics.count.sum() == rows_only.training.weight.sum()


@pytest.mark.parametrize("copies", [9, 20, 300])
def test_equal_samples_are_one_row_and_never_held_out_whole(copies: int) -> None:
    x = np.repeat(np.float32([[1, 2, 3]]), copies, axis=0)
    low = np.full(copies, 5, np.uint64)
    memory = Memory.of(Features(x, np.zeros(copies, int), ("a",), low))
    assert len(memory.rows) == 1 and len(memory.held_out[0]) == 0
    assert memory.statistics.count.tolist() == [copies] == memory.total.tolist()
    assert np.allclose(memory.statistics.mean, [[1, 2, 3]]) and not memory.statistics.within.any()
    assert memory.training.weight.tolist() == [copies]


def test_held_out_keys_are_distinct_and_at_most_half_of_a_class() -> None:
    low = np.arange(12, dtype=np.uint64)  # All would be held out.
    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    memory = Memory.of(Features(np.repeat(x[:12], 2, axis=0), np.zeros(24, int), ("a",), np.repeat(low, 2)))
    assert memory.held_out_keys.tolist() == list(range(6)) and memory.statistics.count.tolist() == [12]
    assert held_out_rows(np.repeat(low, 2), np.zeros(24, int)).tolist() == [True] * 12 + [False] * 12


def test_rows_stand_for_the_samples_of_their_class() -> None:
    memory = Memory.of(features(400), max_rows=50)
    rows, labels, weight = memory.training
    assert len(rows) == 100 and np.allclose(np.bincount(labels, weights=weight), memory.statistics.count)


def test_what_a_user_gives_to_measure_with_stays_held_out_when_more_samples_come() -> None:
    given = features(60, seed=1)
    memory = Memory.of(features(60)).with_held_out(given.features, given.labels, given.keys)
    assert memory.statistics.count.tolist() == [60, 60]
    more = memory.with_samples(features(500, seed=2))
    assert np.array_equal(np.sort(more.held_out_keys), np.sort(given.keys))
    assert more.statistics.count.tolist() == [560, 560]


@pytest.mark.parametrize("dtype, close", [("float16", 1e-3), ("int8", 0.02)])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e8])
def test_rows_in_fewer_bytes_are_read_back_to_the_bit(dtype: str, close: float, scale: float) -> None:
    x = (features(50).features * np.float32(scale)).astype(np.float32)
    once = decode(*encode(x, dtype))
    assert np.array_equal(decode(*encode(once, dtype)), once)
    assert np.abs(once - x).max() <= close * np.abs(x).max()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("scatter", ["class", "pooled"])
def test_a_memory_with_rows_is_saved_bit_for_bit(dtype: str, scatter: str) -> None:
    base = Memory.of(features(400), max_rows=50, dtype=dtype, scatter=scatter)
    x, y = blobs(1, 30, 4, seed=3)
    memory = base.with_samples(Features(x, y, ("new",), np.random.default_rng(3).integers(0, 2**63, 30).astype("u8")))
    arrays, rest = to_tree(memory)
    assert memory.nbytes == sum(array.nbytes for array in arrays.values())
    back = from_tree(arrays, rest)
    for name in ("features", "labels", "keys", "copies", "given"):
        assert np.array_equal(getattr(back.rows, name), getattr(memory.rows, name))
    assert np.array_equal(back.statistics.within, memory.statistics.within)
    assert np.array_equal(back.statistics.mean, memory.statistics.mean)
    assert back.max_rows == 50 and back.dtype == dtype
