"""Random crops and mirror images of a batch of pictures, while training."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped


def augment(
    batch: Shaped[np.ndarray, "n ..."],
    rng: np.random.Generator,
    *,
    size: int | None = None,
    padding: int = 0,
    flip: bool = False,
) -> Shaped[np.ndarray, "n ..."]:
    """Return pictures ``[n, h, w, c]`` that are cropped and mirrored at random.

    Parameters
    ----------
    batch
        The pictures. Without any of the three options, inputs of any shape pass unchanged.
    rng
        Draws which pictures are mirrored, and where each is cropped.
    size
        The side of the crops; None crops padded pictures to their own size.
    padding
        The number of pixels by which pictures are padded with their own reflection, if they are cropped to their size.
    flip
        Mirror half of the pictures.

    Examples
    --------
    >>> augment(np.arange(8.0).reshape(1, 2, 4, 1), np.random.default_rng(0), padding=1).shape
    (1, 2, 4, 1)
    """
    if size is None and not padding and not flip:
        return batch
    count, height, width = batch.shape[:3]
    if flip:
        mirrored = np.asarray(rng.random(count) < 0.5)
        batch = np.where(mirrored[:, None, None, None], batch[:, :, ::-1], batch)
    rows, columns = (size, size) if size else (height, width)
    pad = padding if (rows, columns) == (height, width) else 0
    if pad:
        batch = np.pad(batch, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    top = rng.integers(0, batch.shape[1] - rows + 1, count)[:, None] + np.arange(rows)
    left = rng.integers(0, batch.shape[2] - columns + 1, count)[:, None] + np.arange(columns)
    return batch[np.arange(count)[:, None, None], top[:, :, None], left[:, None, :]]
