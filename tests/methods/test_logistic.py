"""Logistic regression against scikit-learn's, and its limits: LDA at much strength, weights, old heads to begin at."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from extend.core.errors import ArgumentError
from extend.data import Features
from extend.memory import Memory
from extend.methods import LDA, Logistic, fit_logistic, named
from extend.methods.logistic import FEWEST_JUDGES, STRENGTHS, USUAL, judging_rows, spread
from tests.conftest import blobs

NOTHING = (np.zeros((6, 4)), np.zeros(4))


def memory_of(x: np.ndarray, y: np.ndarray, held: tuple[np.ndarray, np.ndarray] | None = None) -> Memory:
    keys = np.arange(len(y), dtype=np.uint64) + np.uint64(2**63)
    found = Memory.of(Features(x, y, tuple(f"c{i}" for i in range(y.max() + 1)), keys), max_held_out=0)
    return found if held is None else found.with_held_out(*held, np.arange(len(held[1]), dtype=np.uint64))


def drawn(each: int = 40, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    x, y = blobs(4, each, 6, spread=spread)
    return x.astype(np.float64), y


def centred(columns: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Kernel and bias as one array, without what all classes share."""
    both = np.concatenate([columns[0], columns[1][None]])
    return both - both.mean(axis=1, keepdims=True)


