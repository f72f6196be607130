"""TODO"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from extend.core.errors import ArgumentError
from extend.heads.base import Activation, Array, Head
from extend.heads.linear import LinearHead
from extend.heads.quadratic import QuadraticHead


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
            raise ArgumentError("a head of Gaussians is no kernel")
        kernel, bias = self.head.dense(feature_dim)
        gain = np.asarray(self.scale) / np.float32(self.temperature)
        return kernel * gain, bias * gain + np.asarray(self.offset)

    def append(self, kernel: Array, bias: Array, start: int = 0) -> Calibrated:
        """This head with new columns that give these scores; only on a `LinearHead`."""
        if not isinstance(self.head, LinearHead):
            raise ArgumentError("columns cannot be appended to a head of Gaussians; use a closed form for all classes")
        t, k = np.float32(self.temperature), len(bias)
        scale = np.concatenate([np.asarray(self.scale), np.ones(k, np.float32)])
        offset = np.concatenate([np.asarray(self.offset), np.zeros(k, np.float32)])
        return Calibrated(self.head.append(kernel * t, bias * t, start), scale, offset, self.temperature)

    def drop(self, columns: Sequence[int]) -> Calibrated:
        """This head without these columns and what belongs to them."""
        smaller, gone = self.head.drop(columns), set(columns)
        stay = np.asarray([i for i in range(self.num_classes) if i not in gone], int)
        return Calibrated(smaller, np.asarray(self.scale)[stay], np.asarray(self.offset)[stay], self.temperature)
