"""Weights of Flax models that are no Orbax folder open, and the model computes what Flax itself computes with them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.serialization import to_bytes
from flax.training import checkpoints
from flax.training.train_state import TrainState
from flax.traverse_util import flatten_dict
from safetensors.flax import save_file

import extend
from extend.core.errors import ArgumentError, CheckpointError
from extend.core.flax_files import restore

CLASSES = ["a", "b", "c"]
X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
SPEC = extend.Array((4,))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(6)(x)))
        return nn.Dense(3, name="out")(x)


def linen(seed: int = 7) -> tuple[LinenNet, Any, np.ndarray]:
    """A network with batch statistics that differ from a new one's, and its logits."""
    net = LinenNet()
    variables = net.init(jax.random.key(seed), X)
    _, changed = net.apply(variables, X, train=True, mutable=["batch_stats"])
    variables = {**variables, **changed}
    return net, variables, np.asarray(net.apply(variables, X))


def msgpack(path: Path, tree: Any) -> Path:
    path.write_bytes(to_bytes(tree))
    return path


def safetensors(path: Path, tree: Any) -> Path:
    save_file(flatten_dict(tree, sep="."), path)
    return path


def npz(path: Path, tree: Any) -> Path:
    np.savez_compressed(path, **flatten_dict(tree, sep="/"))
    return path.with_suffix(".npz") if not path.suffix else path


def legacy(path: Path, tree: Any) -> Path:
    flax.config.update("flax_use_orbax_checkpointing", False)
    checkpoints.save_checkpoint(path.absolute(), jax.tree.map(np.zeros_like, tree), 9)
    checkpoints.save_checkpoint(path.absolute(), tree, 10)
    return path


def orbax(path: Path, tree: Any) -> Path:
    with ocp.StandardCheckpointer() as writer:
        writer.save(path.absolute(), tree)
    return path


def texts(tree: Any) -> Any:
    """A tree whose keys are texts."""
    return {str(key): texts(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


WRITERS = {
    "flax_model.msgpack": msgpack,
    "model.safetensors": safetensors,
    "weights.npz": npz,
    "legacy": legacy,
    "orbax": orbax,
}


def load(path: Path, model: Any, **options: Any) -> extend.Classifier:
    return extend.load(path, model=model, classes=CLASSES, inputs=SPEC, **options)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("inside", [("backbone",), ("state", "model")], ids=".".join)
def test_a_linen_model_opens_whatever_stands_around_its_parameters(
    name: str, inside: tuple[str, ...], tmp_path: Path
) -> None:
    net, variables, logits = linen()

    def around(tree: Any) -> Any:
        for part in reversed(inside):
            tree = {part: tree}
        return tree

    path = WRITERS[name](tmp_path / name, {collection: around(tree) for collection, tree in variables.items()})
    np.testing.assert_allclose(load(path, net).decision_function(X), logits, atol=1e-6)
    path = WRITERS[name](tmp_path / f"around-{name}", around(dict(variables)))
    np.testing.assert_allclose(load(path, net).decision_function(X), logits, atol=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_parameters_alone(name: str, tmp_path: Path) -> None:
    net = nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(3)])
    variables = net.init(jax.random.key(1), X)
    path = WRITERS[name](tmp_path / name, variables["params"])
    np.testing.assert_allclose(load(path, net).decision_function(X), net.apply(variables, X), atol=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_a_prefix_names_one_of_several_copies(name: str, tmp_path: Path) -> None:
    net, variables, logits = linen()
    _, other, averaged = linen(8)
    tree = {"run": {"now": dict(variables), "ema": dict(other)}}
    path = WRITERS[name](tmp_path / name, tree)
    with pytest.raises(CheckpointError, match=r"'run\.ema\.params', 'run\.now\.params'; name one with prefix="):
        load(path, net)
    np.testing.assert_allclose(load(path, net, prefix="now").decision_function(X), logits, atol=1e-6)
    np.testing.assert_allclose(load(path, net, prefix="run.ema").decision_function(X), averaged, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"prefix='model' is none of"):
        load(path, net, prefix="model")


def test_averaged_parameters_beside_the_batch_statistics(tmp_path: Path) -> None:
    net, variables, logits = linen()
    averaged = jax.tree.map(lambda leaf: leaf * 2, variables["params"])
    path = msgpack(tmp_path / "state.msgpack", {**variables, "ema_params": averaged})
    expected = net.apply({"params": averaged, "batch_stats": variables["batch_stats"]}, X)
    np.testing.assert_allclose(load(path, net).decision_function(X), logits, atol=1e-6)
    np.testing.assert_allclose(load(path, net, prefix="ema_params").decision_function(X), expected, atol=1e-5)


def test_a_train_state_of_flax_with_its_optimizer(tmp_path: Path) -> None:
    net = nn.Dense(3)
    variables = net.init(jax.random.key(1), X)
    state = TrainState.create(apply_fn=net.apply, params=variables["params"], tx=optax.adam(1e-3))
    path = legacy(tmp_path / "run", state)
    for where in (path, path / "checkpoint_10"):
        np.testing.assert_allclose(load(where, net).decision_function(X), net.apply(variables, X), atol=1e-6)


@pytest.mark.parametrize("name", ["flax_model.msgpack", "model.safetensors", "weights.npz"])
def test_an_nnx_model(name: str, tmp_path: Path) -> None:
    net = extend.models.MLP(3, inputs=4, rngs=nnx.Rngs(5))
    tree = texts(jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, nnx.Param))))
    path = WRITERS[name](tmp_path / name, tree)
    fresh: list[Callable[[], Any]] = [lambda: extend.models.MLP(3, inputs=4, rngs=nnx.Rngs(6))]
    for model in (*fresh, fresh[0]()):
        np.testing.assert_allclose(load(path, model).decision_function(X), net(jnp.asarray(X)), atol=1e-6)


