"""Checkpoints written by plain Flax and Orbax code open, whatever their layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import orbax.checkpoint.experimental.v1 as ocp1
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import extend
from extend.core.errors import CheckpointError
from tests.conftest import spec

CLASSES = ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


class Net(nnx.Module):
    """Batch statistics, dropout noise, and a layer in a list: what checkpoints of real models hold."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(4, 6, rngs=rngs)])
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.drop(nnx.relu(self.norm(self.layers[0](x)))))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(6)(x)))
        return nn.Dense(3, name="out")(x)


class State(TrainState):
    batch_stats: Any


def nnx_net() -> tuple[Net, np.ndarray]:
    net = Net(nnx.Rngs(7))
    net.train()
    net(jnp.asarray(X))  # Batch statistics that differ from a new network's.
    net.eval()
    return net, np.asarray(net(jnp.asarray(X)))


def linen_net() -> tuple[LinenNet, dict[str, Any], np.ndarray]:
    net = LinenNet()
    variables = net.init(jax.random.key(7), X, train=False)
    _, changed = net.apply(variables, X, train=True, mutable=["batch_stats"])
    variables = {**variables, **changed}
    return net, variables, np.asarray(net.apply(variables, X, train=False))


def pure(state: Any) -> Any:
    """What Flax's guide saves for portability; random state has no place in a portable tree."""
    return nnx.to_pure_dict(nnx.filter_state(state, nnx.Not(nnx.RngState)))


def v0(path: Path, tree: Any) -> None:
    with ocp.StandardCheckpointer() as writer:
        writer.save(path, tree)


def manager(path: Path, tree: Any) -> None:
    with ocp.CheckpointManager(path) as steps:
        for step in (2, 10):
            saved = tree if step == 10 else jax.tree.map(np.zeros_like, tree)
            steps.save(step, args=ocp.args.StandardSave(saved))
        steps.wait_until_finished()


def manager_with_items(path: Path, tree: Any) -> None:
    with ocp.CheckpointManager(path) as steps:
        items = {"model": ocp.args.StandardSave(tree), "meta": ocp.args.JsonSave({"epoch": 3})}
        steps.save(5, args=ocp.args.Composite(**items))
        steps.wait_until_finished()


def v1(path: Path, tree: Any) -> None:
    ocp1.save(path, tree)


def v1_steps(path: Path, tree: Any) -> None:
    with ocp1.training.Checkpointer(path) as steps:
        steps.save(3, tree)


WRITERS = [v0, manager, manager_with_items, v1, v1_steps]
Write = Callable[[Path, Any], None]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("layout", ["pure", "beside an optimiser", "params and ema at other places"])
def test_nnx_trees(tmp_path: Path, write: Write, layout: str) -> None:
    net, expected = nnx_net()
    tree = pure(nnx.state(net))
    if layout == "beside an optimiser":
        params = pure(nnx.state(net, nnx.Param))
        tree = {"model": tree, "opt_state": optax.adam(1e-3).init(params), "step": np.asarray(3)}
    elif layout != "pure":
        tree = {"epoch": np.asarray(1), "network": {"weights": tree}}
    write(tmp_path / "c", tree)
    clf = extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))
    assert np.allclose(clf.decision_function(X), expected, atol=1e-6)


@pytest.mark.parametrize("write", [v0, v1])
def test_an_nnx_state_as_it_is(tmp_path: Path, write: Write) -> None:
    """``nnx.state(model)`` itself, random keys included, as the guide's first example saves it."""
    net, expected = nnx_net()
    state = nnx.state(net)
    if write is v1:  # Orbax's new interface takes arrays, not NNX's random keys.
        state = nnx.filter_state(state, nnx.Not(nnx.RngState))
    write(tmp_path / "c", state)
    clf = extend.load(tmp_path / "c", model=lambda: Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))
    assert np.allclose(clf.decision_function(X), expected, atol=1e-6)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("layout", ["variables", "train state", "inside"])
def test_linen_trees(tmp_path: Path, write: Write, layout: str) -> None:
    net, variables, expected = linen_net()
    tree: Any = dict(variables)
    if layout == "train state":
        state = State.create(
            apply_fn=net.apply, params=variables["params"], tx=optax.adam(1e-3), batch_stats=variables["batch_stats"]
        )
        tree = {"params": state.params, "batch_stats": state.batch_stats, "opt_state": state.opt_state, "step": 3}
        tree["step"] = np.asarray(3)
        if write in (v0, manager):
            tree = state  # The older interface takes the state itself.
    elif layout == "inside":
        tree = {"state": tree, "config": {"lr": np.asarray(0.1)}}
    write(tmp_path / "c", tree)
    clf = extend.load(tmp_path / "c", model=net, classes=CLASSES, inputs=spec(4))
    assert np.allclose(clf.decision_function(X), expected, atol=1e-6)


def test_the_model_in_it_twice_is_an_error(tmp_path: Path) -> None:
    tree = pure(nnx.state(nnx_net()[0]))
    v0(tmp_path / "c", {"params": tree, "ema_params": tree})
    with pytest.raises(CheckpointError, match="more than once, under 'ema_params', 'params'"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))


def test_a_mismatch_names_the_path_and_both_shapes(tmp_path: Path) -> None:
    tree = pure(nnx.state(nnx_net()[0]))
    tree["out"]["kernel"] = np.zeros((6, 5), np.float32)
    v0(tmp_path / "c", tree)
    with pytest.raises(CheckpointError, match=r"'out.kernel' has shape \[6, 5\]; the model expects \[6, 3\]"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    tree = pure(nnx.state(nnx_net()[0]))
    del tree["norm"]
    v0(tmp_path / "c", tree)
    with pytest.raises(CheckpointError, match=r"'norm.*' is missing; the model expects shape \[6\]"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))


def test_another_model_entirely(tmp_path: Path) -> None:
    v0(tmp_path / "c", {"dense": {"w": np.zeros((2, 2))}})
    with pytest.raises(CheckpointError, match=r"none of the model's parameters is in it; it holds 'dense.w'"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))
    with pytest.raises(CheckpointError, match="no Orbax checkpoint here"):
        extend.load(tmp_path, model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))


def test_classes_and_inputs_must_be_told(tmp_path: Path) -> None:
    v0(tmp_path / "c", pure(nnx.state(nnx_net()[0])))
    with pytest.raises(ValueError, match="pass classes="):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)))
    with pytest.raises(ValueError, match="the head was not found"):
        extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=["a", "b"], inputs=spec(4))


def test_a_restored_checkpoint_learns_a_class(tmp_path: Path) -> None:
    v0(tmp_path / "c", pure(nnx.state(nnx_net()[0])))
    clf = extend.load(tmp_path / "c", model=Net(nnx.Rngs(0)), classes=CLASSES, inputs=spec(4))
    rng = np.random.default_rng(0)
    old = (rng.normal(size=(60, 4)), [CLASSES[i % 3] for i in range(60)])
    wider, _ = extend.add_classes(clf, {"d": rng.normal(size=(20, 4)) + 5}, old=old)
    assert wider.classes == (*CLASSES, "d") and wider.memory is not None
    assert (wider.predict(rng.normal(size=(20, 4)) + 5) == "d").mean() > 0.8
