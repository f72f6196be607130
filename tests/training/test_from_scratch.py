"""The training loop."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from extend.models import MLP, ResNet
from extend.training import Phase, Recipe, train
from tests.conftest import blobs

X, Y = blobs(3, 60, 5)
RECIPE = Recipe((Phase(4),), batch_size=32, learning_rate=0.1)


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


def test_it_goes_on_from_its_state_file_bit_for_bit(tmp_path: Path) -> None:
    whole = train(mlp(), X, Y, RECIPE)

    def interrupt(text: str) -> None:
        if text.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(mlp(), X, Y, RECIPE, state_file=tmp_path / "s.npz", report=interrupt)
    said: list[str] = []
    resumed = train(mlp(), X, Y, RECIPE, state_file=tmp_path / "s.npz", report=said.append)
    assert said[0] == "continuing after epoch 2" and len(said) == 3
    assert all(np.array_equal(a, b) for a, b in zip(arrays(whole), arrays(resumed), strict=True))


def test_crops_grow_from_phase_to_phase() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    shapes = []

    def prepare(batch: np.ndarray) -> np.ndarray:
        shapes.append(batch.shape)
        return batch.astype(np.float32) / 255

    recipe = Recipe((Phase(1, 8), Phase(1)), batch_size=32, padding=2, flip=True)
    train(ResNet(2, 8, 2, rngs=nnx.Rngs(0)), pictures, np.arange(64) % 2, recipe, prepare=prepare)
    assert shapes == [(32, 8, 8, 3)] * 2 + [(32, 16, 16, 3)] * 2


def test_a_loss_that_diverges_is_reported() -> None:
    with pytest.raises(ValueError, match=r"the loss is .* lower learning_rate"):
        train(mlp(), X * 1e20, Y, Recipe((Phase(3),), batch_size=32, learning_rate=1e20))
