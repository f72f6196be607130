"""The batches of a backbone's training: which samples each step sees, and the targets of each sample."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import numpy as np
from jaxtyping import Float, Int, PyTree

from extend.backbone import Backbone
from extend.data import Samples
from extend.heads import Link
from extend.training.augment import augment
from extend.training.settings import Training

Draws = tuple[Float[np.ndarray, "m d"], Int[np.ndarray, " m"]]
"""Feature vectors of classes without samples, and their labels."""


def rows_and_targets(
    samples: Samples, k: int, old: int, link: Link
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, "m ..."]]:
    """Return which rows of the samples to train on, and the target of each.

    Where classes exclude each other a target is a label. Otherwise samples of the same content are one row with several
    labels: its target holds 1 for each of them, 0 for the other new classes, and -1 (not known) for the other ones of
    the first `old` classes.
    """
    if link.exclusive:
        return np.arange(len(samples)), samples.labels
    _, first, place = np.unique(samples.keys, return_index=True, return_inverse=True)
    targets = np.zeros((len(first), k), np.int8)
    targets[place, samples.labels] = 1
    targets[:, :old] = np.where(targets[:, :old] == 1, 1, -1)
    return first, targets


@dataclass(frozen=True, eq=False)
class Batches:
    """The batch of any epoch and step, as a function of these two numbers and the seed.

    Parameters
    ----------
    backbone, training
        Whose inputs are made, and how they are drawn and varied.
    samples, rows, targets
        The samples, and the `rows_and_targets` to train on.
    steps
        The number of steps in an epoch.
    draws
        Feature vectors and their labels; each batch gets as many of them as samples. None for no draws.
    seed
        The seed of every random choice.
    """

    backbone: Backbone
    training: Training
    samples: Samples
    rows: Int[np.ndarray, " m"]
    targets: Int[np.ndarray, "m ..."]
    steps: int
    draws: Draws | None = None
    seed: int = 0
    _orders: dict[int, np.ndarray] = field(default_factory=dict, init=False)

    def __call__(self, epoch: int, number: int) -> dict[str, PyTree]:
        """Return ``x``, ``target`` and ``number``, and with draws also ``draws`` and ``drawn``."""
        size, training = self.training.batch_size, self.training
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = self._order(epoch)
        chosen = self._orders[epoch][number * size : (number + 1) * size]
        rng = np.random.default_rng([self.seed, epoch, number])
        inputs = jax.tree.map(lambda leaf: leaf[self.rows[chosen]], self.samples.inputs)
        if training.padding or training.flip:
            inputs = augment(inputs, rng, padding=training.padding, flip=training.flip)
        made = {
            "x": self.backbone.inputs.prepare(inputs),
            "target": self.targets[chosen],
            "number": np.int32(epoch * self.steps + number),
        }
        if self.draws is not None:
            picked = rng.integers(0, len(self.draws[0]), size)
            made |= {"draws": self.draws[0][picked], "drawn": self.draws[1][picked]}
        return made

    def _order(self, epoch: int) -> Int[np.ndarray, " n"]:
        """Return the places in `rows` of an epoch's samples, in the order in which its steps take them."""
        rng = np.random.default_rng([self.seed, epoch])
        total = self.steps * self.training.batch_size
        if not self.training.balanced:
            return np.resize(rng.permutation(len(self.rows)), total)
        labels = self.samples.labels[self.rows]
        present = np.unique(labels)
        each = -(-total // len(present))
        chosen = [np.resize(rng.permutation(np.flatnonzero(labels == label)), each) for label in present]
        return rng.permutation(np.concatenate(chosen))[:total]
