"""Adopting a user's own model."""

import os
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from sklearn.covariance import OAS

import extend
from extend.core.errors import ArgumentError
from extend.memory import held_out_rows
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
    clf = extend.wrap(mlp(), names(3), (X, Y), held_out=(fresh + np.float32(0.01), labels))
    assert clf.memory is not None
    assert clf.memory.statistics.count.sum() == 300 and len(clf.memory.held_out[0]) == 60
    assert not clf.memory.trained_on.any()
    both = extend.wrap(mlp(), names(3), (X, Y), held_out=(X[:20], Y[:20]))  # Held out, and so fitted on no longer.
    assert both.memory is not None and both.memory.statistics.count[0] == 80
    assert both.memory.trained_on.tolist() == [False, True, True]
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
    with pytest.raises(ValueError, match=r"model is a int; expected an NNX module, a Linen module .*or a function"):
        extend.wrap(3, names(3), (X, Y))


def test_a_function_without_a_head_gives_every_input_one_class() -> None:
    with pytest.raises(ValueError, match="activation='sigmoid': this backbone has no head of its own"):
        extend.wrap(identity, names(3), (X, Y), activation="sigmoid")


def networks() -> dict[str, Any]:
    """The same network in three frameworks, with 8 penultimate features, and 3 outputs that sum to 1 where they can."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    import torch
    from sklearn.neural_network import MLPClassifier

    layers = [keras.Input((5,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    return {
        "keras": keras.Sequential(layers),
        "torch": torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)),
        "sklearn": MLPClassifier((8,), max_iter=5).fit(X, np.asarray(names(3))[Y]),
    }


@pytest.mark.needs("keras", "torch")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["keras", "torch", "sklearn"])
def test_models_of_other_frameworks_are_known_by_their_type(kind: str) -> None:
    clf = extend.wrap(networks()[kind], names(3), (X, Y))
    assert clf.backbone.feature_dim == 8 and clf.memory is not None and clf.memory.dim == 8
    assert clf.backbone.own_format == kind and clf.recipe.method == "own head"
    wider, report = extend.add_classes(clf, {"new": X[:30] + 9})
    assert wider.classes[-1] == "new" and report.method != "gaussian"


@pytest.mark.needs("keras", "torch")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_would_be_misread_is_refused() -> None:
    model = networks()["sklearn"]
    for given, message in (
        (None, "model is a NoneType; expected an NNX module"),
        (MLP, "model is the class MLP, and not one of its instances"),
        (type(model), "model is the class MLPClassifier, and not one of its instances"),
        ("model.onnx", "model is the path 'model.onnx', which extend.load reads"),
    ):
        with pytest.raises(ArgumentError, match=message):
            extend.wrap(given, names(3), (X, Y))
    for options, message in (
        ({"call": lambda m, x: m(x)}, "a scikit-learn model: call= does not apply to it"),
        ({"transform": "l2"}, "a file holds a head on its own features"),
        ({"taps": "auto"}, "'auto' chooses by the base data, for a model"),
        ({"activation": "sigmoid"}, "activation is 'sigmoid', but the model's own head has 'softmax'"),
        ({"inputs": spec(5), "pixels": "unit"}, "give one of them"),
        ({"size": 8}, "pass pixels= with it"),
    ):
        with pytest.raises(ArgumentError, match=message):
            extend.wrap(model, names(3), (X, Y), **options)
    with pytest.raises(ArgumentError, match="pixels= does not apply"):
        extend.wrap(mlp(), names(3), (X, Y), pixels="unit")
    with pytest.raises(ArgumentError, match="a function: head= does not apply"):
        extend.wrap(identity, names(3), (X, Y), head="out")
    with pytest.raises(ArgumentError, match="classes is None; expected names, such as"):
        extend.wrap(mlp(), data=(X, Y))
    backbone = extend.wrap(mlp(), names(3), (X, Y)).backbone
    with pytest.raises(ArgumentError, match="but the backbone takes arrays"):
        extend.wrap(backbone, names(3), (X, Y), inputs=spec(4))
    with pytest.raises(ArgumentError, match="this backbone has one"):
        extend.wrap(backbone, names(3), (X, Y), width=9)
