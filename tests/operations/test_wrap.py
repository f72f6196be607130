"""Adopting a user's own model."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from sklearn.covariance import OAS

import extend
from extend.memory.rows import held_out_rows
from extend.models import MLP
from tests.conftest import blobs, identity, names, spec

X, Y = blobs(3, 100, 5)


def mlp() -> MLP:
    return MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0))


def test_the_models_own_head_stays() -> None:
    model = mlp()
    clf = extend.wrap(model, names(3), (X, Y))
    assert np.allclose(clf.decision_function(X), model(X), atol=1e-5)
    assert clf.history[0].method == "own head" and clf.history[0].samples == 300


def test_the_memory_is_that_of_the_features() -> None:
    clf = extend.wrap(mlp(), names(3), (X, Y))
    assert clf.memory is not None
    features = clf.transform(X).astype(np.float64)
    kept = ~held_out_rows(keys_of(X), Y)
    for label in range(3):
        rows = features[kept & (Y == label)]
        assert clf.memory.statistics.count[label] == len(rows)
        assert np.allclose(clf.memory.statistics.mean[label], rows.mean(axis=0), atol=1e-6)
    assert len(clf.memory.held_out[0]) == (~kept).sum() > 0
    assert clf.memory.trained_on.all()


def keys_of(x: np.ndarray) -> np.ndarray:
    from extend import data

    return data.read({"a": x}, spec(5)).keys


def test_held_out_samples_of_the_users_own() -> None:
    fresh, labels = blobs(3, 20, 5, seed=0)
    clf = extend.wrap(mlp(), names(3), (X, Y), held_out=(fresh, labels))
    assert clf.memory is not None
    assert clf.memory.statistics.count.sum() == 300 and len(clf.memory.held_out[0]) == 60
    assert not clf.memory.trained_on.any()
    none = extend.wrap(mlp(), names(3), (X, Y), held_out=0)
    assert none.memory is not None and len(none.memory.held_out[0]) == 0


def test_a_linen_module_with_variables() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(3)(nn.relu(nn.Dense(6)(x)))

    variables = Net().init(jax.random.key(0), X)
    for clf in (
        extend.wrap(Net(), names(3), (X, Y), variables=variables),
        extend.wrap((Net(), variables), names(3), (X, Y)),
    ):
        assert np.allclose(clf.decision_function(X), Net().apply(variables, X), atol=1e-5)
    with pytest.raises(ValueError, match="a Linen module holds no parameters: pass variables="):
        extend.wrap(Net(), names(3), (X, Y))


def test_a_function_gets_a_head_from_the_data() -> None:
    clf = extend.wrap(identity, names(3), (X, Y))
    assert extend.evaluate(clf, (X, Y)).accuracy > 0.95
    with pytest.raises(ValueError, match="a function has no head: pass data="):
        extend.wrap(identity, names(3), inputs=spec(5))
    with pytest.raises(ValueError, match="a function has no layers to tap"):
        extend.wrap(identity, names(3), (X, Y), taps=["x"])


def test_without_data_it_says_what_it_cannot_do() -> None:
    clf = extend.wrap(mlp(), names(3), inputs=spec(5))
    assert clf.memory is None
    for method in ("lda", "ridge", "nearest_mean", "gaussian", "svm", "new_units"):
        with pytest.raises(ValueError, match=r"needs a memory of the old classes.*pass old=\(x, y\)"):
            extend.add_classes(clf, {"new": X[:5]}, method=method)


def test_strengths_are_frozen_when_wrapping() -> None:
    clf = extend.wrap(identity, names(3), (X, Y), held_out=0)
    assert clf.memory is not None and clf.memory.shrinkage is not None
    centred = X - np.stack([X[Y == c].mean(axis=0) for c in range(3)])[Y]
    reference = OAS(assume_centered=True).fit(centred.astype(np.float64)).shrinkage_
    average = np.trace(clf.memory.statistics.within) / 5
    share = clf.memory.shrinkage / (clf.memory.shrinkage + average)
    assert share == pytest.approx(reference, rel=0.05)  # n - k degrees of freedom here, n there
    wider, _ = extend.add_classes(clf, {"new": X[:30] + 9})
    assert wider.memory is not None
    assert (wider.memory.shrinkage, wider.memory.ridge) == (clf.memory.shrinkage, clf.memory.ridge)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": None}, "what one input is, is not known: pass inputs="),
        ({"data": (X, Y + 1)}, "labels run from 1 to 3, but there are 3 names"),
        ({"data": (X[Y < 2], Y[Y < 2])}, "data has no samples of class 'class 2'"),
        ({"data": {"cow": X}}, "data holds class 'cow', which is not one of class 0"),
        ({"data": "photos/"}, "pass inputs=extend.Image"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extend.wrap(mlp(), names(3), **arguments)


def test_a_thing_that_is_no_model() -> None:
    with pytest.raises(ValueError, match="model is a int; expected an NNX or Linen module, or a function"):
        extend.wrap(3, names(3), (X, Y))


def test_a_function_without_a_head_gives_every_input_one_class() -> None:
    with pytest.raises(ValueError, match="activation='sigmoid': this backbone has no head of its own"):
        extend.wrap(identity, names(3), (X, Y), activation="sigmoid")
