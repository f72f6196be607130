"""Scores as predictions compute them: features that are on the host are multiplied there, in batches of one size.

Nothing is compiled, so that nothing is compiled again when a class comes. The size is always the same, so that the
scores of an input do not depend on its company.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float

from extend.heads.base import Head

SIZE = 128
"""The number of rows that are multiplied at once: one row alone costs as much, and 10,000 cost no more each."""


def head_scores(head: Head, rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
    """Return the float32 scores of features."""
    host: Head = jax.tree.map(np.asarray, head)
    rows = np.asarray(rows, np.float32)
    found = np.empty((len(rows), head.num_classes), np.float32)
    for start in range(0, len(rows), SIZE):
        part = rows[start : start + SIZE]
        if len(part) < SIZE:
            part = np.concatenate([part, np.zeros((SIZE - len(part), rows.shape[1]), np.float32)])
        found[start : start + SIZE] = host.logits(part)[: len(rows) - start]  # type: ignore[arg-type]  # NumPy's.
    return found
