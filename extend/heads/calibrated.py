"""Corrections on top of any head: a scale and an offset for each class, and one temperature, kept apart from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from extend.core.errors import ArgumentError
from extend.heads.base import AnyArray, Head
from extend.heads.linear import Block, LinearHead, Origin
from extend.heads.links import Link
from extend.heads.quadratic import QuadraticHead


@partial(jax.tree_util.register_dataclass, data_fields=("head", "scale", "offset", "temperature"), meta_fields=())
@dataclass(frozen=True, eq=False)
class Calibrated:
    """A head whose scores are corrected: ``logits = scale * head.logits / temperature + offset``.

    Parameters
    ----------
    head
        The head below.
    scale, offset
        float32 ``[k]``.
    temperature
        One number for all scores.

    Examples
    --------
    >>> from dataclasses import replace
    >>> head = Calibrated.of(LinearHead.of(np.eye(2), np.zeros(2)))
    >>> replace(head, offset=np.float32([0, 2])).scores(np.array([[1.0, 0.0]])).tolist()
    [[1.0, 2.0]]
    """

    head: LinearHead | QuadraticHead
    scale: AnyArray
    offset: AnyArray
    temperature: AnyArray | np.float32

    @classmethod
    def of(cls, head: Head) -> Calibrated:
        """Return a head with corrections that change nothing, or with those that it has already."""
        if isinstance(head, Calibrated):
            return head
        assert isinstance(head, (LinearHead, QuadraticHead))
        k = head.num_classes
        return cls(head, np.ones(k, np.float32), np.zeros(k, np.float32), np.float32(1))

    @property
    def num_classes(self) -> int:
        return self.head.num_classes

    @property
    def link(self) -> Link:
        return self.head.link

    @property
    def rows(self) -> tuple[int, int]:
        return self.head.rows

    def logits(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Return the corrected scores of features."""
        return self.head.logits(features) * self.scale / self.temperature + self.offset

    def scores(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the same as `logits`, in float64 on the host."""
        temperature = np.float64(self.temperature)
        return np.float64(self.scale) * self.head.scores(features) / temperature + np.float64(self.offset)

    def as_linear(self) -> LinearHead | None:
        """Return the whole as one `LinearHead`; columns that no correction touches stay the same arrays."""
        if (linear := self.head.as_linear()) is None:
            return None
        gain = np.asarray(self.scale) / np.float32(self.temperature)
        offset, blocks, first = np.asarray(self.offset), [], 0
        for block in linear.blocks:
            mine = slice(first, first + block.bias.shape[0])
            first = mine.stop
            if np.all(gain[mine] == 1) and not np.any(offset[mine]):
                blocks.append(block)
            else:
                kernel = np.asarray(block.kernel) * gain[mine]
                bias = np.asarray(block.bias) * gain[mine] + offset[mine]
                blocks.append(Block(kernel, bias, block.start, centre=block.centre))
        return LinearHead(tuple(blocks), self.link)

    def plain(self) -> Head:
        """Return the head below if the corrections change nothing, else this one."""
        changes = self.temperature != 1 or np.any(self.offset) or np.any(np.asarray(self.scale) != 1)
        return self if changes else self.head

    def dense(self, feature_dim: int) -> tuple[np.ndarray, np.ndarray]:
        """Return kernel and bias of the whole, as `LinearHead.dense` does; only of a linear head.

        Raises
        ------
        ArgumentError
            The head is one of Gaussians.
        """
        if (linear := self.as_linear()) is None:
            raise ArgumentError("a head of Gaussians is no kernel")
        return linear.dense(feature_dim)

    def append(
        self,
        kernel: AnyArray,
        bias: AnyArray,
        start: int = 0,
        origin: Origin = "solved",
        centre: AnyArray | None = None,
    ) -> Calibrated:
        """Return this head with new columns that give these scores; only where the head below is linear."""
        linear = self.head.as_linear()
        if linear is None:
            raise ArgumentError("columns cannot be appended to a head of Gaussians; use a closed form for all classes")
        t, k = np.float32(self.temperature), len(bias)
        scale = np.concatenate([np.asarray(self.scale), np.ones(k, np.float32)])
        offset = np.concatenate([np.asarray(self.offset), np.zeros(k, np.float32)])
        return Calibrated(linear.append(kernel * t, bias * t, start, origin, centre), scale, offset, self.temperature)

    def drop(self, columns: Sequence[int]) -> Calibrated:
        """Return this head without these columns and their corrections."""
        smaller, gone = self.head.drop(columns), set(columns)
        stay = np.asarray([i for i in range(self.num_classes) if i not in gone], int)
        return Calibrated(smaller, np.asarray(self.scale)[stay], np.asarray(self.offset)[stay], self.temperature)

    def correction(self) -> dict[str, list[float] | float]:
        """Return scale, offset and temperature for JSON; `with_correction` puts them back."""
        scale, offset = (np.asarray(values, np.float32).tolist() for values in (self.scale, self.offset))
        return {"scale": scale, "offset": offset, "temperature": float(self.temperature)}

    def with_correction(self, saved: Mapping[str, Any]) -> Calibrated:
        """Return this head with the corrections that `correction` gave."""
        scale, offset = (np.asarray(saved[name], np.float32) for name in ("scale", "offset"))
        return replace(self, scale=scale, offset=offset, temperature=np.float32(saved["temperature"]))
