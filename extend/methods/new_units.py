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

from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import LinearHead
from extend.heads.links import Link
from extend.memory.memory import Memory
from extend.methods.base import statistics_of
from extend.methods.stand_ins import raw_units, standardise, training_rows

SURE = 4.0
"""A score of 98 %."""


class ForgettingWarning(UserWarning):
    """What was asked for is known to make a classifier forget."""


@dataclass(frozen=True)
class NewUnits:
    """Softmax regression in which only the new columns move, by Adam on the cross-entropy (Kingma & Ba 2015).

    The old columns' scores are constants. Convex in the new columns; classes weigh the same whatever their size.
    Costs O(steps n d k_new), and no memory beyond the draws. Not for a backbone with a transform or width while its own
    softmax head still stands: that head acts on other features than the memory describes.

    Args:
        old: ``"samples"``: old classes are drawn from the memory; ``"exemplars"``: only real rows given as ``old=``
            stand for them; ``"absent"``: they are not there at all, and will be forgotten (a warning says so).
        steps, learning_rate: of Adam, with a cosine decay.
        weight_decay: penalty on the squared new kernel, for standardised features and old scores of unit spread.

    >>> from extend.methods import NewUnits
    >>> NewUnits(steps=100).old
    'samples'
    """

    old: Literal["samples", "exemplars", "absent"] = "samples"
    steps: int = 400
    learning_rate: float = 0.05
    weight_decay: float = 0.1
    needs_memory: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.old not in ("samples", "exemplars", "absent") or self.steps < 1 or self.learning_rate <= 0:
            raise ArgumentError(
                f"{self}: expected old 'samples', 'exemplars' or 'absent', steps >= 1, learning_rate > 0"
            )

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> Calibrated:
        if head is None or head.num_classes == len(new.classes):
            raise ArgumentError("new_units appends columns for new classes, and none of these is new; use lda or ridge")
        head = Calibrated.of(head)
        if not isinstance(head.head, LinearHead):
            raise ArgumentError("new_units appends columns, and the old head is of Gaussians; use a closed form")
        first = head.num_classes
        if self.old == "samples":
            memory = statistics_of(memory, "new_units with old='samples'")
            if head.rows[0] < memory.offset and head.link.exclusive:
                raise ArgumentError(
                    "new_units cannot draw old samples here: the old head acts on the penultimate features, the memory "
                    "describes the transformed ones; use a closed form (lda, ridge) or a backbone without transform"
                )
            part, labels = training_rows(memory, new, first, "gaussian", key)
            rows = np.zeros((len(part), new.features.shape[1]), np.float32)
            rows[:, memory.offset : memory.offset + memory.dim] = part
            start = memory.offset
        else:
            rows, labels, start = new.features, new.labels, memory.offset if memory is not None else 0
            if self.old == "exemplars" and len(np.unique(labels[labels < first])) < first:
                raise ArgumentError(
                    "new_units with old='exemplars' needs real rows of every old class: pass old=(x, y)"
                )
            if self.old == "absent":
                warnings.warn(
                    "new units are trained on the new classes alone: nothing holds their scores down where the old "
                    "classes are, so most old samples will be taken for new ones; use old='samples'",
                    ForgettingWarning,
                    stacklevel=2,
                )
                rows, labels = rows[labels >= first], labels[labels >= first]
        scaled, mean, spread = standardise(rows[:, start:])
        weights = 1 / np.bincount(labels)[labels] / len(np.unique(labels))
        old_scores = np.asarray(head.logits(jnp.asarray(rows)), np.float32)
        scale = max(1e-3, float(old_scores.std()))  # New columns learn in units of the old scores' spread.
        if self.old == "samples" and head.rows[0] < start:  # It is not known of draws.
            scale = SURE  # And to the new columns of a sigmoid the old scores are nothing.
        size = 1 << (len(rows) - 1).bit_length()  # Powers of two: few shapes, few compilations.
        kernel, bias = _train(
            _pad(scaled, size),
            _pad(old_scores, size),
            _pad(labels, size),
            _pad(weights.astype(np.float32), size),
            len(new.classes) - first,
            self.steps,
            self.learning_rate,
            self.weight_decay,
            scale,
            head.link,
        )
        kernel, bias = raw_units(np.asarray(kernel), np.asarray(bias), mean, spread)
        return head.append(kernel * scale, bias * scale, start)


@partial(jax.jit, static_argnames=("count", "steps", "link"))
def _train(
    rows: jax.Array,
    old_scores: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    count: int,
    steps: int,
    learning_rate: float,
    decay: float,
    scale: float,
    link: Link,
) -> tuple[jax.Array, jax.Array]:
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
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
