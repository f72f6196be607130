"""How much the answers of a classifier depend on each parameter: the diagonal of the Fisher information.

It tells elastic weight consolidation what to hold fast (EWC, Kirkpatrick et al. 2017, equation 3) and weight averaging
what to trust (CoFiMA, Marouf et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Fisher:
    """Sums over samples of squared gradients of the log-likelihood; they add like counts.

    Parameters
    ----------
    count
        The number of samples.
    values
        For each parameter, by its name, the sums for its numbers.

    Examples
    --------
    >>> one = Fisher(2, {"w": np.array([4.0, 0.0], np.float32)})
    >>> (one + one).mean()["w"].tolist()
    [2.0, 0.0]
    """

    count: int
    values: Mapping[str, Float[np.ndarray, ...]]

    def __add__(self, other: Fisher) -> Fisher:
        names = sorted({*self.values, *other.values})
        zero = np.float32(0)
        summed = {name: np.asarray(self.values.get(name, zero) + other.values.get(name, zero)) for name in names}
        return Fisher(self.count + other.count, summed)

    def mean(self) -> dict[str, Float[np.ndarray, ...]]:
        """Return the mean over the samples."""
        return {name: value / max(self.count, 1) for name, value in self.values.items()}
