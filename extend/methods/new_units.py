"""Train only the appended output units; everything old stays bit-identical."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from extend.core.errors import ArgumentError
from extend.data import Features
from extend.heads import Calibrated, Head, Link
from extend.memory import Memory
from extend.methods.base import Appending, Need, statistics_of
from extend.methods.stand_ins import raw_units, standardise, training_rows

SURE = 4.0
"""A score of 98 %."""


class ForgettingWarning(UserWarning):
    """What was asked for is known to make a classifier forget."""


@dataclass(frozen=True)
class NewUnits(Appending):
    """Fit a softmax regression in which only the new columns move, by Adam on the cross-entropy.

    The old columns' scores are constants. The problem is convex in the new columns, and every class weighs the same
    whatever its size. With a sigmoid each new column is a logistic regression of its own. It costs O(steps n d k_new),
    and no memory beyond the draws. Do not use it for a backbone with a transform or width while its own softmax head
    still stands: that head acts on other features than the memory describes.

    Parameters
    ----------
    old
        What stands for old classes. ``"samples"``: draws from the memory; ``"exemplars"``: only real rows given as
        ``old=``; ``"absent"``: nothing, so that they will be forgotten (a warning says so).
    steps, learning_rate
        Of Adam, with a cosine decay.
    weight_decay
        The penalty on the squared new kernel, for standardised features and old scores of unit spread.

    References
    ----------
    Kingma & Ba 2015, Adam: a method for stochastic optimization.

    Examples
    --------
    >>> from extend.methods import NewUnits
    >>> NewUnits(steps=100).old
    'samples'
    """

    old: Literal["samples", "exemplars", "absent"] = "samples"
    steps: int = 400
    learning_rate: float = 0.05
    weight_decay: float = 0.1
    name: ClassVar[str] = "new_units"

    def __post_init__(self) -> None:
        if self.old not in ("samples", "exemplars", "absent") or self.steps < 1 or self.learning_rate <= 0:
            raise ArgumentError(
                f"{self}: expected old 'samples', 'exemplars' or 'absent', steps >= 1, learning_rate > 0"
            )

    @property
    def needs(self) -> frozenset[Need]:
        beside: dict[str, frozenset[Need]] = {
            "samples": frozenset({"memory", "rows"}),
            "exemplars": frozenset({"rows", "old samples"}),
            "absent": frozenset({"rows"}),
        }
        return beside[self.old]

    def fit(self, head: Head, memory: Memory | None, rows: Features, seed: int) -> Head:
        before = self.old_columns(head, rows)
        if before.as_linear() is None:
            raise ArgumentError("new_units appends columns, and the old head is of Gaussians; use a closed form")
        points, labels, start = self._training_rows(before, memory, rows, seed)
        scaled, mean, spread = standardise(points[:, start:])
        weights = 1 / np.bincount(labels)[labels] / len(np.unique(labels))
        old_scores = np.asarray(before.logits(jnp.asarray(points)), np.float32)
        scale = float(old_scores.std()) or 1.0  # New columns learn in units of the old scores' spread.
        if self.old == "samples" and before.rows[0] < start:
            scale = SURE  # That spread is not known of draws, and a sigmoid's new columns do not depend on it.
        size = 1 << (len(points) - 1).bit_length()  # Powers of two: few shapes, few compilations.
        kernel, bias = _train(
            _pad(scaled, size),
            _pad(old_scores, size),
            _pad(labels, size),
            _pad(weights.astype(np.float32), size),
            len(rows.classes) - head.num_classes,
            self.steps,
            self.learning_rate,
            self.weight_decay,
            scale,
            before.link,
        )
        kernel, bias, centre = raw_units(np.asarray(kernel), np.asarray(bias), mean, spread)
        return before.append(kernel * scale, bias * scale, start, centre=centre)

    def _training_rows(
        self, head: Calibrated, memory: Memory | None, known: Features, seed: int
    ) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"], int]:
        """The rows to train on, their labels, and the first feature that the new columns read."""
        if self.old == "samples":
            memory = statistics_of(memory, "new_units with old='samples'")
            if head.rows[0] < memory.offset and head.link.exclusive:
                raise ArgumentError(
                    "new_units cannot draw old samples here: the old head acts on the penultimate features, the memory "
                    "describes the transformed ones; use a closed form (lda, ridge) or a backbone without transform"
                )
            part, labels = training_rows(memory, known, "gaussian", seed)
            rows = np.zeros((len(part), known.features.shape[1]), np.float32)
            rows[:, memory.offset : memory.offset + memory.dim] = part
            return rows, labels, memory.offset
        rows, labels, first = known.features, known.labels, head.num_classes
        if self.old == "exemplars" and (known.counts[:first] == 0).any():
            raise ArgumentError("new_units with old='exemplars' needs real rows of every old class: pass old=(x, y)")
        if self.old == "absent":
            warnings.warn(
                "new units are trained on the new classes alone: nothing holds their scores down where the old classes "
                "are, so most old samples will be taken for new ones; use old='samples'",
                ForgettingWarning,
                stacklevel=2,
            )
            rows, labels = rows[labels >= first], labels[labels >= first]
        return rows, labels, memory.offset if memory is not None else 0


@partial(jax.jit, static_argnames=("count", "steps", "link"))
def _train(
    rows: Float[Array, "n d"],
    old_scores: Float[Array, "n old"],
    labels: Int[Array, " n"],
    weights: Float[Array, " n"],
    count: int,
    steps: int,
    learning_rate: float,
    decay: float,
    scale: float,
    link: Link,
) -> tuple[Float[Array, "d new"], Float[Array, " new"]]:
    """Minimise the weighted cross-entropy over `count` new columns, which begin at 0."""

    def loss(units: tuple[jax.Array, jax.Array]) -> jax.Array:
        kernel, bias = units
        scores = jnp.concatenate([old_scores, scale * (rows @ kernel + bias)], axis=1)
        target = labels if link.exclusive else jax.nn.one_hot(labels, scores.shape[1])
        errors = link.loss(scores, target)
        return (weights * errors).sum() + decay * (kernel**2).sum()

    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    units = (jnp.zeros((rows.shape[1], count)), jnp.zeros(count))

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        units, moments = state
        update, moments = optimiser.update(jax.grad(loss)(units), moments)
        return (optax.apply_updates(units, update), moments), None

    return jax.lax.scan(step, (units, optimiser.init(units)), None, length=steps)[0][0]


def _pad(array: np.ndarray, size: int) -> np.ndarray:
    """The array with rows of zeros up to a size."""
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
