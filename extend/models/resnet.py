"""ResNets for small images, in the CIFAR style of He et al. 2016 (section 4.2).

Three stages of ``(depth - 2) / 6`` blocks with ``width``, ``2 width`` and ``4 width`` channels; a block that changes
shape takes a strided identity padded with zero channels as its shortcut (their "option A": no parameters). Images are
``[n, height, width, channels]``, float32.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from extend.core.errors import ArgumentError


class Block(nnx.Module):
    """Two 3x3 convolutions with batch norm around an identity shortcut: ``[n, h, w, c] -> [n, h/s, w/s, c_out]``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = _conv(in_channels, out_channels, stride, rngs)
        self.norm1 = _norm(out_channels, rngs)
        self.conv2 = _conv(out_channels, out_channels, 1, rngs)
        self.norm2 = _norm(out_channels, rngs)
        self.stride = stride
        self.extra_channels = out_channels - in_channels

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        shortcut = x[:, :: self.stride, :: self.stride]
        before = self.extra_channels // 2
        padding = (before, self.extra_channels - before)
        return nnx.relu(y + jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), padding)))


class ResNet(nnx.Module):
    """A CIFAR ResNet: ``[n, height, width, channels] -> logits [n, num_classes]``.

    ``depth`` is ``6 b + 2`` (20, 32, 44, 56, ...). The penultimate features are the ``4 width`` channel means.
    """

    def __init__(
        self, num_classes: int, depth: int = 20, width: int = 16, channels: int = 3, *, rngs: nnx.Rngs
    ) -> None:
        if depth < 8 or (depth - 2) % 6:
            raise ArgumentError(f"depth is {depth}; a CIFAR ResNet has 6 b + 2 layers: 8, 14, 20, 32, 44, 56, ...")
        blocks = (depth - 2) // 6
        self.conv = _conv(channels, width, 1, rngs)
        self.norm = _norm(width, rngs)
        self.stage1 = _stage(width, width, 1, blocks, rngs)
        self.stage2 = _stage(width, 2 * width, 2, blocks, rngs)
        self.stage3 = _stage(2 * width, 4 * width, 2, blocks, rngs)
        self.head = nnx.Linear(4 * width, num_classes, rngs=rngs)
        self.config: dict[str, Any] = nnx.static(
            {"num_classes": num_classes, "depth": depth, "width": width, "channels": channels}
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.conv(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.head(x.mean(axis=(1, 2)))


def _conv(in_channels: int, out_channels: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
    # Symmetric padding, so that weights trained in other frameworks mean the same here.
    return nnx.Conv(
        in_channels,
        out_channels,
        (3, 3),
        strides=stride,
        padding=((1, 1), (1, 1)),
        use_bias=False,
        kernel_init=he_normal,
        rngs=rngs,
    )


def _norm(channels: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, rngs=rngs)


def _stage(in_channels: int, out_channels: int, stride: int, blocks: int, rngs: nnx.Rngs) -> nnx.Sequential:
    first = Block(in_channels, out_channels, stride, rngs=rngs)
    rest = [Block(out_channels, out_channels, 1, rngs=rngs) for _ in range(blocks - 1)]
    return nnx.Sequential(first, *rest)
