import numpy as np
import pytest
from scipy.special import log_softmax

from extend.heads import LinearHead, QuadraticHead, align_weights, bias_correction, class_weights, temperature


def noisy(seed: int = 0, n: int = 3000, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose softmax is the true probability, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, k)) * 2
    p = np.exp(log_softmax(scores, axis=1))
    return scores, (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


@pytest.mark.parametrize("factor", [1e-20, 0.2, 1.0, 5.0, 1e20])
def test_temperature_finds_the_factor_that_was_put_on(factor: float) -> None:
    scores, labels = noisy()
    found, loss = temperature(scores * factor, labels)
    assert found == pytest.approx(factor, rel=0.1)
    truth = -log_softmax(scores, axis=1)[np.arange(len(labels)), labels]
    assert loss == pytest.approx(class_weights(labels) @ truth, abs=0.02)


def test_bias_correction_undoes_alpha_and_beta() -> None:
    scores, labels = noisy()
    new = np.array([False, False, False, True])
    moved = np.where(new, (scores - 1.5) / 2.0, scores)
    alpha, beta = bias_correction(moved, labels, new)
    assert alpha == pytest.approx(2.0, rel=0.15) and beta == pytest.approx(1.5, abs=0.3)


def test_weights_are_aligned_to_the_old_norms() -> None:
    rng = np.random.default_rng(0)
    head = LinearHead.of(rng.normal(size=(6, 3)), rng.normal(size=3)).append(5 * rng.normal(size=(6, 2)), np.ones(2))
    new = np.array([False] * 3 + [True] * 2)
    aligned = align_weights(head, new)
    norms = np.linalg.norm(aligned.dense(6)[0], axis=0)
    assert norms[new].mean() == pytest.approx(norms[~new].mean(), rel=1e-5)
    assert np.array_equal(aligned.dense(6)[0][:, ~new], head.dense(6)[0][:, ~new])
    with pytest.raises(ValueError, match="both old and new"):
        align_weights(head, np.ones(5, bool))
    gaussians = QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]])
    with pytest.raises(ValueError, match="no"):
        align_weights(gaussians, np.array([True, False]))


def test_bias_correction_of_scores_of_any_size() -> None:
    """Ridge's scores lie between 0 and 1: at that size alone, the best alpha would be a temperature in disguise."""
    scores, labels = noisy()
    new = np.array([False, False, False, True])
    alpha, beta = bias_correction(scores / 50, labels, new)
    assert alpha == pytest.approx(1.0, rel=0.15) and beta == pytest.approx(0.0, abs=0.005)


def test_weights_of_tiny_columns_are_aligned_too() -> None:
    head = LinearHead.of(1e-20 * np.eye(3), np.zeros(3)).append(4e-20 * np.ones((3, 1)) / np.sqrt(3), np.zeros(1))
    aligned = align_weights(head, np.array([False, False, False, True]))
    assert np.asarray(aligned.scale) == pytest.approx([1, 1, 1, 0.25])
