import numpy as np
SHARE, MOST, FEWEST = 0.1, 50, 10


def held_out_rows(keys: np.ndarray, labels: np.ndarray, *, most: int = MOST) -> np.ndarray:
    """Which samples are held out: a mask bool ``[n]`` that depends on each class's own content keys only.

    A key (uint64 ``[n]``) below a tenth of its range is a candidate; of a class's candidates the `most` smallest are
    held out; a class of fewer than 10 samples holds out none.
    """
    mask = np.zeros(len(keys), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) >= FEWEST:
            candidates = rows[keys[rows] < np.uint64(SHARE * 2.0**64)]
            mask[candidates[np.argsort(keys[candidates], kind="stable")][:most]] = True
    return mask
