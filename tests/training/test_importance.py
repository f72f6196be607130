import numpy as np
import pytest

import extend
from extend import data
from extend.heads import link_named
from extend.heads.links import SOFTMAX
from extend.training import measure_fisher
from extend.training.importance import squared_gradients
from tests.conftest import blobs, spec


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_of_a_linear_model_it_is_the_formula(activation: str) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(4000, 3)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    counts = np.ones(500, bool)
    batches = [(x[start : start + 500], counts) for start in range(0, 4000, 500)]
    got = squared_gradients(lambda p, b: b @ p["kernel"], {"kernel": kernel}, batches, link_named(activation), 0)
    scores = x @ kernel
    p = 1 / (1 + np.exp(-scores))
    if activation == "softmax":
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = (x**2).T @ (p * (1 - p)) / len(x)  # The variance of (drawn - p) x, over draws.
    assert got.count == 4000
    assert np.allclose(got.mean()["kernel"], expected, rtol=0.15)


def test_padding_does_not_count() -> None:
    x = np.ones((4, 2), np.float32)
    params = {"kernel": np.eye(2, dtype=np.float32)}
    whole = squared_gradients(lambda p, b: b @ p["kernel"], params, [(x, np.array([1, 1, 0, 0], bool))], SOFTMAX, 0)
    none = squared_gradients(lambda p, b: b @ p["kernel"], params, [(x, np.zeros(4, bool))], SOFTMAX, 0)
    assert whole.count == 2 and none.count == 0 and not none.values["kernel"].any()


def test_fisher_takes_every_class_alike(network: extend.Classifier) -> None:
    x, y = blobs(4, 400, 5)
    rows = np.concatenate([np.flatnonzero(y == 0)[:400], np.flatnonzero(y == 1)[:30]])
    samples = data.read((x[rows], y[rows], ("a", "b")), spec(5))
    fisher = measure_fisher(network.backbone, network.head, samples)
    assert fisher.count == 430 and set(fisher.values) == set(network.backbone.trainable)
    assert all((value >= 0).all() for value in fisher.values.values())
    assert sum(float(value.sum()) for value in fisher.values.values()) > 0
