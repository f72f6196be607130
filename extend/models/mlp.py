"""A multi-layer perceptron for vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
from flax import nnx


class MLP(nnx.Module):
    """Dense layers with ReLU: ``[n, inputs] -> logits [n, num_classes]``; penultimate features are ``hidden[-1]``.

    Examples
    --------
    >>> MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))(jax.numpy.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(self, num_classes: int, inputs: int, hidden: tuple[int, ...] = (128,), *, rngs: nnx.Rngs) -> None:
        widths = (inputs, *hidden)
        layers = [nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths)]
        self.layers = nnx.List(layers)
        self.head = nnx.Linear(widths[-1], num_classes, rngs=rngs)
        self.config: dict[str, Any] = nnx.static(
            {"num_classes": num_classes, "inputs": inputs, "hidden": tuple(hidden)}
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x)
