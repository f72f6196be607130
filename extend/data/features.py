"""TODO"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Features:
    """Features float32 ``[n, d]``, labels int64 ``[n]`` into `classes`, content keys uint64 ``[n]``."""

    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Features:
        """These rows (numbers or a mask)."""
        return Features(self.features[rows], self.labels[rows], self.classes, self.keys[rows])

    def relabel(self, classes: tuple[str, ...]) -> Features:
        """The same rows, labelled into `classes`, which must hold every class of these."""
        place = np.asarray([classes.index(name) for name in self.classes], np.int64)
        return replace(self, labels=place[self.labels], classes=classes)
