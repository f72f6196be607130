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
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Activation = Literal["softmax", "sigmoid"]
Array = np.ndarray | jax.Array


class Head(Protocol):
    """A pytree that scores features."""

    @property
    def num_classes(self) -> int: ...

    @property
    def activation(self) -> Activation: ...

    @property
    def rows(self) -> tuple[int, int]:
        """The range of features that it reads."""

    def logits(self, features: jax.Array) -> jax.Array:
        """``[n, d] -> [n, k]``, before softmax or sigmoid."""

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The same on the host, in float64."""

    def drop(self, columns: Sequence[int]) -> Head:
        """Without these columns; the others keep their scores and their order."""
        ...


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
            raise ValueError(f"order {list(order)} is not a permutation of {self.num_classes} columns")
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


QUADRATIC = ("centre", "whiten", "square", "linear", "bias", "factor", "shift", "owner")


@partial(jax.tree_util.register_dataclass, data_fields=QUADRATIC, meta_fields=("start", "activation"))
@dataclass(frozen=True)
class QuadraticHead:
    """``z = (x - centre) whiten``; ``logits = z^2 @ square + z @ linear + bias + (z @ factor - shift)^2 @ owner``.

    A Gaussian a class: `square` is minus half the part of its precision that it shares with all directions, `factor`
    holds the directions in which it differs. float32: centre ``[d]``, whiten ``[d, d]``, square and linear ``[d, k]``,
    bias ``[k]``, factor ``[d, r]`` for the r directions of all classes together, shift ``[r]``; `owner` ``[r, k]`` says
    whose a direction is, and with which sign and weight.

    >>> head = QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]])
    >>> head.scores(np.array([[0.0], [1.0]])).argmax(axis=1).tolist()
    [0, 1]
    """

    centre: Array
    whiten: Array
    square: Array
    linear: Array
    bias: Array
    factor: Array
    shift: Array
    owner: Array
    start: int = 0
    activation: Activation = "softmax"

    @classmethod
    def of(cls, *arrays: Any, start: int = 0) -> QuadraticHead:
        """From arrays of any precision, in the order of the fields."""
        narrow: list[Any] = [np.asarray(array, np.float32) for array in arrays]
        return replace(cls(*narrow), start=start)

    @property
    def num_classes(self) -> int:
        return self.bias.shape[0]

    @property
    def rows(self) -> tuple[int, int]:
        return self.start, self.start + self.centre.shape[0]

    def logits(self, features: jax.Array) -> jax.Array:
        """Log-densities up to a constant, ``[n, k]``, of features ``[n, d]``."""
        with jax.default_matmul_precision("highest"):
            return _quadratic(features[:, slice(*self.rows)], *(getattr(self, name) for name in QUADRATIC))

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The same as `logits`, float64 on the host."""
        wide = (np.asarray(getattr(self, name), np.float64) for name in QUADRATIC)
        return _quadratic(features[:, slice(*self.rows)].astype(np.float64), *wide)

    def drop(self, columns: Sequence[int]) -> QuadraticHead:
        """This head without these classes and their directions."""
        gone = _checked(columns, self.num_classes)
        stay = np.asarray([i for i in range(self.num_classes) if i not in gone], int)
        mine = np.abs(np.asarray(self.owner)[:, stay]).sum(axis=1) > 0
        return replace(
            self,
            square=np.asarray(self.square)[:, stay],
            linear=np.asarray(self.linear)[:, stay],
            bias=np.asarray(self.bias)[stay],
            factor=np.asarray(self.factor)[:, mine],
            shift=np.asarray(self.shift)[mine],
            owner=np.asarray(self.owner)[mine][:, stay],
        )


@partial(jax.tree_util.register_dataclass, data_fields=("head", "scale", "offset", "temperature"), meta_fields=())
@dataclass(frozen=True)
class Calibrated:
    """``logits = scale * head.logits / temperature + offset``: scale and offset float32 ``[k]``, temperature a number.

    >>> head = Calibrated.of(LinearHead.of(np.eye(2), np.zeros(2)))
    >>> replace(head, offset=np.float32([0, 2])).scores(np.array([[1.0, 0.0]])).tolist()
    [[1.0, 2.0]]
    """

    head: LinearHead | QuadraticHead
    scale: Array
    offset: Array
    temperature: Array | np.float32

    @classmethod
    def of(cls, head: Head) -> Calibrated:
        """The head as it is, with scale 1, temperature 1, offset 0 (or its own, if it is calibrated already)."""
        if isinstance(head, Calibrated):
            return head
        assert isinstance(head, (LinearHead, QuadraticHead))
        k = head.num_classes
        return cls(head, np.ones(k, np.float32), np.zeros(k, np.float32), np.float32(1))

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    @property
    def activation(self) -> Activation:
        return self.head.activation

    @property
    def rows(self) -> tuple[int, int]:
        return self.head.rows

    def logits(self, features: jax.Array) -> jax.Array:
        """Scores ``[n, k]`` of features ``[n, d]``."""
        return self.head.logits(features) * jnp.asarray(self.scale) / self.temperature + jnp.asarray(self.offset)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """The same as `logits`, float64 on the host."""
        temperature = np.float64(self.temperature)
        return np.float64(self.scale) * self.head.scores(features) / temperature + np.float64(self.offset)

    def dense(self, feature_dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Kernel float32 ``[feature_dim, k]`` and bias ``[k]`` of the whole; only of a `LinearHead`."""
        if not isinstance(self.head, LinearHead):
            raise ValueError("a head of Gaussians is no kernel")
        kernel, bias = self.head.dense(feature_dim)
        gain = np.asarray(self.scale) / np.float32(self.temperature)
        return kernel * gain, bias * gain + np.asarray(self.offset)

    def append(self, kernel: Array, bias: Array, start: int = 0) -> Calibrated:
        """This head with new columns that give these scores; only on a `LinearHead`."""
        if not isinstance(self.head, LinearHead):
            raise ValueError("columns cannot be appended to a head of Gaussians; use a closed form for all classes")
        t, k = np.float32(self.temperature), len(bias)
        scale = np.concatenate([np.asarray(self.scale), np.ones(k, np.float32)])
        offset = np.concatenate([np.asarray(self.offset), np.zeros(k, np.float32)])
        return Calibrated(self.head.append(kernel * t, bias * t, start), scale, offset, self.temperature)

    def drop(self, columns: Sequence[int]) -> Calibrated:
        """This head without these columns and what belongs to them."""
        smaller, gone = self.head.drop(columns), set(columns)
        stay = np.asarray([i for i in range(self.num_classes) if i not in gone], int)
        return Calibrated(smaller, np.asarray(self.scale)[stay], np.asarray(self.offset)[stay], self.temperature)


def _quadratic(
    x: Any, centre: Any, whiten: Any, square: Any, linear: Any, bias: Any, factor: Any, shift: Any, owner: Any
) -> Any:
    z = (x - centre) @ whiten
    away = z @ factor - shift
    return (z * z) @ square + z @ linear + bias + (away * away) @ owner


def _checked(columns: Sequence[int], k: int) -> set[int]:
    gone = set(columns)
    if not gone <= set(range(k)) or len(gone) == k:
        raise ValueError(f"cannot drop columns {sorted(gone)} of a head with {k}")
    return gone


def _block(kernel: Array, bias: Array, start: int) -> Block:
    kernel, bias = np.asarray(kernel, np.float32), np.asarray(bias, np.float32)
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:] or start < 0:
        raise ValueError(f"kernel {list(kernel.shape)} and bias {list(bias.shape)} given; expected [d, k] and [k]")
    return Block(kernel, bias, start)
