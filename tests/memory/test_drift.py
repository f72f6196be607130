import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from extend.data import Features
from extend.memory import Memory, fit_drift
from extend.memory.drift import carry
from extend.memory.statistics import measure

RNG = np.random.default_rng(0)


def moved(n: int, d: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(n, d))
    through = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / np.sqrt(d)
    return before, before @ through + 0.5 + noise * rng.normal(size=(n, d))


def test_a_linear_drift_is_found() -> None:
    before, after = moved(400, 6)
    fresh, expected = moved(400, 6)
    assert np.allclose(fit_drift(before, after).rows(fresh), expected, atol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(400, 8), (40, 60)])
def test_noisy_drift_is_fitted_as_well_as_scikit_learns_ridge_does(n: int, d: int) -> None:
    before, after = moved(n, d, noise=0.5)
    clean = moved(n, d, noise=0.0)[1]
    ours = fit_drift(before, after).rows(before)
    theirs = before + RidgeCV(np.logspace(-3, 4, 30)).fit(before, after - before).predict(before)
    error, reference = ((ours - clean) ** 2).mean(), ((theirs - clean) ** 2).mean()
    assert error < 1.2 * reference


def test_weights_are_like_repeated_samples() -> None:
    before, after = moved(60, 4, noise=0.1)
    weights = np.where(np.arange(60) < 10, 3.0, 1.0)
    repeated = np.repeat(np.arange(60), weights.astype(int))
    one = fit_drift(before, after, weights=weights)
    centre = before[repeated].mean(axis=0)
    assert np.allclose(one.rows(centre[None]) - centre, (after - before)[repeated].mean(axis=0))


def test_the_linear_moments_are_those_of_the_moved_samples() -> None:
    before, after = moved(500, 5)
    drift = fit_drift(before, after)
    mean, covariance = drift.moments(before.mean(axis=0), np.cov(before.T, bias=True))
    assert np.allclose(mean, after.mean(axis=0), atol=1e-6)
    assert np.allclose(covariance, np.cov(after.T, bias=True), atol=1e-5)


def test_what_the_map_leaves_unexplained_widens_the_covariance() -> None:
    before, after = moved(2000, 5, noise=0.4)
    _, covariance = fit_drift(before, after).moments(before.mean(axis=0), np.cov(before.T, bias=True))
    assert np.allclose(np.trace(covariance), np.trace(np.cov(after.T)), rtol=0.02)


def test_the_weak_map_follows_a_bend_that_the_linear_one_misses() -> None:
    before = RNG.normal(size=(1500, 4))
    bend = np.maximum(before[:, :1], 0) * np.array([[1.0, -1.0, 0.5, 0.0]])
    after, half = before + bend, 750
    errors = {
        kind: ((fit_drift(before[:half], after[:half], kind).rows(before[half:]) - after[half:]) ** 2).mean()
        for kind in ("linear", "weak")
    }
    assert errors["weak"] < 0.3 * errors["linear"]
    drift = fit_drift(before, after, "weak")
    mean, covariance = drift.moments(np.zeros(4), np.eye(4))
    assert np.allclose(mean, after.mean(axis=0), atol=0.1) and np.allclose(covariance, np.cov(after.T), atol=0.2)


def test_the_translation_is_a_kernel_mean_of_neighbours() -> None:
    before, after = moved(30, 3)
    drift = fit_drift(before, after, "translation")
    x = RNG.normal(size=(4, 3))
    sigma = 0.5 * np.sqrt(before.var(axis=0).sum())
    for row, got in zip(x, drift.rows(x), strict=True):
        weight = np.exp(-((before - row) ** 2).sum(axis=1) / (2 * sigma**2))
        assert np.allclose(got, row + weight @ (after - before) / weight.sum())
    assert np.array_equal(drift.moments(x[0], np.eye(3))[1], np.eye(3))


@given(seed=st.integers(0, 1000), mode=st.sampled_from(["class", "pooled"]))
def test_carried_statistics_are_those_of_the_carried_samples(seed: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, 4)), np.repeat([0, 1, 2], 20)
    through = np.eye(4) + 0.2 * rng.normal(size=(4, 4))
    drift = fit_drift(x, x @ through + 1)
    got, expected = carry(measure(x, y, 3, mode), drift), measure(x @ through + 1, y, 3, mode)
    assert np.allclose(got.mean, expected.mean, atol=1e-5)
    assert np.allclose(got.within, expected.within, rtol=1e-4, atol=1e-3)
    if mode == "class":
        assert all(np.allclose(got.scatter(c), expected.scatter(c), atol=1e-3) for c in range(3))


def test_a_memory_is_transported_whole() -> None:
    x, y = RNG.normal(size=(300, 5)).astype(np.float32), np.repeat([0, 1, 2], 100)
    keys = RNG.integers(0, 2**63, 300).astype(np.uint64) * np.uint64(2)
    memory = Memory.of(Features(x, y, ("a", "b", "c"), keys), offset=2)
    after = x * 2 + 1
    own, part = fit_drift(x[:, :2], after[:, :2]), fit_drift(x[:, 2:], after[:, 2:])
    there = memory.transport(part, own)
    assert np.allclose(there.held_out[0], memory.held_out[0] * 2 + 1, atol=1e-3)
    assert np.allclose(there.statistics.mean, memory.statistics.mean * 2 + 1, atol=1e-4)
    assert there.transported == ("a", "b", "c") and np.array_equal(there.total, memory.total)
    assert memory.transported == ()


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"before \[3, 2\] and after \[3, 3\]"):
        fit_drift(np.zeros((3, 2)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="expected 'linear', 'weak' or 'translation'"):
        fit_drift(np.zeros((3, 2)), np.zeros((3, 2)), "cubic")
    still = fit_drift(np.ones((5, 3)), np.ones((5, 3)))
    assert np.array_equal(still.rows(np.ones((2, 3))), np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["linear", "weak", "translation"])
@pytest.mark.parametrize(("scale", "offset"), [(2.0**-60, 0.0), (2.0**40, 0.0), (1.0, 1e6)])
def test_a_drift_follows_scale_and_offset(kind: str, scale: float, offset: float) -> None:
    before, after = moved(60, 4, noise=0.1)
    one = fit_drift(before, after, kind).rows(before[:9])
    two = fit_drift(before * scale + offset, after * scale + offset, kind).rows(before[:9] * scale + offset)
    np.testing.assert_allclose((two - offset) / scale, one, atol=1e-6)
