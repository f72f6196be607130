"""LDA, ridge and nearest mean beyond the joint law: strengths and extremes."""

import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import RidgeCV

import extend
from extend.data import Features
from extend.memory import Memory, gcv
from extend.memory.strengths import oas
from extend.methods import LDA, Gaussian, NearestMean, Ridge
from extend.methods.lda import mean_noise
from extend.models import MLP
from tests.conftest import blobs, spec


def memory_of(x: np.ndarray, y: np.ndarray) -> Memory:
    k = int(y.max()) + 1
    keys = np.arange(len(y), dtype=np.uint64) + np.uint64(2**63)
    return Memory.of(Features(x, y, tuple(f"c{i}" for i in range(k)), keys))


def test_full_shrinkage_is_nearest_mean() -> None:
    x, y = blobs(4, 30, 6)
    memory = memory_of(x, y)
    lda = LDA(shrinkage=1.0).fit(memory).dense(6)
    near = NearestMean().fit(memory).dense(6)
    scale = lda[0][0, 0] / near[0][0, 0]
    assert np.allclose(lda[0], scale * near[0], rtol=1e-4) and np.allclose(lda[1], scale * near[1], rtol=1e-4)


def test_lda_survives_fewer_samples_than_features() -> None:
    x, y = blobs(3, 4, 40)
    memory = memory_of(x, y)
    head = LDA().fit(memory)
    assert (np.asarray(head.logits(x)).argmax(axis=1) == y).all()


def test_one_sample_a_class() -> None:
    x = np.eye(3, 5, dtype=np.float32)
    memory = memory_of(x, np.arange(3))
    for method in (LDA(), Ridge(), NearestMean()):
        assert np.asarray(method.fit(memory).logits(x)).argmax(axis=1).tolist() == [0, 1, 2]


def test_gcv_is_leave_one_outs_choice_roughly() -> None:
    """Against scikit-learn's efficient leave-one-out: the strength found is as good, by that measure."""
    x, y = blobs(4, 50, 20, spread=2.0)
    memory = memory_of(x, y)
    target = np.eye(4)[y]
    found = gcv(memory.statistics)
    grid = np.logspace(-4, 6, 60)
    best = RidgeCV(alphas=grid, alpha_per_target=False, store_cv_results=True).fit(x, target)
    errors = best.cv_results_.mean(axis=(0, 1))
    ours = RidgeCV(alphas=[found], store_cv_results=True).fit(x, target).cv_results_.mean()
    assert ours <= errors.min() * 1.005


def test_oas_grows_when_samples_are_few() -> None:
    stretch = np.arange(1, 11, dtype=np.float32)
    few, many = (memory_of(x * stretch, y).statistics for x, y in (blobs(3, each, 10) for each in (5, 500)))
    share = [oas(s) / (oas(s) + np.trace(s.within) / 10) for s in (few, many)]
    assert share[0] > 5 * share[1]


@pytest.mark.parametrize("method", [LDA, Ridge])
def test_bad_strengths(method: type) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        method(-1.0)


@pytest.mark.parametrize("method", ["lda", "ridge", "nearest_mean", "gaussian", "svm", "new_units", "fine_tune"])
def test_a_missing_memory_says_how_to_give_one(method: str) -> None:
    clf = extend.wrap(MLP(2, inputs=5, rngs=nnx.Rngs(0)), ["a", "b"], inputs=spec(5))
    with pytest.raises(ValueError, match=r"pass old=\(x, y\) with real samples of every old class, or wrap"):
        extend.add_classes(clf, {"c": np.ones((3, 5), np.float32)}, method=method)


@pytest.mark.parametrize("method", [LDA(), Gaussian()])
def test_small_classes_are_not_held_back_by_the_noise_in_their_means(method: LDA | Gaussian) -> None:
    """300 features, five old classes of 200, one new of 2: as often right as the old ones are wrong, roughly."""
    rng = np.random.default_rng(0)
    centres = 0.4 * rng.normal(size=(6, 300))
    y = np.concatenate([np.repeat(np.arange(5), 200), [5, 5]])
    x = (centres[y] + rng.normal(size=(len(y), 300))).astype(np.float32)
    memory = memory_of(x, y)
    fresh = (centres[5] + rng.normal(size=(500, 300))).astype(np.float32)
    found = (method.fit(memory).scores(fresh).argmax(axis=1) == 5).mean()
    plain = (LDA(empirical_bayes=False).fit(memory).scores(fresh).argmax(axis=1) == 5).mean()
    assert plain < 0.5 < found


def test_the_noise_in_a_mean_is_what_sampling_gives() -> None:
    """The average of n m' P m over draws, beside the true mean's, is the trace that LDA takes."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(20, 20)) / 4
    rows = rng.normal(size=(4000, 20)) @ root
    memory = memory_of(rows.astype(np.float32), np.arange(4000) % 2)
    noise = mean_noise(memory, 0.3)
    average = np.trace(memory.statistics.within) / 4000 / 20
    p = np.linalg.inv(0.7 * memory.statistics.within / 4000 + 0.3 * average * np.eye(20))
    means = (rng.normal(size=(20000, 5, 20)) @ root).mean(axis=1)
    assert noise == pytest.approx(5 * ((means @ p) * means).sum(axis=1).mean(), rel=0.05)
