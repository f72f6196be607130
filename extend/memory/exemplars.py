"""Real inputs of old classes, kept under a limit of bytes, for methods that replay them.

Chosen by herding (iCaRL, Rebuffi et al. 2017, equation 4) and cut to the same number a class: the limit divided by
the classes, in the order of herding, so that what stays is what would have been chosen for the smaller number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from extend.core.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Inputs of all classes together within `limit` bytes; immutable.

    Parameters
    ----------
    limit
        Bytes.
    leaves
        The inputs: one array ``[m, ...]`` a leaf of the input's tree; pictures stay 8-bit. None: none yet.
    labels, keys, ranks
        Int64, uint64 and int64 ``[m]``: class, content key, and place in the class's herding.

    Examples
    --------
    >>> few = Exemplars(8).add((np.arange(6, dtype=np.uint8)[:, None],), np.repeat([0, 1], 3),
    ...                        np.arange(6, dtype=np.uint64), np.tile([0, 1, 2], 2), 2)
    >>> len(few), replace(few, limit=4).cut(2).leaves[0].ravel().tolist()
    (6, [0, 1, 3, 4])
    """

    limit: int
    leaves: tuple[np.ndarray, ...] | None = None
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    ranks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def bytes(self) -> int:
        """Of one input."""
        return sum(leaf[:1].nbytes for leaf in self.leaves) if self.leaves is not None else 0

    @property
    def nbytes(self) -> int:
        """The bytes of all inputs with their labels, keys and ranks."""
        return sum(array.nbytes for array in (*(self.leaves or ()), self.labels, self.keys, self.ranks))

    def take(self, rows: np.ndarray) -> Exemplars:
        """These rows (numbers or a mask)."""
        leaves = tuple(leaf[rows] for leaf in self.leaves) if self.leaves is not None else None
        return replace(self, leaves=leaves, labels=self.labels[rows], keys=self.keys[rows], ranks=self.ranks[rows])

    def relabel(self, place: np.ndarray) -> Exemplars:
        """Class i becomes class ``place[i]``."""
        return replace(self, labels=place[self.labels]) if len(self) else self

    def add(
        self, leaves: tuple[np.ndarray, ...], label: np.ndarray, key: np.ndarray, rank: np.ndarray, k: int
    ) -> Exemplars:
        """With these samples as well, cut to the limit for k classes. A sample that is there already is kept once.

        Raises
        ------
        ArgumentError
            The limit is less than one input a class.
        """
        known = set(zip(self.labels.tolist(), self.keys.tolist(), strict=True))
        new = np.asarray([pair not in known for pair in zip(label.tolist(), key.tolist(), strict=True)], bool)
        leaves = tuple(leaf[new] for leaf in leaves)
        if self.leaves is not None:
            leaves = tuple(np.concatenate(pair) for pair in zip(self.leaves, leaves, strict=True))
        return replace(
            self,
            leaves=leaves,
            labels=np.concatenate([self.labels, label[new]]),
            keys=np.concatenate([self.keys, key[new]]),
            ranks=np.concatenate([self.ranks, rank[new]]),
        ).cut(k)

    def cut(self, k: int) -> Exemplars:
        """The first by rank of each class, as many as the limit allows k classes; in the order of class and rank."""
        if self.leaves is None:
            return self
        each = exemplars_each(self.limit, k, self.bytes)
        order = np.lexsort((self.keys, self.ranks, self.labels))
        first = np.searchsorted(self.labels[order], self.labels[order])
        return self.take(order[np.arange(len(order)) - first < each])


def exemplars_each(limit: int, k: int, size: int) -> int:
    """How many inputs of so many bytes each of k classes may keep.

    Raises
    ------
    ArgumentError
        Less than one.
    """
    each = limit // (k * max(size, 1))
    if each < 1:
        raise ArgumentError(
            f"exemplars of {limit} bytes are less than one input a class: {k} classes of {size} bytes an input need "
            f"{k * size}; give a larger exemplars=, or 0 to keep none"
        )
    return each
