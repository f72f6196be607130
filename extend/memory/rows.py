"""Which rows are held out, and which of these may choose: by content keys alone, so that memories merge exactly."""

from __future__ import annotations

import numpy as np

SHARE = 0.1
"""The share of candidates for holding out."""
MOST = 50
"""How many candidates of a class are held out at most."""
FEWEST = 10
"""A class of fewer samples holds out none."""
LOWEST = np.uint64(SHARE * 2.0**64)


def held_out_rows(keys: np.ndarray, labels: np.ndarray, *, max_held_out: int = MOST) -> np.ndarray:
    """Which samples are held out: a mask bool ``[n]`` by each class's own content keys (uint64 ``[n]``)."""
    mask = _candidates(keys, labels, max_held_out)
    for label in np.unique(labels):
        if (labels == label).sum() < FEWEST:
            mask[labels == label] = False
    return mask


def choosing(keys: np.ndarray) -> np.ndarray:
    """The half of samples that may choose, by a bit of their content keys uint64 ``[n]``."""
    return (keys & np.uint64(1)) == 0


def _candidates(keys: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    low = np.flatnonzero(keys < LOWEST)
    order = low[np.lexsort((keys[low], labels[low]))]  # By class, then by key.
    first = np.searchsorted(labels[order], labels[order])
    mask = np.zeros(len(keys), bool)
    mask[order[np.arange(len(order)) - first < most]] = True
    return mask


def _low(keys: np.ndarray) -> np.ndarray:
    """Keys moved into the lowest tenth, where samples are held out; the last bit stays, see `Memory.choosing`."""
    keys = np.asarray(keys, np.uint64)
    return keys // np.uint64(20) * np.uint64(2) + (keys & np.uint64(1))
