"""The optimisers: Adam that moves a trained network a little, and one-cycle SGD that trains one from scratch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from extend.training.settings import Training

CLIP = 1.0
"""The largest norm of a gradient."""


def adam(training: Training, steps: int, moving: PyTree) -> optax.GradientTransformation:
    """Make Adam with decoupled weight decay of kernels, for backbone and head, each at its own rate.

    Parameters
    ----------
    training
        The rates, the weight decay and the number of epochs.
    steps
        The number of steps in an epoch.
    moving
        The backbone's parameters; the optimiser works on the vector of all of them.
    """
    kernels = ravel_pytree(jax.tree.map(lambda leaf: jnp.full(leaf.shape, float(leaf.ndim > 1)), moving))[0]

    def one(rate: float, kernels_of: Callable[[PyTree], PyTree]) -> optax.GradientTransformation:
        decayed = optax.stateless(
            lambda u, p: jax.tree.map(lambda a, b: a + training.weight_decay * b, u, kernels_of(p))
        )
        schedule = optax.cosine_decay_schedule(rate, steps * training.epochs)
        return optax.chain(optax.scale_by_adam(), decayed, optax.scale_by_learning_rate(schedule))

    parts = {
        "network": one(training.learning_rate, lambda p: jax.tree.map(lambda leaf: leaf * kernels, p)),
        "head": one(training.head_learning_rate, lambda p: jax.tree.map(lambda leaf: leaf * (leaf.ndim > 1), p)),
    }
    split = optax.multi_transform(parts, {"network": "network", "head": "head"})
    return optax.chain(optax.clip_by_global_norm(CLIP), split)


def one_cycle_sgd(peak: float, steps: int, weight_decay: float = 5e-4) -> optax.GradientTransformation:
    """Make SGD with Nesterov momentum, weight decay of kernels and a one-cycle rate (Smith & Topin 2019).

    Parameters
    ----------
    peak
        The highest learning rate, reached after a quarter of the steps.
    steps
        The number of steps of the whole training.
    """
    schedule = optax.cosine_onecycle_schedule(steps, peak, pct_start=0.25)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)),
        optax.sgd(schedule, momentum=0.9, nesterov=True),
    )
