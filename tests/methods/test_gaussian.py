import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from extend.data import Features
from extend.memory import Memory
from extend.methods import LDA, Gaussian
from tests.conftest import blobs
from tests.laws.strategies import Labelled, labelled

HIGH = np.uint64(2**63)


def memory_of(x: np.ndarray, y: np.ndarray, **options: object) -> Memory:
    names = tuple(f"c{i}" for i in range(y.max() + 1))
    return Memory.of(
        Features(x, y, names, np.arange(len(y), dtype=np.uint64) + HIGH), max_held_out=0, **options
    )  # any options


def fitted(memory: Memory, method: Gaussian) -> object:
    return method.fit(memory)


def reference(x: np.ndarray, y: np.ndarray, memory: Memory, weight: float) -> np.ndarray:
    """The posterior form, from the samples and SciPy's density."""
    x = x.astype(np.float64)
    strength, share = memory.shared_strength()
    (n, d), k, count = x.shape, y.max() + 1, np.bincount(y)
    means = np.stack([x[y == c].mean(axis=0) for c in range(k)])
    scatters = [np.cov(x[y == c].T, bias=True).reshape(d, d) * (y == c).sum() for c in range(k)]
    shared = (1 - share) * (sum(scatters) + strength * np.eye(d)) / n
    features = np.trace(np.linalg.solve(shared, sum(scatters) / (n - k)))
    trust = count / (count + 1) / (count / (count + 1)).sum()
    centre = trust @ means
    length = np.einsum("ki,ik->k", means - centre, np.linalg.solve(shared, (means - centre).T))
    between = trust @ (length / features - 1 / count) * k / (k - 1)
    scores = []
    for c in range(k):
        own = (scatters[c] / count[c] + weight / count.min() * shared) / (1 + weight / count.min())
        keep, wider = between / (between + 1 / count[c]), between / (1 + between * count[c])
        density = multivariate_normal(centre + keep * (means[c] - centre), own * (1 + wider), allow_singular=True)
        scores.append(density.logpdf(x) + 0.5 * (d - features) * np.log1p(wider))
    return np.stack(scores, axis=1)


@pytest.mark.parametrize("each", [3, 20, 200])
@pytest.mark.parametrize("fewer", [0, 2])
def test_the_posterior_form_is_scipys_density(each: int, fewer: int) -> None:
    x, y = blobs(4, each, 12)
    x, y = x[fewer:], y[fewer:]
    memory = memory_of(x, y)
    head = fitted(memory, Gaussian(weight=7.0))
    expected = reference(x, y, memory, 7.0)
    for scores in (head.scores(x), np.asarray(head.logits(x))):
        assert np.allclose(scores - scores[:, :1], expected - expected[:, :1], rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize("each", [5, 200])
def test_fecam_is_the_papers_formula(each: int) -> None:
    x, y = blobs(3, each, 10)
    x = np.sqrt(np.abs(x))
    head = fitted(memory_of(x, y), Gaussian("fecam"))
    expected = []
    for c in range(3):
        rows = x[y == c].astype(np.float64)
        covariance = np.cov(rows.T)
        variance = np.diag(covariance).mean()
        mixed = max((covariance.sum() - np.trace(covariance)) / (10 * 9), 0)
        covariance = covariance + variance * np.eye(10) + mixed * (1 - np.eye(10))
        deviation = np.sqrt(np.diag(covariance))
        inverse = np.linalg.inv(covariance / np.outer(deviation, deviation))
        away = x - rows.mean(axis=0)
        expected.append(-0.5 * ((away @ inverse) * away).sum(axis=1))
    unit = np.mean([x[y == c].var(axis=0, dtype=np.float64) for c in range(3)])  # Scores do not follow the scale.
    assert np.allclose(head.scores(x) * unit, np.stack(expected, axis=1), rtol=2e-3, atol=1e-2)


def test_a_class_of_one_sample_has_the_shared_covariance() -> None:
    x, y = blobs(3, 40, 5)
    rows = np.concatenate([np.flatnonzero(y < 2), [80]])
    head = fitted(memory_of(x[rows], y[rows]), Gaussian())
    assert np.isfinite(head.scores(x)).all()
    assert (head.scores(x[y == 2]).argmax(axis=1) == 2).mean() > 0.8


def test_columns_can_be_dropped() -> None:
    x, y = blobs(4, 30, 40)
    head = fitted(memory_of(x, y), Gaussian())
    assert np.allclose(head.drop([1]).scores(x), head.scores(x)[:, [0, 2, 3]], rtol=1e-6)


@settings(max_examples=30)
@given(labelled(), st.sampled_from(["posterior", "fecam"]), st.booleans())
def test_no_nan_ever_leaves_the_head(data: Labelled, form: str, constant: bool) -> None:
    x = np.zeros_like(data.x) if constant else data.x
    head = fitted(memory_of(x, data.y), Gaussian(form))  # one of its words
    assert np.isfinite(head.scores(x)).all()


def test_bad_settings_and_a_pooled_memory() -> None:
    for wrong in ({"form": "full"}, {"weight": 0.0}, {"gamma": (0.0, 1.0)}):
        with pytest.raises(ValueError, match="expected"):
            Gaussian(**wrong)  # wrong on purpose
    x, y = blobs(2, 20, 3)
    with pytest.raises(ValueError, match='scatter="class"'):
        fitted(memory_of(x, y, scatter="pooled"), Gaussian())


def test_a_small_class_is_not_outweighed_by_better_known_ones() -> None:
    """Classes of 2,000 samples in 100 dimensions, each of its own covariance, and one of 30: like LDA."""
    rng = np.random.default_rng(0)
    roots = [np.eye(100) + 0.5 * rng.normal(size=(100, 100)) / 10 for _ in range(5)]
    centres = rng.normal(size=(5, 100)) / 2
    y = np.concatenate([np.repeat(np.arange(4), 2000), np.full(30, 4)])
    x = np.stack([centres[c] + roots[c] @ rng.normal(size=100) for c in y]).astype(np.float32)
    fresh = np.stack([centres[4] + roots[4] @ rng.normal(size=100) for _ in range(400)]).astype(np.float32)
    memory = memory_of(x, y)
    own, shared = ((m.fit(memory).scores(fresh).argmax(axis=1) == 4).mean() for m in (Gaussian(), LDA()))
    assert own > shared - 0.03
