"""The feature vectors that a memory keeps, and the rules by which samples are held out and kept, by content keys alone.

Every rule depends on a class's own samples alone, neither on their order nor on the other classes, and is made of the
smallest keys: what the union of two data sets keeps is among what the two keep, so that memories merge exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

SHARE = 0.1
"""The share of samples that is held out of a class: those whose content keys lie in the lowest tenth."""
MOST = 50
"""How many samples of a class are held out at most."""
FEWEST = 10
"""A class of fewer different samples holds out none."""
KEPT = 200
"""How many rows of a class are kept, beside those that may be held out."""
MIX = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, by which a class's number is spread over 64 bits."""
LOWEST = np.uint64(SHARE * 2.0**64)


@dataclass(frozen=True, eq=False)
class Rows:
    """Feature vectors of k classes; each content is there once in a class.

    They lie in the order of their classes and, within a class, of their keys.

    Parameters
    ----------
    blocks
        Whole feature vectors, one block after the other: so adding a class copies none of the others.
    labels, keys
        The class and the content key of each.
    copies
        How many samples of its class have this content.
    given
        Whether the user gave the row to measure with; such a row is never fitted on.
    """

    blocks: tuple[Float[np.ndarray, "_ e"], ...]
    labels: Int[np.ndarray, " m"]
    keys: UInt64[np.ndarray, " m"]
    copies: Int[np.ndarray, " m"]
    given: Bool[np.ndarray, " m"]

    @classmethod
    def of(
        cls,
        features: Float[np.ndarray, "n e"],
        labels: Int[np.ndarray, " n"],
        keys: UInt64[np.ndarray, " n"],
        *,
        given: bool = False,
    ) -> Rows:
        """Sort samples, and count those of the same content in one class."""
        n = len(labels)
        labels, keys = np.asarray(labels, np.int64), np.asarray(keys, np.uint64)
        blocks = (np.asarray(features, np.float32),)
        return cls(blocks, labels, keys, np.ones(n, np.int64), np.full(n, given))._sorted()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """The number of columns, e."""
        return self.blocks[0].shape[1]

    @property
    def features(self) -> Float[np.ndarray, "m e"]:
        """All feature vectors in one array."""
        if len(self.blocks) > 1:
            object.__setattr__(self, "blocks", (np.concatenate(self.blocks),))
        return self.blocks[0]

    def features_of(self, which: Bool[np.ndarray, " m"]) -> Float[np.ndarray, "n e"]:
        """Return the feature vectors of these rows."""
        ends = np.cumsum([len(block) for block in self.blocks])
        found = [block[which[end - len(block) : end]] for block, end in zip(self.blocks, ends, strict=True)]
        return np.concatenate(found) if len(found) > 1 else found[0]

    def stored_bytes(self, dtype: str) -> int:
        """Return the bytes of the rows in a checkpoint, where features are stored as `dtype`; see `encode`."""
        each = 8 + self.width * np.dtype(dtype).itemsize + (0 if dtype == "float32" else 2)
        several = 12 * int((self.copies != 1).sum())
        return len(self) * each + several + 4 * int(self.given.sum())

    def take(self, which: Bool[np.ndarray, " m"]) -> Rows:
        """Return these rows alone."""
        if which.all():
            return self
        features = (self.features_of(which),)
        return Rows(features, self.labels[which], self.keys[which], self.copies[which], self.given[which])

    def united(self, other: Rows, place: Int[np.ndarray, " k2"]) -> Rows:
        """Return the rows of both; class i of `other` is class ``place[i]``."""
        parts = [self, replace(other, labels=place[other.labels])]
        names = ("labels", "keys", "copies", "given")
        both = Rows(
            self.blocks + other.blocks,
            *(np.concatenate([getattr(part, name) for part in parts]) for name in names),
        )
        return both if _rising(both.labels) and _apart(*parts) else both._sorted()

    def _sorted(self) -> Rows:
        order = np.lexsort((self.keys, self.labels))
        labels, keys = self.labels[order], self.keys[order]
        first = np.ones(len(order), bool)
        first[1:] = (labels[1:] != labels[:-1]) | (keys[1:] != keys[:-1])
        starts = np.flatnonzero(first)
        if not len(starts):
            return self
        copies = np.add.reduceat(self.copies[order], starts)
        given = np.logical_or.reduceat(self.given[order], starts)
        return Rows((self.features[order[starts]],), labels[starts], keys[starts], copies, given)

    def candidates(self, most: int) -> Bool[np.ndarray, " m"]:
        """Return which rows would be held out of large classes: the first `most` of the lowest tenth, or the first.

        A class of which the user gave rows to measure with has none.
        """
        place = rank(self.labels)
        low = ((self.keys < LOWEST) | (place == 0)) & (place < most) & ~self.given
        return low & ~np.isin(self.labels, self.labels[self.given]) if self.given.any() else low

    def excess(self, most: int, kept: int) -> Bool[np.ndarray, " m"]:
        """Return which rows are beyond what is kept: the `kept` first, beside candidates and given rows."""
        fixed = self.given | self.candidates(most)
        excess = np.zeros(len(self), bool)
        others = np.flatnonzero(~fixed)
        excess[others[rank(self.labels[others]) >= kept]] = True
        return excess

    def held_out(self, most: int, folded: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " m"]:
        """Return which rows are held out; `folded` counts the samples of each class that are not kept as rows.

        At most half of the different samples of a class are, and none of a class of fewer than ten.
        """
        low = self.candidates(most)
        different = np.bincount(self.labels[~self.given], minlength=len(folded)) + folded
        room = np.where(different < FEWEST, 0, different // 2)
        low &= rank(self.labels) < room[self.labels]  # Candidates are the first rows of their class.
        return low | self.given


def held_out_rows(
    keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"], *, max_held_out: int = MOST
) -> Bool[np.ndarray, " n"]:
    """Return which samples are held out, by each class's own content keys; copies of one sample go together.

    Parameters
    ----------
    keys, labels
        The content key and the class of each sample.
    max_held_out
        The largest number of different samples that are held out of one class.

    Examples
    --------
    >>> held_out_rows(np.arange(20, dtype=np.uint64), np.repeat([0, 1], [12, 8]), max_held_out=3).nonzero()[0].tolist()
    [0, 1, 2]
    """
    mask = np.zeros(len(keys), bool)
    if not len(keys):
        return mask
    rows = Rows.of(np.zeros((len(keys), 0)), labels, keys)
    aside = rows.take(rows.held_out(max_held_out, np.zeros(int(rows.labels.max()) + 1, np.int64)))
    for label in np.unique(aside.labels):
        own = np.flatnonzero(labels == label)
        mask[own[np.isin(keys[own], aside.keys[aside.labels == label])]] = True
    return mask


def choosing(keys: UInt64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which samples belong to the half that may choose, by a bit of their content keys."""
    return (keys & np.uint64(1)) == 0


def as_stored(features: Float[np.ndarray, "m e"], dtype: str) -> Float[np.ndarray, "m e"]:
    """Return features as they are after they were stored as float32, float16 or int8 (`encode`, `decode`)."""
    return features if dtype == "float32" else decode(*encode(features, dtype))


def encode(features: Float[np.ndarray, "m e"], dtype: str) -> tuple[np.ndarray, Int[np.ndarray, " m"]]:
    """Return values of this dtype and a power of two for each row, by which they are to be multiplied.

    A power of two makes this idempotent: what was decoded is encoded to the same bits.
    """
    if dtype == "float32":
        return np.asarray(features, np.float32), np.zeros(len(features), np.int16)
    largest = np.abs(features).max(axis=1, initial=0)
    room = 127 if dtype == "int8" else 2048  # float16: well inside its range, for features of any scale.
    power = np.where(largest > 0, np.ceil(np.log2(np.maximum(largest, 1e-300) / room)), 0).astype(np.int16)
    scaled = np.ldexp(np.asarray(features, np.float64), -power[:, None].astype(np.int64))
    values = np.clip(np.rint(scaled), -127, 127).astype(np.int8) if dtype == "int8" else scaled.astype(np.float16)
    return values, power


def decode(values: np.ndarray, power: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m e"]:
    """Return the features that `encode` stored, float32."""
    if values.dtype == np.float32:
        return values
    return np.ldexp(values.astype(np.float32), power[:, None].astype(np.int64))


def rank(labels: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """Return the place of each row within its class; the rows are sorted by class."""
    if not len(labels):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    return np.arange(len(labels)) - np.repeat(first, np.diff(np.append(first, len(labels))))


def with_label(keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Return content keys that tell the class too."""
    return keys ^ (labels.astype(np.uint64) * MIX)


def among(keys: UInt64[np.ndarray, " n"], few: UInt64[np.ndarray, " m"]) -> Bool[np.ndarray, " n"]:
    """Return which keys are among a few others; faster than ``np.isin``, which sorts all."""
    if not len(few) or not len(keys):
        return np.zeros(len(keys), bool)
    few = np.sort(few)
    return few[np.minimum(np.searchsorted(few, keys), len(few) - 1)] == keys


def _rising(labels: Int[np.ndarray, " m"]) -> bool:
    return bool((labels[1:] >= labels[:-1]).all())


def _apart(one: Rows, two: Rows) -> bool:
    return not len(one) or not len(two) or bool(one.labels[-1] < two.labels[0])


def _low(keys: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Keys moved into the lowest tenth, as the first edition did with rows that a user gave to measure with."""
    keys = np.asarray(keys, np.uint64)
    return keys // np.uint64(20) * np.uint64(2) + (keys & np.uint64(1))
