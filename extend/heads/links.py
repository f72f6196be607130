"""Links turn scores into probabilities: softmax where classes exclude each other, sigmoid where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from extend.core.errors import ArgumentError

Activation = Literal["softmax", "sigmoid"]
"""The names of the links."""


class Link(Protocol):
    """What turns scores into probabilities, and the losses that belong to it; every method can be traced by JAX."""

    @property
    def name(self) -> str:
        """The name in checkpoints and arguments, such as ``"softmax"``."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether every input belongs to exactly one class."""
        ...

    def probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Return the probability of each class."""
        ...

    def log_probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Return the logarithm of the probability of each class."""
        ...

    def host_log_probabilities(self, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return the same as `log_probabilities`, on the host: nothing is compiled for a number of classes."""
        ...

    def loss(self, scores: Float[Array, "n k"], target: Array) -> Float[Array, " n"]:
        """Return the cross-entropy of each row: of labels ``[n]``, or of several labels ``[n, k]`` a row."""
        ...

    def distil(
        self, teacher: Float[Array, "n k"], student: Float[Array, "n k"], temperature: float
    ) -> Float[Array, ""]:
        """Return how far the student's probabilities are from the teacher's, at least 0."""
        ...

    def log_likelihood_of_draw(self, scores: Float[Array, " k"], key: PRNGKeyArray) -> Float[Array, ""]:
        """Draw labels of one row from its own probabilities, and return their log-likelihood."""
        ...


@dataclass(frozen=True)
class Softmax:
    """One class an input: probabilities sum to 1.

    Examples
    --------
    >>> Softmax().probabilities(jnp.zeros((1, 4))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    name: ClassVar[str] = "softmax"
    exclusive: ClassVar[bool] = True

    def probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return jax.nn.softmax(scores)

    def log_probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return jax.nn.log_softmax(scores)

    def host_log_probabilities(self, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        below = scores - scores.max(axis=1, keepdims=True)
        return below - np.log(np.exp(below).sum(axis=1, keepdims=True))

    def loss(self, scores: Float[Array, "n k"], target: Int[Array, " n"]) -> Float[Array, " n"]:
        return optax.softmax_cross_entropy_with_integer_labels(scores, target)

    def distil(
        self, teacher: Float[Array, "n k"], student: Float[Array, "n k"], temperature: float
    ) -> Float[Array, ""]:
        wanted = jax.nn.softmax(teacher / temperature)
        difference = jax.nn.log_softmax(teacher / temperature) - jax.nn.log_softmax(student / temperature)
        return temperature**2 * (wanted * difference).sum(axis=1).mean()

    def log_likelihood_of_draw(self, scores: Float[Array, " k"], key: PRNGKeyArray) -> Float[Array, ""]:
        return jax.nn.log_softmax(scores)[jax.random.categorical(key, jax.lax.stop_gradient(scores))]


@dataclass(frozen=True)
class Sigmoid:
    """Several classes an input: each class is answered with yes or no by itself.

    Targets of `loss` are 1 (yes), 0 (no) and -1 (not known, which costs nothing).

    Examples
    --------
    >>> Sigmoid().probabilities(jnp.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    name: ClassVar[str] = "sigmoid"
    exclusive: ClassVar[bool] = False

    def probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return jax.nn.sigmoid(scores)

    def log_probabilities(self, scores: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return jax.nn.log_sigmoid(scores)

    def host_log_probabilities(self, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        return -np.logaddexp(np.zeros((), scores.dtype), -scores)

    def loss(self, scores: Float[Array, "n k"], target: Array) -> Float[Array, " n"]:
        known = target >= 0
        errors = optax.sigmoid_binary_cross_entropy(scores, target.astype(scores.dtype))
        return jnp.where(known, errors, 0).sum(axis=1)

    def distil(
        self, teacher: Float[Array, "n k"], student: Float[Array, "n k"], temperature: float
    ) -> Float[Array, ""]:
        wanted = jax.nn.sigmoid(teacher)
        same = optax.sigmoid_binary_cross_entropy(teacher, wanted)
        return (optax.sigmoid_binary_cross_entropy(student, wanted) - same).sum(axis=1).mean()

    def log_likelihood_of_draw(self, scores: Float[Array, " k"], key: PRNGKeyArray) -> Float[Array, ""]:
        drawn = jax.random.bernoulli(key, jax.lax.stop_gradient(jax.nn.sigmoid(scores)))
        return jnp.where(drawn, jax.nn.log_sigmoid(scores), jax.nn.log_sigmoid(-scores)).sum()


SOFTMAX, SIGMOID = Softmax(), Sigmoid()
LINKS: dict[str, Link] = {link.name: link for link in (SOFTMAX, SIGMOID)}


def link_named(name: str | Link) -> Link:
    """Return the link of this name.

    Raises
    ------
    ArgumentError
        There is no link of this name.

    Examples
    --------
    >>> link_named("sigmoid").exclusive
    False
    """
    if name in LINKS.values():
        return LINKS[name.name]  # type: ignore[union-attr]  # It is a link.
    if name not in LINKS:
        raise ArgumentError(f"activation is {name!r}; expected one of {', '.join(map(repr, LINKS))}")
    return LINKS[str(name)]


def host_probabilities(link: Link, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Return the probabilities on the host."""
    found: np.ndarray = np.exp(link.host_log_probabilities(scores))
    return found
