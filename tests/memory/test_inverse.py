from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.data import Features
from extend.memory import Inverse, Memory
from extend.memory.inverse import shorter
from extend.methods import LDA, Ridge
from tests.laws.strategies import close


@settings(max_examples=40)
@given(
    st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6), st.integers(0, 20), st.sampled_from([1e-3, 1, 100])
)
def test_an_update_is_a_new_inverse(seed: int, d: int, k: int, n: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    rows, more, means = rng.normal(size=(40, d)), rng.normal(size=(n, d)), rng.normal(size=(k + 2, d))
    old = Inverse.of(rows.T @ rows, means[:k], strength)
    after = old.add(more, means)
    expected = np.linalg.inv(rows.T @ rows + more.T @ more + strength * np.eye(d))
    assert close(after.matrix, expected, 1e-7)
    assert close(after.product, expected @ means.T, 1e-7)


def stepwise(scatter: str, recursive: bool, seed: int, each: int) -> Memory:
    rng = np.random.default_rng(seed)
    memory = None
    for label in range(8):
        x = (rng.normal(size=(60 if label < 3 else each, 40)) + 3 * rng.normal(size=40)).astype(np.float32)
        keys = rng.integers(0, 2**64, len(x), dtype=np.uint64)
        part = Memory.of(Features(x, np.zeros(len(x), int), (f"c{label}",), keys), scatter=scatter)
        memory = part if memory is None else memory + part
        if label == 2 and recursive:
            memory = memory.with_inverses(5.0, 2.0)
    assert memory is not None
    return memory


@settings(max_examples=20)
@given(st.sampled_from(["class", "pooled"]), st.integers(0, 10**6), st.integers(1, 30))
def test_recursive_and_direct_give_the_same_head(scatter: str, seed: int, each: int) -> None:
    kept = stepwise(scatter, True, seed, each)
    direct = stepwise(scatter, False, seed, each)
    kept, direct = (replace(memory, shrinkage=5.0, ridge=2.0) for memory in (kept, direct))
    assert kept.inverse_at(5.0) is not None and direct.inverse_at(5.0) is None
    for method in (LDA(), Ridge()):
        one, two = (method.fit(memory).dense(40) for memory in (kept, direct))
        assert close(one[0], two[0], 1e-6) and close(one[1], two[1], 2e-6)


def test_an_update_is_taken_only_where_it_is_shorter() -> None:
    assert shorter(10, 500, 20) and not shorter(500, 500, 20)


def test_removal_and_more_samples_renew_the_inverse() -> None:
    kept = stepwise("class", True, 1, 12)
    smaller = kept.without("c5")
    expected = np.linalg.inv(smaller.statistics.within + 5.0 * np.eye(40))
    assert close(smaller.inverse_at(5.0).matrix, expected, 1e-7)
    doubled = kept + stepwise("class", False, 2, 12)
    expected = np.linalg.inv(doubled.statistics.within + 5.0 * np.eye(40))
    assert close(doubled.inverse_at(5.0).matrix, expected, 1e-7)
