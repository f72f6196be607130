"""The classifier, its saving and its restoring."""

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import extend
from extend import data
from extend.classifier import Classifier
from extend.core import checkpoint
from extend.core.errors import CheckpointError
from extend.heads import LinearHead
from extend.models import MLP, ConvNet, ResNet
from tests.conftest import blobs, identity, names, spec

X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)


class Own(nnx.Module):
    """A network that does not ship with the package."""

    def __init__(self, rngs: nnx.Rngs, width: int = 6) -> None:
        self.body = nnx.Linear(5, width, rngs=rngs)
        self.out = nnx.Linear(width, 3, use_bias=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(nnx.relu(self.body(x)))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(nn.relu(nn.Dense(6)(x)))


def test_predictions_are_names_and_probabilities_sum_to_one(network: Classifier) -> None:
    probabilities = network.predict_proba(X)
    assert probabilities.shape == (300, 3) and np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert network.predict(X).tolist() == [network.classes[i] for i in probabilities.argmax(axis=1)]
    assert network.transform(X).shape == (300, 8)


def test_an_operation_changes_nothing_old(network: Classifier, fourth: np.ndarray) -> None:
    before = network.decision_function(X)
    extend.add_classes(network, {"new": fourth})
    assert network.classes == ("class 0", "class 1", "class 2")
    assert np.array_equal(network.decision_function(X), before)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: MLP(3, inputs=5, rngs=nnx.Rngs(1)), (5,)),
        (lambda: ConvNet(3, filters=(2, 3), hidden=4, rngs=nnx.Rngs(1)), (8, 8, 1)),
        (lambda: ResNet(3, depth=8, width=2, rngs=nnx.Rngs(1)), (8, 8, 3)),
    ],
)
def test_shipped_networks_are_rebuilt_from_the_file_alone(model, shape: tuple[int, ...], tmp_path: Path) -> None:
    clf = extend.wrap(model(), names(3), inputs=spec(*shape))
    clf.save(tmp_path / "c")
    x = np.random.default_rng(0).normal(size=(9, *shape)).astype(np.float32)
    restored = extend.load(tmp_path / "c")
    assert np.array_equal(restored.decision_function(x), clf.decision_function(x)) and restored.history == clf.history


def test_own_networks_are_passed_or_made_by_a_function(tmp_path: Path) -> None:
    clf = extend.wrap(Own(nnx.Rngs(1)), names(3), inputs=spec(5))
    extend.save(clf, tmp_path / "c")
    with pytest.raises(ValueError, match=r"'Own' is not one of extend.models .*pass it"):
        extend.load(tmp_path / "c")
    for model in (Own(nnx.Rngs(9)), lambda: Own(nnx.Rngs(9))):
        assert np.array_equal(extend.load(tmp_path / "c", model=model).decision_function(X), clf.decision_function(X))
    with pytest.raises(CheckpointError, match=r"'body.(bias|kernel)' has shape .*6\]; the model expects .*7\]"):
        extend.load(tmp_path / "c", model=Own(nnx.Rngs(9), width=7))


def test_linen_models_and_functions_come_back(tmp_path: Path) -> None:
    module = LinenNet()
    clf = extend.wrap((module, module.init(jax.random.key(0), X)), names(3), inputs=spec(5))
    clf.save(tmp_path / "linen")
    assert np.array_equal(extend.load(tmp_path / "linen", model=module).decision_function(X), clf.decision_function(X))
    x, y = blobs(3, 30, 5)
    plain = extend.wrap(identity, names(3), (x, y))
    plain.save(tmp_path / "function")
    assert np.array_equal(
        extend.load(tmp_path / "function", model=identity).decision_function(X), plain.decision_function(X)
    )
    with pytest.raises(ValueError, match="come from the function 'identity'; pass it as model="):
        extend.load(tmp_path / "function")


