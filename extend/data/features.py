"""Feature vectors of labelled samples: what a backbone made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int, UInt64

from extend.data.labelled import Labelled


@dataclass(frozen=True, eq=False)
class Features(Labelled):
    """Feature vectors with labels into `classes` and the content keys of the samples that they are of.

    Examples
    --------
    >>> rows = Features(np.eye(2), np.array([0, 1]), ("a", "b"), np.arange(2, dtype=np.uint64))
    >>> rows.take(rows.labels == 1).relabel(("b", "a")).labels.tolist()
    [0]
    """

    features: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    keys: UInt64[np.ndarray, " n"]
    rows_in: ClassVar[str] = "features"
