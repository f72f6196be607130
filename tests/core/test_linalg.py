"""Dense float64 operations against NumPy."""

import numpy as np
import pytest

from extend.core.linalg import gram, pack, solve, solve_and_trace, unpack


@pytest.mark.parametrize(("n", "d"), [(0, 3), (1, 1), (7, 5), (40, 60)])
def test_gram(n: int, d: int) -> None:
    rows = np.random.default_rng(0).normal(size=(n, d))
    assert np.allclose(gram(rows), rows.T @ rows, rtol=1e-13, atol=1e-13)
    assert np.array_equal(gram(rows), gram(rows).T)


def test_pack_and_unpack_are_inverse() -> None:
    matrix = gram(np.random.default_rng(0).normal(size=(9, 6)))
    assert len(pack(matrix)) == 21
    assert np.array_equal(unpack(pack(matrix)), matrix)


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_solve_is_numpys(k: int) -> None:
    rng = np.random.default_rng(0)
    matrix, right = gram(rng.normal(size=(30, 8))), rng.normal(size=(8, k))
    assert np.allclose(solve(matrix, right), np.linalg.solve(matrix, right))


def test_a_singular_system_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="give a larger shrinkage"):
        solve(np.zeros((3, 3)), np.ones((3, 1)))


def test_the_trace_of_an_inverse() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 15))
    matrix = rows.T @ rows
    solution, trace = solve_and_trace(matrix, rows.T)
    assert np.isclose(trace, np.trace(np.linalg.inv(matrix))) and np.allclose(solution, solve(matrix, rows.T))
    with pytest.raises(ValueError, match="singular"):
        solve_and_trace(np.zeros((3, 3)), np.zeros((3, 1)))
