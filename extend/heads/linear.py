"""The head: features to one score a class.

Nearest mean, LDA, ridge, a linear SVM and trained output units are all a `LinearHead`. It keeps its columns in blocks
that are multiplied one by one, because XLA's matrix product may change old columns' last bits when columns are added
to one kernel; as separate blocks the old scores stay bit-identical. Gaussians of their own covariance are the one
`QuadraticHead`. `Calibrated` puts a scale, a temperature and an offset on any of them, and keeps these apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from extend.core.errors import ArgumentError
from extend.heads.base import Activation, Array, _checked


@partial(jax.tree_util.register_dataclass, data_fields=("kernel", "bias"), meta_fields=("start",))
@dataclass(frozen=True)
class Block:
    """Columns that act on ``features[:, start : start + rows]``: kernel float32 ``[rows, k]``, bias float32 ``[k]``."""

    kernel: Array
    bias: Array
    start: int = 0


@partial(jax.tree_util.register_dataclass, data_fields=("blocks",), meta_fields=("activation",))
@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ kernel + bias``, block by block.

    >>> head = LinearHead.of(np.eye(3, 2), np.zeros(2))
    >>> head.append(np.ones((3, 1)), np.zeros(1)).logits(jnp.ones((1, 3))).shape
    (1, 3)
    """

    blocks: tuple[Block, ...]
    activation: Activation = "softmax"

    @classmethod
    def of(
        cls,
        kernel: np.ndarray | jax.Array,
        bias: np.ndarray | jax.Array,
        start: int = 0,
        activation: Activation = "softmax",
    ) -> LinearHead:
        """A head of one block: ``kernel [rows, k]``, ``bias [k]``.

        Raises:
            ValueError: the shapes do not fit each other.
        """
        return cls((_block(kernel, bias, start),), activation)

    @property
    def num_classes(self) -> int:
        return sum(block.bias.shape[0] for block in self.blocks)

    @property
    def rows(self) -> tuple[int, int]:
        """The range of features that any block reads."""
        return (
            min(block.start for block in self.blocks),
            max(block.start + block.kernel.shape[0] for block in self.blocks),
        )

    def logits(self, features: jax.Array) -> jax.Array:
        """Scores ``[n, k]`` of features ``[n, d]``; softmax or sigmoid is not applied."""
        with jax.default_matmul_precision("highest"):
            parts = [
                features[:, block.start : block.start + block.kernel.shape[0]] @ block.kernel + block.bias
                for block in self.blocks
            ]
        return jnp.concatenate(parts, axis=1)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The same as `logits`, float64 on the host."""
        kernel, bias = self.dense(features.shape[1])
        return features.astype(np.float64) @ kernel + bias

    def append(self, kernel: Array, bias: Array, start: int = 0) -> LinearHead:
        """This head with a block of new columns at its end; the old columns are the same arrays."""
        return replace(self, blocks=(*self.blocks, _block(kernel, bias, start)))

    def drop(self, columns: Sequence[int]) -> LinearHead:
        """This head without these columns; the others keep their values and their order."""
        gone, kept, first = _checked(columns, self.num_classes), [], 0
        for block in self.blocks:
            stay = np.asarray([i for i in range(block.bias.shape[0]) if first + i not in gone], int)
            first += block.bias.shape[0]
            if len(stay) == block.bias.shape[0]:
                kept.append(block)
            elif len(stay):
                kept.append(_block(block.kernel[:, stay], block.bias[stay], block.start))
        return replace(self, blocks=tuple(kept))

    def permute(self, order: Sequence[int]) -> LinearHead:
        """This head with column ``order[i]`` at place i, as one block a run of columns that stay together."""
        if sorted(order) != list(range(self.num_classes)):
            raise ArgumentError(f"order {list(order)} is not a permutation of {self.num_classes} columns")
        columns = [(b, i) for b, block in enumerate(self.blocks) for i in range(block.bias.shape[0])]
        runs: list[tuple[int, list[int]]] = []
        for place in order:
            owner, column = columns[place]
            if runs and runs[-1][0] == owner:
                runs[-1][1].append(column)
            else:
                runs.append((owner, [column]))
        blocks = tuple(
            _block(self.blocks[b].kernel[:, np.asarray(c)], self.blocks[b].bias[np.asarray(c)], self.blocks[b].start)
            for b, c in runs
        )
        return replace(self, blocks=blocks)

    def dense(self, feature_dim: int) -> tuple[np.ndarray, np.ndarray]:
        """The whole head as one kernel float32 ``[feature_dim, k]`` and bias ``[k]``."""
        kernels = []
        for block in self.blocks:
            kernel = np.zeros((feature_dim, block.bias.shape[0]), np.float32)
            kernel[block.start : block.start + block.kernel.shape[0]] = block.kernel
            kernels.append(kernel)
        return np.concatenate(kernels, axis=1), np.concatenate([np.asarray(block.bias) for block in self.blocks])


def _block(kernel: Array, bias: Array, start: int) -> Block:
    kernel, bias = np.asarray(kernel, np.float32), np.asarray(bias, np.float32)
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:] or start < 0:
        raise ArgumentError(f"kernel {list(kernel.shape)} and bias {list(bias.shape)} given; expected [d, k] and [k]")
    return Block(kernel, bias, start)
