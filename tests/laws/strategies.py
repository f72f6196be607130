"""Random labelled features with content keys, for the laws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from extend.data import Features


@dataclass
class Labelled:
    """Features float32 ``[n, d]``, labels into k classes, every class present, and keys uint64 ``[n]``."""

    x: np.ndarray
    y: np.ndarray
    keys: np.ndarray
    names: tuple[str, ...]

    def part(self, rows: np.ndarray, classes: int | None = None) -> Features:
        """These rows, as features of the first so many classes."""
        return Features(self.x[rows], self.y[rows], self.names[:classes], self.keys[rows])


@st.composite
def labelled(draw: st.DrawFn, fewest_classes: int = 2, fewest: int = 1) -> Labelled:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.integers(1, 12))
    counts = draw(st.lists(st.integers(fewest, 60), min_size=fewest_classes, max_size=5))
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    centres = rng.normal(size=(len(counts), dim)) * draw(st.sampled_from([0.1, 1.0, 30.0]))
    x = (centres[y] + rng.normal(size=(len(y), dim)) @ rng.normal(size=(dim, dim))).astype(np.float32)
    keys = rng.integers(0, 2**64, len(y), dtype=np.uint64)
    if draw(st.booleans()):
        keys //= np.uint64(4)  # Many candidates for holding out.
    return Labelled(x, y, keys, tuple(f"c{i}" for i in range(len(counts))))


def close(one: np.ndarray, two: np.ndarray, tolerance: float = 1e-6) -> bool:
    """Whether two arrays agree relative to the larger one's size."""
    size = max(np.abs(one).max(initial=0), np.abs(two).max(initial=0), 1e-30)
    return bool(np.abs(one - two).max(initial=0) <= tolerance * size)
