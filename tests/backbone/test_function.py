"""Backbones that are functions."""

from pathlib import Path

import numpy as np
import pytest

import extend
from extend.backbone import FunctionBackbone
from extend.core.errors import ArgumentError
from extend.heads import LinearHead
from tests.conftest import spec

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def test_any_function_is_a_backbone() -> None:
    traced = FunctionBackbone.of(lambda x: x[:, :2], spec(4))
    assert traced.can_trace and traced.feature_dim == 2
    host = FunctionBackbone.of(lambda x: np.asarray(x).tolist() and np.asarray(x)[:, :3], spec(4))
    assert not host.can_trace and host.feature_dim == 3
    with_params = FunctionBackbone.of(lambda p, x: x @ p["w"], spec(4), params={"w": np.eye(4, 3, dtype=np.float32)})
    assert np.allclose(with_params.apply(with_params.params, X), X[:, :3])
    with pytest.raises(ValueError, match=r"returned shape \[2, 2, 2\] for 2 inputs"):
        FunctionBackbone.of(lambda x: x.reshape(2, 2, 2), spec(4))


def one_at_a_time(x: np.ndarray) -> np.ndarray:
    """A model that was exported for batches of one."""
    if len(x) != 1:
        raise TypeError(f"too many: {len(x)}")
    return np.asarray(x) * 2


def test_a_model_of_batches_of_one(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"takes a batch of 1 input, but fails on one of 2 \(too many: 2\): .*batch_size=1"
    ):
        extend.wrap(one_at_a_time, ["a", "b"], (X, [0, 1, 0, 1, 0]))
    backbone = FunctionBackbone.of(one_at_a_time, spec(4), batch_size=1)
    clf = extend.wrap(backbone, ["a", "b"], (X, [0, 1, 0, 1, 0]))
    assert np.array_equal(clf.transform(X), 2 * X)
    clf, _ = extend.add_classes(clf, {"c": X + 9})
    back = extend.load(extend.save(clf, tmp_path / "clf"), one_at_a_time)
    assert back.backbone.batch_size == 1 and np.array_equal(back.decision_function(X), clf.decision_function(X))
    with pytest.raises(ValueError, match="broken"):
        FunctionBackbone.of(broken, spec(4))


def broken(x: np.ndarray) -> np.ndarray:
    raise ValueError("broken")


def test_what_a_function_can_do_is_asked_of_it(tmp_path: Path) -> None:
    params = {"w": np.eye(4, 3, dtype=np.float32), "n": np.int32(3)}
    traced = FunctionBackbone.of(lambda p, x: x @ p["w"], spec(4), params)
    assert traced.can_train and traced.trainable == ("w",) and traced.learn is None and traced.own_format is None
    host = FunctionBackbone.of(lambda p, x: np.asarray(x) @ p["w"], spec(4), params, traceable=False)
    assert not host.can_train and not host.can_trace and host.layers == ()
    head = LinearHead.of(np.eye(3), np.zeros(3))
    assert host.holds(head)
    with pytest.raises(ArgumentError, match="cannot trace"):
        host.write(head, ("a", "b", "c"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_other_parameters_and_another_space_are_not_compiled_again() -> None:
    traces = []

    def function(params: dict, x: np.ndarray) -> np.ndarray:
        traces.append(1)
        return x @ params["w"]

    one = FunctionBackbone.of(function, spec(4), {"w": np.eye(4, 3, dtype=np.float32)})
    two = one.with_network({"w": np.ones((4, 3), np.float32)})
    assert two.description["moved"] and two.fingerprint != one.fingerprint and one.with_network({}) is one
    one.compiled[0](one.params, X)
    traces.clear()
    moved = one.with_network({"w": np.ones((4, 3), np.float32)}).with_space(one.params["space"])
    assert np.allclose(moved.compiled[0](moved.params, X), X.sum(axis=1, keepdims=True), atol=1e-5) and not traces
