import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import extend
from extend.training.state import Identity, Saved, behaviour, identify, load, save

MOVING = {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}


def state(score: float = 0.75) -> Saved:
    arrays = {"now": (jnp.arange(3.0), {"count": jnp.int32(4)}), "best": jnp.full((2, 2), 0.1, jnp.bfloat16)}
    return Saved(arrays, epoch=2, number=5, score=score, since=1, log=[{"loss": 0.1 + 0.2, "old": 1 / 3}])


@pytest.mark.parametrize("score", [0.75, -np.inf])
def test_a_state_comes_back_bit_for_bit(tmp_path: Path, score: float) -> None:
    was = state(score)
    save(tmp_path / "state", Identity("x"), was)
    found = load(tmp_path / "state", Identity("x"), was.arrays)
    assert replace(found, arrays=None) == replace(was, arrays=None)
    assert jax.tree.structure(found.arrays) == jax.tree.structure(was.arrays)
    for one, other in zip(jax.tree.leaves(found.arrays), jax.tree.leaves(was.arrays), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)


def test_a_folder_knows_its_training_but_for_rounding(tmp_path: Path) -> None:
    save(tmp_path / "state", Identity("x", (1.0, -3.0)), state())
    assert load(tmp_path / "state", Identity("x", (1.001, -3.001)), state().arrays).epoch == 2
    for other in (Identity("x", (1.0, -3.2)), Identity("x", (1.0,)), Identity("y", (1.0, -3.0))):
        with pytest.raises(ValueError, match=r"holds the state of another training .* or remove it to begin anew"):
            load(tmp_path / "state", other, state().arrays)


def test_a_classifiers_folder_is_no_trainings(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    extend.wrap(np.asarray, ("a", "b"), (x, np.arange(20) % 2)).save(tmp_path / "model")
    with pytest.raises(ValueError, match="the state of another training"):
        load(tmp_path / "model", Identity(), state().arrays)


def test_what_is_given_counts_to_the_last_bit_and_what_is_computed_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    keys, head = rng.integers(0, 9, 50), rng.normal(size=(6, 4)).astype(np.float32)
    this = identify({"rate": 0.1}, [keys], [head])
    rounded = identify({"rate": 0.1}, [keys], [head * np.float32(1 + 1e-5)])
    save(tmp_path / "state", this, state())
    assert rounded != this and load(tmp_path / "state", rounded, state().arrays).number == 5
    changed = keys.copy()
    changed[7] += 1
    others: list[Any] = [
        identify({"rate": np.nextafter(0.1, 1)}, [keys], [head]),
        identify({"rate": 0.1}, [changed], [head]),
        identify({"rate": 0.1}, [keys], [head], b"an optimiser"),
        identify({"rate": 0.1}, [keys], [rng.permutation(head)]),  # As long, and elsewhere.
        identify({"rate": 0.1}, [keys], [head, head]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="the state of another training"):
            load(tmp_path / "state", other, state().arrays)


def test_settings_are_known_in_any_order() -> None:
    assert identify(json.loads('{"a": 1, "b": 2}'), [], []) == identify(json.loads('{"b": 2, "a": 1}'), [], [])


def test_an_optimiser_is_known_by_what_it_does_and_keeps() -> None:
    def sgd() -> optax.GradientTransformation:
        return optax.sgd(0.1)

    assert behaviour(sgd(), MOVING) == behaviour(sgd(), MOVING)
    others = [
        optax.sgd(0.05),
        optax.sgd(0.1, momentum=0.9),
        optax.sgd(lambda _: 0.1),
        optax.chain(optax.clip(1.0), optax.sgd(0.1)),
        optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1)),
        optax.adam(0.1),
    ]
    found = [behaviour(other, MOVING) for other in (sgd(), *others)]
    assert len(set(found)) == len(found)
