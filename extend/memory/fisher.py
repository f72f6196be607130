"""How much a classifier's answers depend on each parameter: the diagonal of the Fisher information.

It tells elastic weight consolidation what to hold fast (EWC, Kirkpatrick et al. 2017, equation 3) and weight averaging
what to trust (CoFiMA, Marouf et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from extend.heads.links import Link

Scores = Callable[[Any, Any], jax.Array]


@dataclass(frozen=True, eq=False)
class Fisher:
    """Sums over samples of squared gradients of the log-likelihood; they add like counts.

    Args:
        count: samples.
        values: float32 arrays by the name of the parameter.

    >>> one = Fisher(2, {"w": np.array([4.0, 0.0], np.float32)})
    >>> (one + one).mean()["w"].tolist()
    [2.0, 0.0]
    """

    count: int
    values: Mapping[str, np.ndarray]

    def __add__(self, other: Fisher) -> Fisher:
        names = sorted({*self.values, *other.values})
        zero = np.float32(0)
        summed = {name: np.asarray(self.values.get(name, zero) + other.values.get(name, zero)) for name in names}
        return Fisher(self.count + other.count, summed)

    def mean(self) -> dict[str, np.ndarray]:
        """A sample's, on average."""
        return {name: value / max(self.count, 1) for name, value in self.values.items()}


def measure_fisher(
    scores: Scores, params: Mapping[str, Any], batches: Iterable[tuple[Any, np.ndarray]], link: Link, seed: int
) -> Fisher:
    """The Fisher diagonal with labels drawn from the classifier itself, as defined (Kunstner et al. 2019).

    Args:
        scores: ``(params, batch) -> [n, k]``; `params`: those to differentiate by.
        batches: inputs of one shape, and for each row whether it counts, bool ``[n]``.
        link: what turns scores into probabilities.

    n backward passes, one sample at a time.
    """

    @jax.jit
    def squares(params: Any, total: Any, batch: Any, counts: jax.Array, key: jax.Array) -> Any:
        def likelihood(params: Any, one: Any, key: jax.Array) -> jax.Array:
            row = scores(params, jax.tree.map(lambda leaf: leaf[None], one))[0]
            return link.log_likelihood_of_draw(row, key)

        def add(total: Any, item: Any) -> tuple[Any, None]:
            one, weight, key = item
            gradient = jax.grad(likelihood)(params, one, key)
            return jax.tree.map(lambda t, g: t + weight * g.astype(jnp.float32) ** 2, total, gradient), None

        keys = jax.random.split(key, len(counts))
        return jax.lax.scan(add, total, (batch, counts.astype(jnp.float32), keys))[0]

    params = {name: jnp.asarray(value) for name, value in params.items()}
    total: Any = {name: jnp.zeros(value.shape, jnp.float32) for name, value in params.items()}
    count = 0
    for number, (batch, valid) in enumerate(batches):
        total = squares(params, total, batch, valid, jax.random.fold_in(jax.random.key(seed), number))
        count += int(valid.sum())
    return Fisher(count, {name: np.asarray(value) for name, value in total.items()})
