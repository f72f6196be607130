"""Real inputs of old classes, kept under a limit of bytes, for methods that replay them.

They are chosen by herding (iCaRL, Rebuffi et al. 2017, equation 4) and cut to the same number for each class: the limit
divided by the classes. Because they are cut in the order of herding, what stays is what would have been chosen for the
smaller number.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from extend.core.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Inputs of all classes together within a limit of bytes; immutable.

    Parameters
    ----------
    limit
        The limit in bytes.
    leaves
        The inputs: one array ``[m, ...]`` for each leaf of the input's tree; pictures stay 8-bit. None where none were
        kept yet.
    labels, keys, ranks
        The class of each input, its content key, and its place in the herding of its class.

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
        """The bytes of one input."""
        return sum(leaf[:1].nbytes for leaf in self.leaves) if self.leaves is not None else 0

    @property
    def nbytes(self) -> int:
        """The bytes of all inputs with their labels, keys and ranks."""
        return sum(array.nbytes for array in (*(self.leaves or ()), self.labels, self.keys, self.ranks))

    def take(self, rows: np.ndarray) -> Exemplars:
        """Return these rows, given by number or as a mask."""
        leaves = tuple(leaf[rows] for leaf in self.leaves) if self.leaves is not None else None
        return replace(self, leaves=leaves, labels=self.labels[rows], keys=self.keys[rows], ranks=self.ranks[rows])

    def relabel(self, place: np.ndarray) -> Exemplars:
        """Return the same inputs, with ``place[i]`` for class i."""
        return replace(self, labels=place[self.labels]) if len(self) else self

    def unique(self) -> Exemplars:
        """Return these exemplars, each sample of a class once."""
        pairs = np.stack([self.labels.astype(np.uint64), self.keys.astype(np.uint64)], axis=1)
        return self.take(np.sort(np.unique(pairs, axis=0, return_index=True)[1])) if len(self) else self

    def without(self, label: int) -> Exemplars:
        """Return these exemplars without a class; the classes after it move up."""
        left = self.take(self.labels != label)
        return replace(left, labels=np.where(left.labels > label, left.labels - 1, left.labels))

    def add(
        self, leaves: tuple[np.ndarray, ...], label: np.ndarray, key: np.ndarray, rank: np.ndarray, k: int
    ) -> Exemplars:
        """Return these exemplars with more samples, cut to the limit for k classes.

        A sample that is there already is kept once.

        Raises
        ------
        ArgumentError
            The limit is less than one input for each class.
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
        """Return the first of each class by rank, as many as the limit allows for k classes."""
        if self.leaves is None:
            return self
        each = exemplars_each(self.limit, k, self.bytes)
        order = np.lexsort((self.keys, self.ranks, self.labels))
        first = np.searchsorted(self.labels[order], self.labels[order])
        return self.take(order[np.arange(len(order)) - first < each])


def united(one: Exemplars | None, two: Exemplars | None, place: np.ndarray, k: int) -> Exemplars | None:
    """Return both within the first one's limit; class i of `two` is class ``place[i]`` of k."""
    if two is None or two.leaves is None:
        return one.cut(k) if one is not None else two
    base = one if one is not None else Exemplars(two.limit)
    return base.add(two.leaves, place[two.labels], two.keys, two.ranks, k)


def exemplars_each(limit: int, k: int, size: int) -> int:
    """Return how many inputs of `size` bytes each of k classes may keep.

    Raises
    ------
    ArgumentError
        It is less than one.
    """
    each = limit // (k * max(size, 1))
    if each < 1:
        raise ArgumentError(
            f"exemplars of {limit} bytes are less than one input a class: {k} classes of {size} bytes an input need "
            f"{k * size}; give a larger exemplars=, or 0 to keep none"
        )
    return each
