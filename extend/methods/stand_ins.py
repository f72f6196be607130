"""Training rows for methods that are trained: new features, and stand-ins for the old classes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from extend.data.features import Features
from extend.memory.memory import Memory

MOST_DRAWS = 500


def training_rows(
    memory: Memory, new: Features, first_new: int, how: Literal["gaussian", "translated"], key: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows float32 ``[n, d]`` of the memory's part of the features, and labels ``[n]``, every class present.

    A class with rows in `new` is represented by them. For any other: ``"gaussian"`` draws from its memory, or
    ``"translated"``: the rows of the nearest new class, moved to the old mean (FeTrIL, Petit et al. 2023, equation 1).
    """
    part = new.features[:, memory.offset : memory.offset + memory.dim]
    counts = np.bincount(new.labels, minlength=len(new.classes))
    usual = int(min(MOST_DRAWS, max(2, np.median(counts[counts > 0]))))
    mean = memory.statistics.mean
    rows, labels = [part], [new.labels]
    fresh = np.flatnonzero(counts[first_new:]) + first_new
    for label in np.flatnonzero(counts == 0):
        if how == "gaussian":
            drawn = memory.sample(new.classes[label], usual, key)
        else:
            near = fresh[np.argmin(((mean[fresh] - mean[label]) ** 2).sum(axis=1))]
            moved = part[new.labels == near]
            drawn = (moved - moved.mean(axis=0) + mean[label]).astype(np.float32)
        rows.append(drawn)
        labels.append(np.full(len(drawn), label))
    return np.concatenate(rows), np.concatenate(labels)


def standardise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with mean 0 and variance 1 a column, and that mean and spread (constant columns keep spread 1)."""
    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)
    return ((rows - mean) / spread).astype(np.float32), mean, spread


def raw_units(
    kernel: np.ndarray, bias: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A kernel ``[d, k]`` and bias for standardised rows, as kernel and bias for the rows themselves."""
    kernel = np.asarray(kernel, np.float64) / spread[:, None]
    return kernel, bias - mean @ kernel
