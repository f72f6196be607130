"""TODO"""

from __future__ import annotations

import jax
import numpy as np

from extend.heads.base import Head

_head_logits = jax.jit(lambda head, rows: head.logits(rows))


def head_scores(head: Head, rows: np.ndarray, size: int = 1024) -> np.ndarray:
    """Scores float32 ``[n, k]`` of features ``[n, d]``, in padded batches, as predictions compute them."""
    if not len(rows):
        return np.zeros((0, head.num_classes), np.float32)
    parts = []
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        padded = np.concatenate([chunk, np.zeros((size - len(chunk), rows.shape[1]), np.float32)])
        parts.append(_head_logits(head, padded))
    return np.concatenate([np.asarray(part) for part in parts])[: len(rows)]
