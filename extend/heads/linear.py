"""The linear head: nearest mean, LDA, ridge, a linear SVM and trained output units are all one.

It keeps its columns in blocks that are multiplied one by one, because XLA's matrix product may change old columns' last
bits when columns are added to one kernel; as separate blocks the old scores stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Float

from extend.core.errors import ArgumentError
from extend.heads.base import AnyArray, checked_columns, joined
from extend.heads.links import SOFTMAX, Link

Origin = Literal["file", "trained", "solved"]


@partial(jax.tree_util.register_dataclass, data_fields=("kernel", "bias", "centre"), meta_fields=("start", "origin"))
@dataclass(frozen=True, eq=False)
class Block:
    """Columns of a head that act on ``features[:, start : start + rows]``.

    Parameters
    ----------
    kernel, bias
        float32 ``[rows, k]`` and ``[k]``.
    start
        The first feature that the columns read.
    origin
        Where the columns came from: the ``"file"`` of another framework, whose very numbers they are; a training
        (``"trained"``); or an equation (``"solved"``).
    centre
        float32 ``[rows]``: what is taken from the features before the product, so that a large offset that all of them
        share does not eat the digits of their scores; None takes nothing.
    """

    kernel: AnyArray
    bias: AnyArray
    start: int = 0
    origin: Origin = "solved"
    centre: AnyArray | None = None

    @property
    def stop(self) -> int:
        """One past the last feature that the columns read."""
        return self.start + int(self.kernel.shape[0])

    def logits(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Return the scores of whole feature vectors."""
        rows = features[:, self.start : self.start + self.kernel.shape[0]]
        return (rows if self.centre is None else rows - self.centre) @ self.kernel + self.bias

    def folded(self, about: Float[np.ndarray, " rows"] | None = None) -> np.ndarray:
        """Return the bias that gives the same scores about another centre; None: about 0. It is float64 if it moved."""
        if self.centre is about:
            return np.asarray(self.bias)
        here, there = (0.0 if c is None else np.asarray(c, np.float64) for c in (self.centre, about))
        moved = np.broadcast_to(there - here, self.kernel.shape[:1])
        return np.asarray(self.bias, np.float64) + moved @ np.asarray(self.kernel, np.float64)


