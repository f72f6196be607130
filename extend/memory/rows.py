"""The held-out rule: which samples are kept apart from the statistics, by their content keys alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, UInt64

SHARE = 0.1
"""The share of candidates for holding out."""
MOST = 50
"""How many candidates of a class are held out at most."""
FEWEST = 10
"""A class of fewer samples holds out none."""
"""The share of samples that is held out, the most of one class, and the size below which a class holds out none."""
LOWEST = np.uint64(SHARE * 2.0**64)


def held_out_rows(
    keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"], *, max_held_out: int = MOST
) -> Bool[np.ndarray, " n"]:
    """Return which samples are held out, by each class's own content keys.

    Parameters
    ----------
    keys, labels
        The content key and the class of each sample.
    max_held_out
        The largest number of samples that are held out of one class.

    Examples
    --------
    >>> held_out_rows(np.arange(20, dtype=np.uint64), np.repeat([0, 1], [12, 8]), max_held_out=3).nonzero()[0].tolist()
    [0, 1, 2]
    """
    mask = _candidates(keys, labels, max_held_out)
    for label in np.unique(labels):
        if (labels == label).sum() < FEWEST:
            mask[labels == label] = False
    return mask


def choosing(keys: UInt64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which samples belong to the half that may choose, by a bit of their content keys."""
    return (keys & np.uint64(1)) == 0


def _candidates(keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"], most: int) -> Bool[np.ndarray, " n"]:
    """Which samples would be held out of classes of ten samples or more."""
    low = np.flatnonzero(keys < LOWEST)
    order = low[np.lexsort((keys[low], labels[low]))]  # By class, then by key.
    first = np.searchsorted(labels[order], labels[order])
    mask = np.zeros(len(keys), bool)
    mask[order[np.arange(len(order)) - first < most]] = True
    return mask


def _low(keys: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Keys moved into the lowest tenth, where samples are held out; the last bit stays, see `Memory.choosing`."""
    keys = np.asarray(keys, np.uint64)
    return keys // np.uint64(20) * np.uint64(2) + (keys & np.uint64(1))
