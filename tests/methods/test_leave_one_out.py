"""Leaving one out by formula equals fitting without that sample."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.data import Features
from extend.memory import Memory
from extend.methods import LDA, ClosedForm, NearestMean, Ridge
from tests.conftest import blobs
from tests.laws.strategies import close

HIGH = np.uint64(2**63)
METHODS = [
    LDA(0.3, empirical_bayes=False),
    LDA(empirical_bayes=False),
    Ridge(3.0),
    Ridge(3.0, intercept=False),
    NearestMean(),
    NearestMean("cosine"),
]


def memory_of(x: np.ndarray, y: np.ndarray) -> Memory:
    return Memory.of(Features(x, y, tuple("abcd"), np.arange(len(y), dtype=np.uint64) + HIGH))


@pytest.mark.parametrize("method", METHODS, ids=str)
@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 15))
def test_the_formula_is_the_refit(method: ClosedForm, seed: int, few: int, dim: int) -> None:
    x, y = blobs(4, 30, dim, seed)
    rows = np.concatenate([np.flatnonzero(y < 3), np.flatnonzero(y == 3)[:few]])
    x, y = x[rows], y[rows]
    memory = replace(memory_of(x, y), shrinkage=4.0)
    points, labels, _ = memory.unheld(np.arange(3))
    assert len(points) == few and (labels == 3).all()
    scores = method.leave_one_out(memory, points, labels)
    for i, point in enumerate(points):
        gone = np.flatnonzero((x == point.astype(np.float32)).all(axis=1) & (y == 3))[0]
        rest = replace(memory_of(np.delete(x, gone, 0), np.delete(y, gone)), shrinkage=4.0)
        if isinstance(method, LDA) and method.shrinkage is not None:
            # Its strength is a share of the scatter, which the formula keeps as it was.
            average = np.trace(memory.statistics.within) / dim
            rest = replace(rest, shrinkage=0.3 / 0.7 * average)
        refit: ClosedForm = LDA(empirical_bayes=False) if isinstance(method, LDA) else method
        expected = refit.fit(rest).scores(point[None])[0]
        difference = scores[i] - scores[i].mean(), expected - expected.mean()
        if isinstance(method, LDA):  # Up to the common factor that one sample less gives all scores.
            difference = tuple(part / np.abs(part).max() for part in difference)
        assert close(*difference, 1e-4)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 15))
def test_lda_with_its_centre_held(seed: int, few: int, dim: int) -> None:
    """Against a refit in which the centre and the spread of the means move by one sample: nearly the same scores."""
    x, y = blobs(4, 30, dim, seed)
    rows = np.concatenate([np.flatnonzero(y < 3), np.flatnonzero(y == 3)[:few]])
    x, y = x[rows], y[rows]
    memory = replace(memory_of(x, y), shrinkage=4.0)
    points, labels, _ = memory.unheld(np.arange(3))
    scores = LDA().leave_one_out(memory, points, labels)
    for i, point in enumerate(points):
        gone = np.flatnonzero((x == point.astype(np.float32)).all(axis=1) & (y == 3))[0]
        rest = replace(memory_of(np.delete(x, gone, 0), np.delete(y, gone)), shrinkage=4.0)
        expected = LDA().fit(rest).scores(point[None])[0]
        assert close(scores[i] - scores[i].mean(), expected - expected.mean(), 0.12)
