"""TODO"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from extend.backbone.base import Backbone
from extend.data.samples import Samples
from extend.heads.links import Link
from extend.training.augment import augment
from extend.training.settings import Training


def _targets(samples: Samples, k: int, old: int, link: Link) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on, and their targets: labels, or for a sigmoid several labels a content key."""
    if link.exclusive:
        return np.arange(len(samples)), samples.labels
    _, first, place = np.unique(samples.keys, return_index=True, return_inverse=True)
    targets = np.zeros((len(first), k), np.int8)
    targets[place, samples.labels] = 1
    targets[:, :old] = np.where(targets[:, :old] == 1, 1, -1)
    return first, targets


def _batches(
    backbone: Backbone,
    samples: Samples,
    rows: np.ndarray,
    targets: np.ndarray,
    how: Training,
    steps: int,
    draws: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
) -> Callable[[int, int], Any]:
    spec, size = backbone.inputs, how.batch_size
    labels = samples.labels[rows]

    def order(epoch: int) -> np.ndarray:
        rng = np.random.default_rng([seed, epoch])
        total = steps * size
        if not how.balanced:
            return np.resize(rng.permutation(len(rows)), total)
        present = np.unique(labels)
        each = -(-total // len(present))
        chosen = [np.resize(rng.permutation(np.flatnonzero(labels == label)), each) for label in present]
        return rng.permutation(np.concatenate(chosen))[:total]

    orders: dict[int, np.ndarray] = {}

    def batch(epoch: int, number: int) -> Any:
        if epoch not in orders:
            orders.clear()
            orders[epoch] = order(epoch)
        chosen = orders[epoch][number * size : (number + 1) * size]
        rng = np.random.default_rng([seed, epoch, number])
        inputs = jax.tree.map(lambda leaf: leaf[rows[chosen]], samples.inputs)
        if how.padding or how.flip:
            inputs = augment(inputs, rng, padding=how.padding, flip=how.flip)
        part = Samples(inputs, samples.labels[:0], samples.classes, samples.keys[:size])
        made = {"x": part.batch(0, size, spec), "target": targets[chosen], "number": np.int32(epoch * steps + number)}
        if draws is not None:
            picked = rng.integers(0, len(draws[0]), size)
            made |= {"draws": draws[0][picked], "drawn": draws[1][picked]}
        return made

    return batch