@partial(jax.tree_util.register_dataclass, data_fields=("blocks",), meta_fields=("link",))
@dataclass(frozen=True, eq=False)
class LinearHead:
    """A head with ``logits = (features - centre) @ kernel + bias``, block by block; many blocks have no centre.

    Examples
    --------
    >>> head = LinearHead.of(np.eye(3, 2), np.zeros(2))
    >>> head.append(np.ones((3, 1)), np.zeros(1)).logits(np.ones((1, 3))).shape
    (1, 3)
    """

    blocks: tuple[Block, ...]
    link: Link = SOFTMAX

    @classmethod
    def of(
        cls,
        kernel: AnyArray,
        bias: AnyArray,
        start: int = 0,
        link: Link = SOFTMAX,
        origin: Origin = "solved",
        centre: AnyArray | None = None,
    ) -> LinearHead:
        """Make a head of one block: ``kernel [rows, k]``, ``bias [k]`` and, if it holds one, ``centre [rows]``.

        Raises
        ------
        ArgumentError
            The shapes do not fit each other.
        """
        return cls((_block(kernel, bias, start, origin, centre),), link)

    @property
    def num_classes(self) -> int:
        return sum(block.bias.shape[0] for block in self.blocks)

    @property
    def rows(self) -> tuple[int, int]:
        """The range of features that any block reads."""
        return (
            min(block.start for block in self.blocks),
            max(block.stop for block in self.blocks),
        )

    def logits(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Return the scores of features; softmax or sigmoid is not applied."""
        with jax.default_matmul_precision("highest"):
            return joined([block.logits(features) for block in self.blocks])

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the same as `logits`, in float64 on the host."""
        kernel, bias = self.dense(features.shape[1])
        return features.astype(np.float64) @ kernel + bias

    def append(
        self,
        kernel: AnyArray,
        bias: AnyArray,
        start: int = 0,
        origin: Origin = "solved",
        centre: AnyArray | None = None,
    ) -> LinearHead:
        """Return this head with a block of new columns at its end; the old columns are the same arrays."""
        return replace(self, blocks=(*self.blocks, _block(kernel, bias, start, origin, centre)))

    def drop(self, columns: Sequence[int]) -> LinearHead:
        """Return this head without these columns; the others keep their values and their order."""
        gone, kept, first = checked_columns(columns, self.num_classes), [], 0
        for block in self.blocks:
            stay = np.asarray([i for i in range(block.bias.shape[0]) if first + i not in gone], int)
            first += block.bias.shape[0]
            if len(stay) == block.bias.shape[0]:
                kept.append(block)
            elif len(stay):
                kept.append(replace(block, kernel=np.asarray(block.kernel)[:, stay], bias=np.asarray(block.bias)[stay]))
        return replace(self, blocks=tuple(kept))

    def permute(self, order: Sequence[int]) -> LinearHead:
        """Return this head with column ``order[i]`` at place i, as one block a run of columns that stay together."""
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
            replace(
                self.blocks[b],
                kernel=np.asarray(self.blocks[b].kernel)[:, np.asarray(c)],
                bias=np.asarray(self.blocks[b].bias)[np.asarray(c)],
            )
            for b, c in runs
        )
        return replace(self, blocks=blocks)

    def as_linear(self) -> LinearHead:
        """Return this head."""
        return self

    def plain(self) -> LinearHead:
        """Return this head: it has no corrections."""
        return self

    def dense(self, feature_dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the whole head as one kernel float32 ``[feature_dim, k]`` and bias ``[k]``.

        The bias is float32, or float64 where a block has a centre, which is folded into it.
        """
        kernels = []
        for block in self.blocks:
            kernel = np.zeros((feature_dim, block.bias.shape[0]), np.float32)
            kernel[block.start : block.start + block.kernel.shape[0]] = block.kernel
            kernels.append(kernel)
        return np.concatenate(kernels, axis=1), np.concatenate([block.folded() for block in self.blocks])

    def in_one_block(self, feature_dim: int) -> LinearHead:
        """Return a head of the same scores whose columns are one block of `feature_dim` rows."""
        kernel, bias = self.dense(feature_dim)
        first = next((block for block in self.blocks if block.centre is not None), None)
        if first is None:
            return LinearHead.of(kernel, bias, link=self.link)
        centre = np.zeros(feature_dim)
        centre[first.start : first.stop] = first.centre
        parts = [block.folded(centre[block.start : block.stop]) for block in self.blocks]
        return LinearHead.of(kernel, np.concatenate(parts), link=self.link, centre=centre)


def _block(kernel: AnyArray, bias: AnyArray, start: int, origin: Origin, centre: AnyArray | None) -> Block:
    """A block of these arrays; the centre is rounded first, and the bias makes up for it."""
    narrow = np.asarray(kernel, np.float32)
    if narrow.ndim != 2 or np.shape(bias) != narrow.shape[1:] or start < 0:
        raise ArgumentError(
            f"kernel {list(narrow.shape)} and bias {list(np.shape(bias))} given; expected [d, k] and [k]"
        )
    if centre is None or not np.any(centre):
        return Block(narrow, np.asarray(bias, np.float32), start, origin)
    if np.shape(centre) != narrow.shape[:1]:
        raise ArgumentError(f"centre {list(np.shape(centre))} given; expected {list(narrow.shape[:1])}")
    held = np.asarray(centre, np.float32)
    moved = np.asarray(bias, np.float64) + (held - np.asarray(centre, np.float64)) @ np.asarray(kernel, np.float64)
    return Block(narrow, moved.astype(np.float32), start, origin, held)