def test_toward_nothing_it_is_scikit_learns() -> None:
    x, y = drawn()
    weight = np.random.default_rng(0).uniform(0.5, 5, len(y))
    for strength in (0.1, 1.0, 30.0):
        for w in (np.ones(len(y)), weight):
            theirs = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=5000).fit(x, y, sample_weight=w)
            expected = centred((theirs.coef_.T, theirs.intercept_))
            exact = centred(fit_logistic(x, y, w, strength, prior=NOTHING, steps=5000, tolerance=0))
            assert np.abs(exact - expected).max() <= 1e-4 * np.abs(expected).max()
            single = fit_logistic(x.astype(np.float32), y, w, strength, prior=NOTHING, steps=5000, tolerance=1e-9)
            assert np.abs(centred(single) - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_pull_toward_a_kernel_moves_the_penalty_there() -> None:
    """With scores shifted by the prior's, the pull is toward 0: the minimum has no slope but the penalty's."""
    x, y = drawn()
    prior = np.random.default_rng(1).normal(size=(6, 4))
    kernel, bias = fit_logistic(x, y, np.ones(len(y)), 2.0, prior=(prior, np.zeros(4)), steps=5000, tolerance=0)
    scores = x @ kernel + bias
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    share = share / share.sum(axis=1, keepdims=True) - np.eye(4)[y]
    assert np.allclose(x.T @ share, -2.0 * (kernel - prior), atol=1e-3)
    assert np.allclose(share.sum(axis=0), 0, atol=1e-3)


def test_a_weight_is_that_many_rows() -> None:
    x, y = drawn(15)
    times = np.random.default_rng(2).integers(1, 4, len(y))
    once = fit_logistic(x, y, times.astype(float), 1.0, prior=NOTHING, steps=5000, tolerance=0)
    often = fit_logistic(np.repeat(x, times, axis=0), np.repeat(y, times), np.ones(times.sum()), 1.0, prior=NOTHING,
                         steps=5000, tolerance=0)  # fmt: skip
    assert np.allclose(centred(once), centred(often), atol=1e-5)


def test_the_method_without_a_pull_is_scikit_learns_on_standardised_features() -> None:
    x, y = drawn()
    memory = memory_of(x, y)
    head = Logistic(strength=2.0, temperature=1.0, prior=False, steps=5000, tolerance=1e-9).fit(memory)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(scaler.transform(x), y)
    assert np.allclose(spread(memory), scaler.scale_, rtol=1e-5)
    scores = head.scores(x)
    expected = theirs.decision_function(scaler.transform(x))
    assert np.allclose(scores - scores.mean(axis=1, keepdims=True), expected, atol=2e-3)


def test_with_much_strength_it_is_lda_at_its_temperature_but_for_the_bias() -> None:
    x, y = drawn()
    memory = memory_of(x, y)
    kernel = Logistic(strength=1e8, temperature=2.0).fit(memory).dense(6)[0]
    assert np.allclose(kernel, LDA().fit(memory).dense(6)[0] / 2, atol=1e-4)


def test_units_do_not_count() -> None:
    x, y = drawn()
    first = Logistic(strength=1.0).fit(memory_of(x, y)).scores(x)
    for scale in (1e-6, 1e6):
        other = Logistic(strength=1.0).fit(memory_of((x * scale).astype(np.float32), y)).scores(x * scale)
        assert np.allclose(other, first, atol=1e-2 * np.abs(first).max())


def test_a_start_at_the_old_head_ends_at_the_same_place() -> None:
    x, y = drawn()
    old = y < 3
    settled = Logistic(strength=1.0, temperature=1.5, steps=2000, tolerance=1e-10)
    before = settled.fit(memory_of(x[old], y[old]))
    memory = memory_of(x, y)
    warm, cold = (settled.fit(memory, start=start).scores(x) for start in (before, None))
    for scores in (warm, cold):
        scores -= scores.mean(axis=1, keepdims=True)
    assert np.allclose(warm, cold, atol=1e-2)


def test_what_it_chooses_is_frozen() -> None:
    x, y = drawn(60)
    held, truth = drawn(20)
    memory = memory_of(x, y, (held.astype(np.float32), truth))
    method = Logistic().frozen(memory)
    assert method.strength in STRENGTHS and method.temperature is not None
    assert method.frozen(memory) == method
    assert np.allclose(method.fit(memory).scores(x), Logistic(method.strength).fit(memory).scores(x), atol=0.5)


def test_without_held_out_rows_the_temperature_comes_from_leaving_out() -> None:
    x, y = drawn()
    method = Logistic().frozen(memory_of(x, y))
    assert method.strength == USUAL and method.temperature is not None and method.temperature != 1.0
    one = Logistic().frozen(memory_of(x[[0, 40, 80, 120]], np.arange(4)))
    assert one.temperature == 1.0


def test_judges_are_even_over_classes() -> None:
    x, y = blobs(3, 30, 4)
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [5000, 900, 100])
    memory = memory_of(x, y, (rng.normal(size=(6000, 4)).astype(np.float32), truth))
    _, labels = judging_rows(memory, np.ones(6000, bool))
    assert np.bincount(labels).tolist() == [1000, 900, 100]
    assert len(judging_rows(memory_of(x, y))[1]) < FEWEST_JUDGES


def test_a_memory_without_rows_says_what_to_do() -> None:
    x, y = blobs(3, 30, 4)
    keys = np.arange(len(y), dtype=np.uint64) + np.uint64(2**63)
    with pytest.raises(ArgumentError, match=r"keeps none of 'a': wrap with keep=extend.Keep\(rows=200\), or use"):
        Logistic().fit(Memory.of(Features(x, y, ("a", "b", "c"), keys), max_rows=0))


@pytest.mark.parametrize("bad", [{"strength": 0.0}, {"temperature": -1.0}, {"steps": 0}, {"tolerance": 2.0}])
def test_bad_settings(bad: dict) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        Logistic(**bad)


def test_extreme_features_give_finite_heads() -> None:
    """A constant column, two equal classes, and classes of one row each."""
    x, y = drawn(10)
    x[:, 0], x[y == 1] = 3.0, x[y == 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head = Logistic().fit(memory_of(x, y))
        single = Logistic().fit(memory_of(np.eye(4, 6), np.arange(4)))
    assert np.isfinite(head.scores(x)).all()
    assert single.scores(np.eye(4, 6)).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_its_name() -> None:
    assert named("logistic") == Logistic()
