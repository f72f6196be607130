"""A small convolutional network for small pictures, such as scikit-learn's 8x8 digits."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx


class ConvNet(nnx.Module):
    """Two 3x3 convolutions, 2x2 max pooling, one dense layer: ``[n, height, width, channels] -> [n, num_classes]``.

    `pooled` (after the second convolution and pooling) is a layer of its own so that it can serve as a tap.
    """

    def __init__(
        self,
        num_classes: int,
        height: int = 8,
        width: int = 8,
        channels: int = 1,
        filters: tuple[int, int] = (32, 64),
        hidden: int = 128,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.conv1 = nnx.Conv(channels, filters[0], (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(filters[0], filters[1], (3, 3), rngs=rngs)
        self.pooled = Pool()
        self.dense = nnx.Linear((height // 2) * (width // 2) * filters[1], hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, num_classes, rngs=rngs)
        self.config: dict[str, Any] = nnx.static(
            {
                "num_classes": num_classes,
                "height": height,
                "width": width,
                "channels": channels,
                "filters": tuple(filters),
                "hidden": hidden,
            }
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.conv1(x))
        x = self.pooled(nnx.relu(self.conv2(x)))
        x = nnx.relu(self.dense(x.reshape(x.shape[0], -1)))
        return self.head(x)


class Pool(nnx.Module):
    """2x2 max pooling."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.max_pool(x, (2, 2), strides=(2, 2))
