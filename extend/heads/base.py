"""TODO"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import jax
import numpy as np

from extend.core.errors import ArgumentError

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


def _checked(columns: Sequence[int], k: int) -> set[int]:
    gone = set(columns)
    if not gone <= set(range(k)) or len(gone) == k:
        raise ArgumentError(f"cannot drop columns {sorted(gone)} of a head with {k}")
    return gone
