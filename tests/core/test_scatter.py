"""A scatter by its factor does what the whole matrix does."""

import numpy as np
import pytest

from extend.core.scatter import Scatter, thinnest

RNG = np.random.default_rng(0)
FACTOR, RIGHT = RNG.normal(size=(7, 40)), RNG.normal(size=(40, 3))
WHOLE = FACTOR.T @ FACTOR


@pytest.mark.parametrize("scatter", [Scatter(None, FACTOR), Scatter(WHOLE, None)])
def test_it_is_the_matrix(scatter: Scatter) -> None:
    assert scatter.dim == 40
    assert scatter.trace() == pytest.approx(np.trace(WHOLE))
    assert np.allclose(scatter.diagonal(), np.diag(WHOLE))
    assert scatter.square() == pytest.approx((WHOLE**2).sum())
    regularised = WHOLE + 0.3 * np.eye(40)
    assert np.allclose(scatter.solve(0.3, RIGHT), np.linalg.solve(regularised, RIGHT))
    solution, trace = scatter.solve_and_trace(0.3, RIGHT)
    assert np.allclose(solution, np.linalg.solve(regularised, RIGHT))
    assert trace == pytest.approx(np.trace(np.linalg.inv(regularised)))
    values, vectors = scatter.eigen()
    assert np.allclose((vectors * values) @ vectors.T, WHOLE)


def test_more_rows_join_it() -> None:
    more = RNG.normal(size=(5, 40))
    both = Scatter(None, FACTOR).plus(more)
    assert both.whole is None and np.allclose(both.diagonal(), np.diag(WHOLE + more.T @ more))
    many = Scatter(None, FACTOR).plus(RNG.normal(size=(50, 40)))
    assert many.whole is not None and many.factor is None
    assert np.allclose(Scatter(WHOLE, None).plus(more).solve(1.0, RIGHT), both.solve(1.0, RIGHT))


def test_a_factor_is_kept_while_it_is_smaller() -> None:
    assert thinnest(FACTOR).whole is None and thinnest(RNG.normal(size=(40, 40))).whole is not None
    nothing = thinnest(np.zeros((0, 4)))
    assert nothing.trace() == 0 and not len(nothing.eigen()[0])
    assert np.allclose(nothing.solve(2.0, np.eye(4)), np.eye(4) / 2)
