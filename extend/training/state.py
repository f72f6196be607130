"""The state of a training, kept in a folder, and what identifies the training so that no other one goes on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from extend.core import checkpoint
from extend.core.errors import ArgumentError

TOLERANCE = 0.02
"""How much a computed number may differ on another device, relatively and absolutely."""


@dataclass(frozen=True)
class Identity:
    """What tells one training from another.

    Parameters
    ----------
    given
        A digest of everything that was given to the training; it is the same in every process.
    computed
        Numbers that were computed from it; on another device they may differ by `TOLERANCE`.
    """

    given: str = ""
    computed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Saved:
    """Where a training was.

    Parameters
    ----------
    arrays
        A tree of all its arrays.
    epoch, number
        The next epoch, and the next step in it.
    score, since
        The best score, and the number of epochs since it.
    log
        What each epoch measured.
    """

    arrays: PyTree
    epoch: int
    number: int
    score: float
    since: int
    log: list[Mapping[str, float]]


def identify(
    settings: PyTree[float | str | None],
    arrays: Sequence[np.ndarray],
    computed: Sequence[np.ndarray],
    optimiser: bytes = b"",
) -> Identity:
    """Identify a training by what it is given.

    Parameters
    ----------
    settings
        JSON.
    arrays
        Given arrays, which count to the last bit.
    computed
        Computed arrays, which may be rounded otherwise on another device.
    optimiser
        The `behaviour` of an optimiser that the settings do not describe.

    Examples
    --------
    >>> one, other = (identify({"epochs": 3}, [np.zeros(2)], [np.full(5, size)]) for size in (1.0, 1.001))
    >>> one.given == other.given, one.computed == other.computed
    (True, False)
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + optimiser)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return Identity(digest.hexdigest(), tuple(number for array in computed for number in _sketch(array)))


def behaviour(optimiser: optax.GradientTransformation, moving: PyTree) -> bytes:
    """Describe an optimiser by its state and by three steps from parameters of 1 with gradients from -2 to 2."""

    def slope(leaf: jax.Array) -> jax.Array:
        return jnp.linspace(-2, 2, leaf.size, dtype=leaf.dtype).reshape(leaf.shape)

    @jax.jit
    def step(state: PyTree, moving: PyTree) -> tuple[PyTree, PyTree]:
        return optimiser.update(jax.tree.map(slope, moving), state, moving)

    moving = jax.tree.map(jnp.ones_like, moving)
    state = optimiser.init(moving)
    found = str(jax.tree.map(lambda leaf: (np.shape(leaf), str(jnp.result_type(leaf))), state)).encode()
    for _ in range(3):
        changes, state = step(state, moving)
        found += np.asarray(ravel_pytree(changes)[0]).tobytes()
    return found


def save(folder: Path, identity: Identity, state: Saved) -> None:
    """Write a training's state to a folder, in place of what it holds; whole or not at all."""
    leaves = {str(number): np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state.arrays))}
    about = {name: value for name, value in vars(state).items() if name != "arrays"}
    about["score"] = state.score if np.isfinite(state.score) else None
    known = {"identity": identity.given, "near": list(identity.computed), "kind": "training"}
    checkpoint.save(folder, leaves, {**about, **known})


def load(folder: Path, identity: Identity, like: PyTree) -> Saved:
    """Read back the state in a folder; its arrays come in the form of the tree `like`.

    Raises
    ------
    ArgumentError
        The folder holds the state of another training.
    CheckpointError
        The folder is damaged.
    """
    tree, about = checkpoint.load(folder)
    was, now = about.get("near", []), identity.computed
    same = about.get("kind") == "training" and about.get("identity") == identity.given and len(was) == len(now)
    if not same or not np.allclose(was, now, rtol=TOLERANCE, atol=TOLERANCE):
        raise ArgumentError(
            f"{folder} holds the state of another training (other data, network or settings); give another folder, or "
            "remove it to begin anew"
        )
    leaves = [jnp.asarray(tree[str(number)]) for number in range(len(jax.tree.leaves(like)))]
    arrays = jax.tree.unflatten(jax.tree.structure(like), leaves)
    score = -np.inf if about["score"] is None else about["score"]
    return Saved(arrays, about["epoch"], about["number"], score, about["since"], about["log"])


def _sketch(array: np.ndarray) -> tuple[float, float]:
    """Return an array's norm, and the share of it that lies in a random direction."""
    flat = np.asarray(array, np.float64).ravel()
    size = float(np.linalg.norm(flat))
    return size, float(np.random.default_rng(0).standard_normal(len(flat)) @ flat) / (size + 1e-12)
