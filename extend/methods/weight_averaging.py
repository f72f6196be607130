"""Averages of old and new weights (CoFiMA, Marouf et al. 2024): what a training moved goes part of the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from extend.heads import LinearHead
from extend.memory import Fisher

Weights = np.ndarray | Array
ONE = np.float32(1)
FLOOR = 1e-3
"""The least trust in a number, as a share of the mean trust in its parameter."""


@dataclass(frozen=True)
class Average:
    """The mean of the weights before and after a training, with this share of those before; 0 keeps those after.

    Examples
    --------
    >>> Average(0.25).mix(np.float32([4.0]), np.float32([0.0])).tolist()
    [1.0]
    """

    share: float

    def mix(
        self,
        before: Weights,
        after: Weights,
        trust: Float[np.ndarray, ...] | np.float32 = ONE,
        distrust: Float[np.ndarray, ...] | np.float32 = ONE,
    ) -> np.ndarray:
        """Return ``(a trust before + (1 - a) distrust after) / (a trust + (1 - a) distrust)``; a is the share."""
        one, two = np.float32(self.share) * trust, np.float32(1 - self.share) * distrust
        mixed = (one * np.asarray(before) + two * np.asarray(after)) / (one + two)
        return mixed.astype(np.asarray(after).dtype)

    def network(self, before: Mapping[str, Weights], after: Mapping[str, Weights]) -> dict[str, np.ndarray]:
        """Return the average of the parameters that changed."""
        return {name: self.mix(before[name], value) for name, value in after.items()}

    def trusted(
        self, before: Mapping[str, Weights], after: Mapping[str, Weights], trust: Fisher, distrust: Fisher
    ) -> dict[str, np.ndarray]:
        """Return the average of the parameters that changed, weighted by the Fisher diagonals before and after.

        Parameters that no Fisher diagonal knows are averaged without it (equation 6 of the paper).
        """
        averaged, old, new = self.network(before, after), trust.mean(), distrust.mean()
        for name in averaged.keys() & old.keys() & new.keys():
            floor = FLOOR * max(float(old[name].mean()), float(new[name].mean())) or 1.0
            averaged[name] = self.mix(before[name], after[name], old[name] + floor, new[name] + floor)
        return averaged

    def head(self, before: LinearHead, after: LinearHead, columns: int) -> LinearHead:
        """Return the trained head of one block with its first `columns` averaged.

        The others stay as they were learnt, as nothing was there before.
        """
        was, block = before.blocks[0], after.blocks[0]
        kernel, bias = np.asarray(block.kernel).copy(), np.asarray(block.bias).copy()
        kernel[:, :columns] = self.mix(was.kernel[:, :columns], kernel[:, :columns])
        bias[:columns] = self.mix(was.bias[:columns], bias[:columns])
        return LinearHead.of(kernel, bias, block.start, after.link, "trained")
