"""The closed-form heads equal the same head fitted from scratch on all data ever seen, less the held-out."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.neighbors import NearestCentroid

from extend.data import Features
from extend.heads import LinearHead
from extend.memory import Memory, held_out_rows
from extend.methods import LDA, ClosedForm, NearestMean, Ridge
from tests.laws.strategies import Labelled, close, labelled


def incremental(data: Labelled, method: ClosedForm) -> tuple[LinearHead, np.ndarray, np.ndarray]:
    """A head after adding the classes one at a time, and the rows that it may use."""
    memory = None
    for label, name in enumerate(data.names):
        rows = data.y == label
        part = Memory.of(Features(data.x[rows], np.zeros(rows.sum(), int), (name,), data.keys[rows]))
        memory = part if memory is None else memory + part
    kept = ~held_out_rows(data.keys, data.y)
    assume(len(np.unique(data.y[kept])) == len(data.names))
    return method.fit(memory), data.x[kept].astype(np.float64), data.y[kept]


def level(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """What was found for each class, plus what is the same for all: no prediction depends on that."""
    return found + (expected - found).mean(axis=0)


@settings(max_examples=40)
@given(labelled(fewest=4), st.floats(0.01, 0.99), st.sampled_from(["uniform", "empirical"]))
def test_lda_is_scikit_learns(data: Labelled, shrinkage: float, priors: str) -> None:
    head, x, y = incremental(data, LDA(shrinkage, priors, empirical_bayes=False))
    k = len(data.names)
    given_priors = np.full(k, 1 / k) if priors == "uniform" else np.bincount(y) / len(y)
    # scikit-learn weighs class covariances by the priors it is given; the data's own shares weigh samples equally.
    joint = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
    directions = joint.coef_ if k > 2 else None
    kernel, bias = head.dense(x.shape[1])
    if directions is None:
        difference = kernel[:, 1] - kernel[:, 0]
        assert close(difference, joint.coef_[0], 1e-5)
        return
    assert close(level(kernel.T, directions), directions, 1e-5)
    expected = joint.intercept_ - np.log(np.bincount(y) / len(y)) + (0 if priors == "uniform" else np.log(given_priors))
    assert close(level(bias, expected), expected, 1e-5)


@settings(max_examples=40)
@given(labelled(), st.floats(0.1, 1000))
def test_ridge_is_scikit_learns(data: Labelled, strength: float) -> None:
    head, x, y = incremental(data, Ridge(strength))
    joint = SklearnRidge(alpha=strength, solver="cholesky").fit(x, np.eye(len(data.names))[y])
    kernel, bias = head.dense(x.shape[1])
    scores = x @ kernel + bias
    assert np.abs(scores - joint.predict(x)).max() < 2e-5


@settings(max_examples=40)
@given(labelled())
def test_nearest_mean_is_scikit_learns(data: Labelled) -> None:
    head, x, y = incremental(data, NearestMean())
    joint = NearestCentroid().fit(x, y)
    kernel, bias = head.dense(x.shape[1])
    away = x - joint.centroids_[y]
    variance = (away**2).mean()
    assume(variance > 1e-6)  # Where all samples of a class are equal, the unit is another one.
    found = kernel.T * variance
    assert close(level(found, joint.centroids_), joint.centroids_, 2e-6)
    scores = x @ kernel + bias
    top = np.sort(scores, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-5 * np.abs(scores).max()
    assert np.array_equal(scores.argmax(axis=1)[clear], joint.predict(x)[clear])


@settings(max_examples=20)
@given(labelled(fewest=3), st.floats(0.5, 100))
def test_balanced_ridge_is_scikit_learns_with_class_weights(data: Labelled, strength: float) -> None:
    head, x, y = incremental(data, Ridge(strength, balanced=True))
    k = len(data.names)
    weights = len(y) / (k * np.bincount(y))[y]
    joint = SklearnRidge(alpha=strength, solver="cholesky").fit(x, np.eye(k)[y], sample_weight=weights)
    assert np.abs(head.scores(x) - joint.predict(x)).max() < 2e-5


@settings(max_examples=20)
@given(labelled(), st.floats(0.5, 100))
def test_ridge_without_intercept_is_ranpacs(data: Labelled, strength: float) -> None:
    head, x, y = incremental(data, Ridge(strength, intercept=False))
    target = np.eye(len(data.names))[y]
    kernel = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ target)
    assert np.abs(head.scores(x) - x @ kernel).max() < 2e-5


@settings(max_examples=20)
@given(labelled(fewest=2), st.integers(0, 10**6))
def test_lda_by_blocks_is_streaming_lda_sample_by_sample(data: Labelled, seed: int) -> None:
    """Welford's update of the class mean and the shared scatter, one sample at a time, in a random order."""
    head, x, y = incremental(data, LDA(0.2, empirical_bayes=False))
    k, d = len(data.names), x.shape[1]
    mean, count, scatter = np.zeros((k, d)), np.zeros(k), np.zeros((d, d))
    for i in np.random.default_rng(seed).permutation(len(y)):
        away = x[i] - mean[y[i]]
        count[y[i]] += 1
        mean[y[i]] += away / count[y[i]]
        scatter += np.outer(away, x[i] - mean[y[i]])
    covariance = 0.8 * scatter / len(y) + 0.2 * np.trace(scatter) / len(y) / d * np.eye(d)
    if np.trace(scatter) < 1e-9:
        return
    kernel = np.linalg.solve(covariance, mean.T)
    found, bias = head.dense(d)
    assert close(level(found.T, kernel.T), kernel.T, 1e-5)
    expected = -0.5 * (mean.T * kernel).sum(axis=0)
    assert close(level(bias, expected), expected, 1e-5)


@settings(max_examples=20)
@given(labelled(fewest=3), st.floats(0.05, 0.95))
def test_the_path_from_nearest_mean_to_lda(data: Labelled, shrinkage: float) -> None:
    on_the_path, x, _ = incremental(data, NearestMean(shrinkage=shrinkage))
    lda, _, _ = incremental(data, LDA(shrinkage, empirical_bayes=False))
    assert np.array_equal(on_the_path.dense(x.shape[1])[0], lda.dense(x.shape[1])[0])


def test_cosine_is_the_angle() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32) + 1
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y, keys = np.repeat([0, 1, 2], 20), np.arange(60, dtype=np.uint64) + np.uint64(2**63)
    memory = Memory.of(Features(x, y, ("a", "b", "c"), keys), max_held_out=0)
    head = NearestMean("cosine").fit(memory)
    means = np.stack([x[y == c].mean(axis=0) for c in range(3)])
    cosine, scores = x @ means.T / np.linalg.norm(means, axis=1), head.scores(x)
    assert np.allclose(scores * (cosine[0, 0] / scores[0, 0]), cosine, atol=1e-6)  # Up to one factor: the unit.
