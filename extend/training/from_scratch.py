"""Training a small network from scratch: `extend train` and the shipped checkpoints use this loop.

Stochastic gradient descent with Nesterov momentum, weight decay on kernels and a one-cycle learning rate (Smith &
Topin 2018). Pictures may be trained on random crops that grow from phase to phase: a fully convolutional network with
global pooling learns most of what it needs on small crops, at a fraction of the cost (Touvron et al. 2019).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.training.augment import augment


@dataclass(frozen=True)
class Phase:
    """`epochs` epochs on random ``size x size`` crops (``None``: the inputs as they are)."""

    epochs: int
    size: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train: the phases in turn, and the optimiser's settings.

    `padding` pixels are added around a picture before it is cropped to its own size; `flip` mirrors half of them.
    """

    phases: tuple[Phase, ...]
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    padding: int = 0
    flip: bool = False


def train(
    model: nnx.Module,
    inputs: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    prepare: Callable[[np.ndarray], np.ndarray] = lambda batch: batch,
    seed: int = 0,
    state_file: Path | None = None,
    progress: Callable[[Iterable[int], int, str], Iterable[int]] = lambda steps, total, text: steps,
    report: Callable[[str], None] = lambda text: None,
) -> nnx.Module:
    """Train a classifier on ``inputs [n, ...]`` and integer ``labels [n]`` with cross-entropy; returns a trained copy.

    Args:
        model: maps a batch to logits ``[batch, k]``; it is not changed.
        prepare: brings a batch to what the model takes (normalisation), after cropping and flipping.
        state_file: after every epoch the state is written there, and training continues from it if it exists.
        progress: wraps the steps of an epoch (`total`, text), such as a progress bar.
        report: is told the loss and accuracy of every epoch.

    Raises:
        ValueError: fewer samples than one batch, or a loss that is no longer finite.
    """
    batch_size = min(recipe.batch_size, len(labels))
    per_epoch = len(labels) // batch_size
    epochs = [phase.size for phase in recipe.phases for _ in range(phase.epochs)]
    model.train()
    definition, params, *(rest,) = nnx.split(model, nnx.Param, ...)
    schedule = optax.cosine_onecycle_schedule(per_epoch * len(epochs), recipe.learning_rate, pct_start=0.25)
    optimiser = optax.chain(
        optax.add_decayed_weights(recipe.weight_decay, mask=lambda tree: jax.tree.map(lambda a: a.ndim > 1, tree)),
        optax.sgd(schedule, momentum=0.9, nesterov=True),
    )
    state = (params, rest, optimiser.init(params))
    first = 0
    if state_file is not None and state_file.exists():
        state, first = _restore(state_file, state)
        report(f"continuing after epoch {first}")

    @jax.jit
    def step(state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        params, rest, momentum = state

        def forward(params: Any, rest: Any, x: jax.Array) -> tuple[jax.Array, Any]:
            network = nnx.merge(definition, params, rest, copy=True)
            return network(x), nnx.split(network, nnx.Param, ...)[-1]

        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, after = with_matmul_kernel_gradient(forward)(params, rest, x)
            error = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
            return error, (after, (logits.argmax(-1) == y).mean())

        (error, (rest, right)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        update, momentum = optimiser.update(gradient, momentum, params)
        return (optax.apply_updates(params, update), rest, momentum), error, right

    for epoch in range(first, len(epochs)):
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(labels))
        errors, rights = [], []
        for number in progress(range(per_epoch), per_epoch, f"epoch {epoch + 1}/{len(epochs)}"):
            rows = order[number * batch_size : (number + 1) * batch_size]
            batch = prepare(augment(inputs[rows], rng, size=epochs[epoch], padding=recipe.padding, flip=recipe.flip))
            state, error, right = step(state, batch, labels[rows])
            errors.append(error)
            rights.append(right)
        error = float(jnp.stack(errors).mean())
        if not np.isfinite(error):
            raise ArgumentError(
                f"the loss is {error} in epoch {epoch + 1}; lower learning_rate ({recipe.learning_rate})"
            )
        report(f"epoch {epoch + 1}/{len(epochs)}: loss {error:.4f}, accuracy {float(jnp.stack(rights).mean()):.4f}")
        if state_file is not None:
            _store(state_file, state, epoch + 1)
    trained = nnx.merge(definition, state[0], state[1], copy=True)
    trained.eval()
    return trained


def _store(path: Path, state: Any, epoch: int) -> None:
    leaves: dict[str, Any] = {str(number): np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, epoch=epoch, **leaves)
    os.replace(partial, path)


def _restore(path: Path, state: Any) -> tuple[Any, int]:
    with np.load(path, allow_pickle=False) as saved:
        leaves = [jnp.asarray(saved[str(number)]) for number in range(len(jax.tree.leaves(state)))]
        return jax.tree.unflatten(jax.tree.structure(state), leaves), int(saved["epoch"])