def test_half_precision_is_brought_to_the_models(tmp_path: Path) -> None:
    net = nn.Dense(3)
    variables = net.init(jax.random.key(1), X)
    for kind in (np.float16, ml_dtypes.bfloat16, np.float64):
        half = jax.tree.map(lambda leaf, kind=kind: np.asarray(leaf).astype(kind), variables)
        exact = jax.tree.map(lambda leaf: leaf.astype(np.float32), half)
        for name, writer in (("a.msgpack", msgpack), ("a.npz", npz)):
            np.testing.assert_allclose(
                load(writer(tmp_path / name, half), net).decision_function(X), net.apply(exact, X), atol=1e-6
            )


def test_a_class_is_added_to_weights_from_a_file(tmp_path: Path) -> None:
    net, variables, logits = linen()
    wider, _ = extend.add_classes(load(msgpack(tmp_path / "a.msgpack", variables), net), {"d": X + 9})
    np.testing.assert_allclose(wider.decision_function(X)[:, :3], logits, atol=1e-5)


def test_what_does_not_fit_is_said_in_one_line(tmp_path: Path) -> None:
    net, variables, _ = linen()
    narrow = {**variables["params"], "out": {**variables["params"]["out"], "kernel": np.zeros((5, 3))}}
    short = {name: part for name, part in variables["params"].items() if name != "Dense_0"}
    wrong: dict[str, tuple[Any, str]] = {
        "shape": (
            {**variables, "params": narrow},
            r"'params.out.kernel' has shape \[5, 3\]; the model expects \[6, 3\]",
        ),
        "short": ({**variables, "params": short}, r"'params.Dense_0.\w+' is missing; the model expects shape"),
        "others": ({"w": np.zeros(3)}, "none of the model's parameters is in it; it holds 'w', the model has"),
    }
    for name, (tree, message) in wrong.items():
        with pytest.raises(CheckpointError, match=message) as caught:
            load(msgpack(tmp_path / f"{name}.msgpack", tree), net)
        assert "\n" not in str(caught.value)
    (tmp_path / "cut.msgpack").write_bytes(to_bytes(variables)[:-20])
    with pytest.raises(CheckpointError, match="not readable as weights of a Flax model"):
        load(tmp_path / "cut.msgpack", net)
    with pytest.raises(ArgumentError, match=r"inputs is \(4,\), which is a shape: pass inputs=extend.Array\(\(4,\)"):
        extend.load(tmp_path / "cut.msgpack", model=net, classes=CLASSES, inputs=(4,))
    with pytest.raises(extend.FormatError, match=r"msgpack\): pass model="):
        extend.load(tmp_path / "cut.msgpack")


def test_a_safetensors_file_cannot_claim_more_than_it_has(tmp_path: Path) -> None:
    for offsets, shape in (([0, 1 << 40], [1 << 38]), ([0, 8], [1 << 38]), ([-8, 0], [2])):
        header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        with pytest.raises(CheckpointError, match="does not fit its place"):
            restore(tmp_path / "a.safetensors", {"w": ((2,), np.float32)})


def test_no_pickle_in_an_npz_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.array([print], object))
    with pytest.raises(CheckpointError, match="none of the model's parameters"):
        restore(tmp_path / "a.npz", {"w": ((1,), np.float32)})
