"""Training rows for methods that are trained: real features, the memory's, and stand-ins where there are none."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from extend.data import Features
from extend.memory import Memory, held_centre

MOST_DRAWS = 500


def training_rows(
    memory: Memory, known: Features, how: Literal["gaussian", "translated"], seed: int
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Return rows of the part of the features that a memory describes, with labels; every class is present.

    Parameters
    ----------
    memory
        The memory of all classes.
    known
        Real features, labelled into the memory's classes. They stand for the classes that they are of; for any other
        class the rows that the memory keeps do.
    how
        What stands for a class of which it keeps none: ``"gaussian"``, draws from its memory; or ``"translated"``, the
        rows of the nearest class that has some, moved to the class's mean.
    seed
        The seed of the draws.

    References
    ----------
    Petit et al. 2023, FeTrIL: feature translation for exemplar-free class-incremental learning, equation 1.
    """
    part = known.features[:, memory.offset : memory.offset + memory.dim]
    usual = int(min(MOST_DRAWS, max(2, np.median(known.counts[known.counts > 0]))))
    mean = memory.statistics.mean
    rows, labels = [part], [known.labels]
    there = np.flatnonzero(known.counts)
    kept, kept_labels, _ = memory.training
    for label in np.flatnonzero(known.counts == 0):
        own = kept_labels == label
        if own.any():
            drawn = kept[own]
        elif how == "gaussian":
            drawn = memory.sample(known.classes[label], usual, seed)
        else:
            near = there[np.argmin(((mean[there] - mean[label]) ** 2).sum(axis=1))]
            moved = part[known.labels == near]
            drawn = (moved - moved.mean(axis=0, dtype=np.float64) + mean[label]).astype(np.float32)
        rows.append(drawn)
        labels.append(np.full(len(drawn), label))
    return np.concatenate(rows), np.concatenate(labels)


def standardise(
    rows: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Return rows with mean 0 and variance 1 in each column, and the mean and spread that they had.

    Constant columns, whose spread is below a millionth of the median or no more than rounding, count as one of median
    spread.
    """
    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    moving = spread > 1e-12 * np.abs(mean)
    usual = float(np.median(spread[moving])) if moving.any() else 1.0
    spread = np.where(moving & (spread > 1e-6 * usual), spread, usual)
    return ((rows - mean) / spread).astype(np.float32), mean, spread


def raw_units(
    kernel: Float[np.ndarray, "d k"],
    bias: Float[np.ndarray, " k"],
    mean: Float[np.ndarray, " d"],
    spread: Float[np.ndarray, " d"],
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"], Float[np.ndarray, " d"]]:
    """Return the kernel, bias and centre for the rows themselves that do what these do for standardised rows."""
    kernel, held = np.asarray(kernel, np.float64) / spread[:, None], held_centre(mean, spread)
    return kernel, bias - (mean - held) @ kernel, held
