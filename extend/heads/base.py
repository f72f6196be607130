"""What every head is: a tree of arrays that gives each class one score for each row of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from extend.core.errors import ArgumentError
from extend.heads.links import Link

if TYPE_CHECKING:
    from extend.heads.linear import LinearHead

AnyArray = np.ndarray | jax.Array


class Head(Protocol):
    """A pytree that scores features; immutable."""

    @property
    def num_classes(self) -> int:
        """The number of columns, k."""
        ...

    @property
    def link(self) -> Link:
        """What turns the scores into probabilities."""
        ...

    @property
    def rows(self) -> tuple[int, int]:
        """The range of features that the head reads: first, and one past the last."""
        ...

    def logits(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Return the scores of features, before softmax or sigmoid; JAX can trace it, NumPy's arrays stay NumPy's."""
        ...

    def scores(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the same scores on the host, in float64."""
        ...

    def drop(self, columns: Sequence[int]) -> Head:
        """Return the head without these columns; the others keep their scores and their order."""
        ...

    def as_linear(self) -> LinearHead | None:
        """Return one `LinearHead` with the same scores, or None if no linear head has them."""
        ...

    def plain(self) -> Head:
        """Return the head without corrections that change nothing."""
        ...


def joined(parts: Sequence[AnyArray]) -> Any:
    """Return columns side by side, on the host if all are there."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, axis=1) if all(isinstance(p, np.ndarray) for p in parts) else jnp.concatenate(parts, 1)


def checked_columns(columns: Sequence[int], k: int) -> set[int]:
    """Return the columns to drop as a set; refuse columns that are not there, and dropping all of them."""
    gone = set(columns)
    if not gone <= set(range(k)) or len(gone) == k:
        raise ArgumentError(f"cannot drop columns {sorted(gone)} of a head with {k}")
    return gone