def test_a_functions_parameters_come_back_in_their_containers(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    layers = [{"kernel": rng.normal(size=(5, 5)).astype(np.float32)}, {"a.b": np.ones(5, np.float32)}]
    params = {"layers": layers, "shift": (np.ones(5, np.float32), np.zeros(5, np.float32))}

    def function(params: Any, x: jax.Array) -> jax.Array:
        one, two = params["shift"]
        return x @ params["layers"][0]["kernel"] * params["layers"][1]["a.b"] + one - two

    x, y = blobs(3, 30, 5)
    clf = extend.wrap(extend.FunctionBackbone.of(function, spec(5), params), names(3), (x, y))
    clf.save(tmp_path / "c")
    restored = extend.load(tmp_path / "c", model=function)
    assert np.array_equal(restored.decision_function(X), clf.decision_function(X))
    restored.save(tmp_path / "again")
    assert np.array_equal(
        extend.load(tmp_path / "again", model=function).decision_function(X), clf.decision_function(X)
    )

    graph, leaves = nnx.split(Own(nnx.Rngs(2)))  # An nnx.State is taken from its flat dictionary, too.

    def merged(state: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, state)(x)

    other = extend.wrap(extend.FunctionBackbone.of(merged, spec(5), leaves), names(3), (x, y))
    other.save(tmp_path / "state")
    assert np.array_equal(
        extend.load(tmp_path / "state", model=merged).decision_function(X), other.decision_function(X)
    )
    for params in ({"w": np.eye(5, dtype=np.float32), "none": None}, {}):
        plain = extend.wrap(extend.FunctionBackbone.of(lambda p, x: x, spec(5), params), names(3), (x, y))
        plain.save(tmp_path / "plain")
        assert np.array_equal(
            extend.load(tmp_path / "plain", model=lambda p, x: x).decision_function(X), plain.decision_function(X)
        )


def test_things_that_are_no_model(tmp_path: Path) -> None:
    x, y = blobs(3, 30, 5)
    extend.wrap(Own(nnx.Rngs(1)), names(3), inputs=spec(5)).save(tmp_path / "own")
    extend.wrap(identity, names(3), (x, y)).save(tmp_path / "function")
    with pytest.raises(ValueError, match="model is int; expected a Flax module"):
        extend.load(tmp_path / "own", model=3)
    for model in (3, Own(nnx.Rngs(1))):
        with pytest.raises(ValueError, match="expected the function 'identity' from a batch of inputs to features"):
            extend.load(tmp_path / "function", model=model)


def test_image_preprocessing_is_saved(tmp_path: Path) -> None:
    image = extend.Image(8, 8, 3, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize="box", values="normalised")
    clf = extend.wrap(ResNet(3, depth=8, width=2, rngs=nnx.Rngs(1)), names(3), inputs=image)
    clf.save(tmp_path / "c")
    restored = extend.load(tmp_path / "c")
    assert restored.backbone.inputs == image
    pictures = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(restored.decision_function(pictures), clf.decision_function(image.normalise(pictures)))


def test_trees_of_inputs_are_saved(tmp_path: Path) -> None:
    wanted = {"ids": jax.ShapeDtypeStruct((4,), np.dtype(np.int32)), "pair": (spec(2), spec(1))}

    def function(x: dict) -> jax.Array:
        return jax.numpy.concatenate([x["ids"] * 1.0, *x["pair"]], axis=1)

    rng = np.random.default_rng(0)
    x = {"ids": rng.integers(0, 9, (40, 4)), "pair": (rng.normal(size=(40, 2)), rng.normal(size=(40, 1)))}
    clf = extend.wrap(function, names(2), (x, np.repeat([0, 1], 20)), inputs=wanted)
    clf.save(tmp_path / "c")
    restored = extend.load(tmp_path / "c", model=function)
    assert restored.backbone.inputs == data.input_spec(wanted)
    assert np.array_equal(restored.decision_function(x), clf.decision_function(x))


def test_classes_that_do_not_match_the_head(tmp_path: Path, network: Classifier) -> None:
    network.save(tmp_path / "c")
    tree, description = checkpoint.load(tmp_path / "c")
    checkpoint.save(tmp_path / "c", tree, {**description, "classes": ["a", "b"]})
    with pytest.raises(CheckpointError, match="2 classes are named, but the head has 3 columns"):
        extend.load(tmp_path / "c")
    with pytest.raises(ValueError, match="the head has 2 columns, but 3 classes are named"):
        Classifier(network.backbone, LinearHead.of(np.zeros((8, 2)), np.zeros(2)), network.classes)
    with pytest.raises(ValueError, match="not unique"):
        Classifier(network.backbone, network.head, ("a", "a", "b"))


def test_a_file_cannot_name_code_to_import(tmp_path: Path, network: Classifier) -> None:
    network.save(tmp_path / "c")
    tree, description = checkpoint.load(tmp_path / "c")
    for name in ("os.system", "training", "__class__", "Phase"):
        forged = {**description, "network": {**description["network"], "class": name}}
        checkpoint.save(tmp_path / "c", tree, json.loads(json.dumps(forged)))
        with pytest.raises(ValueError, match=r"is not one of extend.models"):
            extend.load(tmp_path / "c")


@pytest.mark.parametrize("x", [np.zeros((2, 4)), np.zeros(4), np.full((1, 5), np.nan), np.zeros((0, 4))])
def test_bad_inputs_to_predict(network: Classifier, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the inputs"):
        network.predict(x)


def test_a_classifier_can_be_pickled() -> None:
    import pickle

    y = np.repeat([0, 1, 2], 100)
    for model in (MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0)), identity):
        clf, _ = extend.add_classes(extend.wrap(model, names(3), (X, y)), {"new": X[:30] + 5})
        again = pickle.loads(pickle.dumps(clf))  # noqa: S301
        assert np.array_equal(again.decision_function(X), clf.decision_function(X)) and again.classes == clf.classes
        wider = [extend.add_classes(one, {"next": X[:30] - 5})[0].decision_function(X) for one in (clf, again)]
        assert np.array_equal(*wider)
    with pytest.raises(TypeError, match=r"cannot be pickled: write it with extend.save"):
        pickle.dumps(extend.wrap(Own(nnx.Rngs(0)), names(3), (X, y)))
