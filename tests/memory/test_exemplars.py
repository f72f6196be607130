import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend.memory import Exemplars
from extend.memory.herding import herd


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_herding_is_icarls_greedy_choice(seed: int, count: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(12, 3))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean, chosen = unit.mean(axis=0), []
    for number in range(1, count + 1):
        left = [i for i in range(12) if i not in chosen]
        gaps = [np.linalg.norm(mean - (unit[chosen].sum(axis=0) + unit[i]) / number) for i in left]
        chosen.append(left[int(np.argmin(gaps))])
    assert herd(rows, count).tolist() == chosen


def kept(limit: int, classes: int, each: int) -> Exemplars:
    n = classes * each
    leaves = (np.arange(n * 4, dtype=np.uint8).reshape(n, 4),)
    label = np.repeat(np.arange(classes), each)
    return Exemplars(limit).add(
        leaves, label, np.arange(n, dtype=np.uint64), np.tile(np.arange(each), classes), classes
    )


def test_the_limit_holds_and_the_first_by_rank_stay() -> None:
    few = kept(4 * 10, 3, 8)
    assert len(few) == 9 and few.leaves is not None and few.leaves[0].nbytes <= few.limit
    assert few.ranks.tolist() == [0, 1, 2] * 3
    fewer = few.add(
        (np.full((5, 4), 255, np.uint8),), np.full(5, 3), np.arange(100, 105, dtype=np.uint64), np.arange(5), 4
    )
    assert np.bincount(fewer.labels).tolist() == [2, 2, 2, 2]
    again = fewer.add(fewer.leaves or (), fewer.labels, fewer.keys, fewer.ranks, 4)
    assert np.array_equal(again.keys, fewer.keys)


def test_less_than_one_input_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"3 classes of 4 bytes an input need 12"):
        kept(11, 3, 2)
