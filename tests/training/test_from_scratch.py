import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from extend.models import MLP, ResNet
from extend.training import Phase, Recipe, train
from tests.conftest import blobs

X, Y = blobs(3, 60, 5)
RECIPE = Recipe((Phase(4),), batch_size=32, learning_rate=0.1)
PICTURES = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)


def float32(batch: np.ndarray) -> np.ndarray:
    return batch.astype(np.float32) / 255


def flat(batch: np.ndarray) -> np.ndarray:
    return float32(batch).reshape(len(batch), -1)


def mlp() -> MLP:
    return MLP(3, inputs=5, hidden=(16,), rngs=nnx.Rngs(0))


def arrays(model: nnx.Module) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def test_it_learns_and_leaves_the_given_model_alone() -> None:
    model, said = mlp(), []
    before = arrays(model)
    trained = train(model, X, Y, RECIPE, report=said.append)
    assert (np.asarray(trained(X)).argmax(axis=1) == Y).mean() > 0.95
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(model), strict=True))
    assert len(said) == 4 and said[-1].startswith("epoch 4/4: loss")


def test_it_goes_on_from_its_state_bit_for_bit(tmp_path: Path) -> None:
    whole = train(mlp(), X, Y, RECIPE)

    def interrupt(text: str) -> None:
        if text.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(mlp(), X, Y, RECIPE, state=tmp_path / "state", report=interrupt)
    said: list[str] = []
    resumed = train(mlp(), X, Y, RECIPE, state=tmp_path / "state", report=said.append)
    assert said[0] == "continuing after epoch 2" and len(said) == 3
    assert all(np.array_equal(a, b) for a, b in zip(arrays(whole), arrays(resumed), strict=True))
    for other in (replace(RECIPE, learning_rate=0.2), RECIPE):
        with pytest.raises(ValueError, match="the state of another training"):
            train(mlp(), X, Y if other is not RECIPE else 2 - Y, other, state=tmp_path / "state")


def test_interrupted_in_the_midst_of_an_epoch_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """The crops of the steps that were taken are drawn again, and so the others are as they would have been."""
    recipe = Recipe((Phase(2),), batch_size=16, padding=2, flip=True, learning_rate=0.05)

    def progress(steps: Iterable[Any], *, total: int) -> Iterator[Any]:
        for number, step in enumerate(steps):
            if number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield step

    def trained(**options: Any) -> nnx.Module:
        model = MLP(2, inputs=16 * 16 * 3, hidden=(8,), rngs=nnx.Rngs(0))
        return train(model, PICTURES, np.arange(64) % 2, recipe, prepare=flat, **options)

    with pytest.raises(KeyboardInterrupt, match="interrupted at step 3 of 8"):
        trained(state=tmp_path / "state", progress=progress)
    said: list[str] = []
    resumed = trained(state=tmp_path / "state", report=said.append)
    assert said[0] == "continuing after epoch 0, step 3"
    assert all(np.array_equal(a, b) for a, b in zip(arrays(trained()), arrays(resumed), strict=True))


def test_a_network_with_dropout_is_trained() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.one, self.drop = nnx.Linear(5, 16, rngs=rngs), nnx.Dropout(0.2, rngs=rngs)
            self.out = nnx.Linear(16, 3, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.out(self.drop(nnx.relu(self.one(x))))

    trained = train(Net(nnx.Rngs(0)), X, Y, RECIPE)
    assert (np.asarray(trained(X)).argmax(axis=1) == Y).mean() > 0.9


def test_crops_grow_from_phase_to_phase() -> None:
    shapes = []

    def prepare(batch: np.ndarray) -> np.ndarray:
        shapes.append(batch.shape)
        return float32(batch)

    recipe = Recipe((Phase(1, 8), Phase(1)), batch_size=32, padding=2, flip=True)
    train(ResNet(2, 8, 2, rngs=nnx.Rngs(0)), PICTURES, np.arange(64) % 2, recipe, prepare=prepare)
    tried = 1  # The last state is tried on one more batch.
    assert shapes == [(32, 8, 8, 3)] * 2 + [(32, 16, 16, 3)] * (2 + tried)


def test_a_loss_that_diverges_is_reported() -> None:
    with pytest.raises(ValueError, match=r"first step's loss, .* is not finite: .* lower the learning rate"):
        train(mlp(), X * 1e20, Y, Recipe((Phase(3),), batch_size=32, learning_rate=1e20))
    with pytest.raises(ValueError, match=r"the loss was not finite at step 3; lower learning_rate \(10000000000"):
        train(mlp(), X, Y, Recipe((Phase(3),), batch_size=32, learning_rate=1e10))
