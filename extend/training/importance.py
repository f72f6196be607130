"""The importance of a backbone's parameters, measured as the diagonal of the Fisher information."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from extend.backbone import Backbone, batches
from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.data import Samples
from extend.heads import Head, Link
from extend.memory import Fisher, in_turns

SAMPLES, BATCH = 500, 50
"""The largest number of samples to measure on, and how many of them are read at a time."""
Arrays = Mapping[str, Array]
Scores = Callable[[Arrays, PyTree], Float[Array, "n k"]]


def measure_fisher(backbone: Backbone, head: Head, samples: Samples, seed: int = 0) -> Fisher:
    """Measure the Fisher diagonal of a classifier's backbone on at most 500 samples, every class alike.

    Raises
    ------
    ArgumentError
        The backbone has no parameters that a gradient could move.

    Examples
    --------
    >>> from flax import nnx
    >>> from extend import data
    >>> from extend.backbone import FlaxBackbone
    >>> from extend.models import MLP
    >>> model = MLP(2, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    >>> backbone = FlaxBackbone.from_nnx(model, 2, data.Array((4,)))
    >>> samples = data.read({"a": np.eye(4), "b": -np.eye(4)}, backbone.inputs)
    >>> measure_fisher(backbone, backbone.own_head, samples).count
    8
    """
    if not backbone.trainable:
        raise ArgumentError(
            f"fisher= is of a backbone's parameters, and {backbone.description['class']!r} has none that JAX can trace"
        )
    taken = samples.take(in_turns(samples.labels, np.random.default_rng(seed))[:SAMPLES])
    network, space = backbone.params["network"], backbone.params["space"]

    def scores(params: Arrays, batch: PyTree) -> Float[Array, "n k"]:
        return head.logits(
            with_matmul_kernel_gradient(backbone.apply)({"network": {**network, **params}, "space": space}, batch)
        )

    def padded() -> Iterator[tuple[PyTree, Bool[np.ndarray, " n"]]]:
        small = backbone.with_batch_size(min(BATCH, len(taken)))
        for batch, rows in batches(small, taken):
            yield batch, np.arange(small.batch_size) < len(rows)

    params = {name: network[name] for name in backbone.trainable}
    return squared_gradients(scores, params, padded(), head.link, seed)


def squared_gradients(
    scores: Scores,
    params: Mapping[str, Array | np.ndarray],
    batches: Iterable[tuple[PyTree, Bool[np.ndarray, " n"]]],
    link: Link,
    seed: int,
) -> Fisher:
    """Sum the squared gradients of the log-likelihood of labels that are drawn from the classifier itself.

    This is the Fisher diagonal as it is defined (Kunstner et al. 2019). It takes one backward pass for each sample.

    Parameters
    ----------
    scores
        ``(params, batch) -> scores [n, k]``.
    params
        The parameters to differentiate by.
    batches
        Inputs of one shape, and for each row whether it counts.
    link
        Turns scores into probabilities.
    seed
        The seed of the drawn labels.
    """

    def squared(params: Arrays, one: PyTree, key: PRNGKeyArray) -> Arrays:
        def likelihood(params: Arrays) -> Float[Array, ""]:
            row = scores(params, jax.tree.map(lambda leaf: leaf[None], one))[0]
            return link.log_likelihood_of_draw(row, key)

        return jax.tree.map(lambda g: g.astype(jnp.float32) ** 2, jax.grad(likelihood)(params))

    @jax.jit
    def add(params: Arrays, total: Arrays, batch: PyTree, counts: Bool[Array, " n"], key: PRNGKeyArray) -> Arrays:
        def step(total: Arrays, item: tuple[PyTree, Array, PRNGKeyArray]) -> tuple[Arrays, None]:
            one, weight, key = item
            return jax.tree.map(lambda t, g: t + weight * g, total, squared(params, one, key)), None

        keys = jax.random.split(key, len(counts))
        return jax.lax.scan(step, total, (batch, counts.astype(jnp.float32), keys))[0]

    arrays = {name: jnp.asarray(value) for name, value in params.items()}
    total: Arrays = {name: jnp.zeros(value.shape, jnp.float32) for name, value in arrays.items()}
    count = 0
    for number, (batch, valid) in enumerate(batches):
        total = add(arrays, total, batch, valid, jax.random.fold_in(jax.random.key(seed), number))
        count += int(valid.sum())
    return Fisher(count, {name: np.asarray(value) for name, value in total.items()})
