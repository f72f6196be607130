"""Scores as predictions compute them: one compilation, batches of one size."""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Float

from extend.heads.base import Head

_head_logits = jax.jit(lambda head, rows: head.logits(rows))


def head_scores(head: Head, rows: Float[np.ndarray, "n d"], size: int = 1024) -> Float[np.ndarray, "n k"]:
    """Return the float32 scores of features, computed in padded batches of `size` rows."""
    if not len(rows):
        return np.zeros((0, head.num_classes), np.float32)
    parts = []
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        padded = np.concatenate([chunk, np.zeros((size - len(chunk), rows.shape[1]), np.float32)])
        parts.append(_head_logits(head, padded))
    return np.concatenate([np.asarray(part) for part in parts])[: len(rows)]
