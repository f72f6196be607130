"""TODO"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from extend.training.settings import Training

CLIP = 1.0
"""The largest norm of a gradient."""


def _adam(how: Training, steps: int, moving: Any) -> optax.GradientTransformation:
    """Adam with decoupled weight decay of kernels, on the vector of `moving` and on the head, each at its rate."""
    kernels = ravel_pytree(jax.tree.map(lambda leaf: jnp.full(leaf.shape, float(leaf.ndim > 1)), moving))[0]

    def one(rate: float, decay: Callable[[Any], Any]) -> optax.GradientTransformation:
        decayed = optax.stateless(lambda u, p: jax.tree.map(lambda a, b: a + how.weight_decay * b, u, decay(p)))
        schedule = optax.cosine_decay_schedule(rate, steps * how.epochs)
        return optax.chain(optax.scale_by_adam(), decayed, optax.scale_by_learning_rate(schedule))

    parts = {
        "network": one(how.learning_rate, lambda p: jax.tree.map(lambda leaf: leaf * kernels, p)),
        "head": one(how.head_learning_rate, lambda p: jax.tree.map(lambda leaf: leaf * (leaf.ndim > 1), p)),
    }
    split = optax.multi_transform(parts, {"network": "network", "head": "head"})
    return optax.chain(optax.clip_by_global_norm(CLIP), split)
