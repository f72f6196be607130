"""The offsets that earlier forgetting limits gave to classes stay when the columns are solved anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from extend.heads import Calibrated, Head
from extend.memory import Memory


def with_offsets(head: Head, old: Head, memory: Memory | None) -> Head:
    """Return a head whose columns for the old classes keep the offsets of the old head.

    Where the new scores are of another size (another method, another temperature), the offsets are of that size too, by
    the spread of both heads' scores on the held-out rows. Columns that were appended to the old head have its offsets
    already.
    """
    before, now = Calibrated.of(old), Calibrated.of(head)
    if not np.any(before.offset):
        return head
    if np.any(now.offset):
        return now  # Columns were appended to the old head, offsets and all.
    ratio = 1.0
    rows = memory.held_out[0] if memory is not None else np.zeros((0, 0))
    if len(rows):
        k = old.num_classes
        both = before.scores(rows) - np.asarray(before.offset), now.scores(rows)[:, :k]
        spreads = [float((s - s.mean(axis=1, keepdims=True)).std()) for s in both]
        ratio = spreads[1] / spreads[0] if all(spreads) else 1.0
    kept = np.asarray(before.offset) * np.float32(ratio if not 0.8 < ratio < 1.25 else 1.0)
    padded = np.concatenate([kept, np.zeros(now.num_classes - len(kept), np.float32)])
    return replace(now, offset=np.asarray(now.offset) + padded)
