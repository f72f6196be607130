"""What can be read off a memory: held-out rows, rows to train on, sizes, draws."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from extend.memory.exemplars import Exemplars
from extend.memory.fisher import Fisher
from extend.memory.inverse import Inverse
from extend.memory.rows import Rows, _low, among, choosing, rank, with_label
from extend.memory.statistics import Statistics
from extend.memory.strengths import shared_strength


class TrainingRows(NamedTuple):
    """Rows that heads may be fitted on: those of a memory's own features, their labels, and their weights.

    A weight is the number of samples of its class that a row stands for.
    """

    features: Float[np.ndarray, "m d"]
    labels: Int[np.ndarray, " m"]
    weight: Float[np.ndarray, " m"]


class MemoryViews:
    """The base of `extend.memory.Memory`, which says what the attributes are; nothing here changes one."""

    classes: tuple[str, ...]
    core: Statistics
    rows: Rows
    trained_on: Bool[np.ndarray, " k"]
    offset: int
    max_held_out: int
    dtype: str
    shrinkage: float | None
    inverses: tuple[Inverse, ...]
    exemplars: Exemplars | None
    fisher: Fisher | None
    summed: Statistics | None

    @property
    def statistics(self) -> Statistics:
        """The statistics that heads are fitted on: all samples but the held-out ones."""
        raise NotImplementedError  # `Memory` measures them, or has them as additions summed them up.

    @property
    def dim(self) -> int:
        """The number of features that the memory describes, d."""
        return self.core.mean.shape[1]

    @property
    def scatter_mode(self) -> Literal["class", "pooled"]:
        """Whether there is a scatter matrix for each class, or a pooled one for all."""
        return "pooled" if self.core.scatters is None else "class"

    @cached_property
    def _held(self) -> Bool[np.ndarray, " m"]:
        """Which rows are held out."""
        return self.rows.held_out(self.max_held_out, self.core.count)

    @cached_property
    def held_out(self) -> tuple[Float[np.ndarray, "h e"], Int[np.ndarray, " h"]]:
        """The held-out features, as whole vectors, and their labels."""
        return self.rows.features_of(self._held), self.held_out_labels

    def held_out_first(self, each: int) -> tuple[Float[np.ndarray, "h e"], Int[np.ndarray, " h"]]:
        """Return the first so many held-out features of each class, by their keys, and their labels."""
        some = np.flatnonzero(self._held)
        some = some[rank(self.rows.labels[some]) < each]
        if len(some) == len(self.held_out_labels):
            return self.held_out
        which = np.zeros(len(self.rows), bool)
        which[some] = True
        return self.rows.features_of(which), self.rows.labels[some]

    @cached_property
    def held_out_labels(self) -> Int[np.ndarray, " h"]:
        """The classes of the held-out features."""
        return self.rows.labels[self._held]

    @cached_property
    def held_out_keys(self) -> UInt64[np.ndarray, " h"]:
        """The content keys of the held-out features."""
        return self.rows.keys[self._held]

    @cached_property
    def training(self) -> TrainingRows:
        """The rows that heads may be fitted on: all but the held-out ones."""
        rows = self.rows.take(~self._held)
        here = np.bincount(rows.labels, weights=rows.copies, minlength=len(self.classes))
        weight = rows.copies * (self.statistics.count / np.maximum(here, 1))[rows.labels]
        return TrainingRows(rows.features[:, self.offset :], rows.labels, weight)

    def holds(
        self, keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"] | None = None
    ) -> Bool[np.ndarray, " n"]:
        """Return which samples of these content keys are held out, for these classes or, without labels, for any."""
        if labels is None:
            return among(keys, self.held_out_keys) | among(_low(keys), self.held_out_keys)
        apart = with_label(self.held_out_keys, self.held_out_labels)
        return among(with_label(keys, labels), apart) | among(with_label(_low(keys), labels), apart)

    @property
    def choosing(self) -> Bool[np.ndarray, " h"]:
        """Which held-out rows choose methods and feature spaces; the others place forgetting limits."""
        return choosing(self.held_out_keys)

    @cached_property
    def whole(self) -> Bool[np.ndarray, " k"]:
        """Which classes are kept as rows and nothing else."""
        return self.core.count == 0

    def unheld(
        self, seen: Int[np.ndarray, " n"], most: int | None = None
    ) -> tuple[Float[np.ndarray, "r d"], Int[np.ndarray, " r"], Int[np.ndarray, " c"]]:
        """Return rows of the statistics that can be left out one by one, their labels, and the classes that have some.

        They are of the classes that are kept whole and have two different samples, but for the classes in `seen`; as
        even over these as they can be, and at most `most`, where the smallest content keys decide.
        """
        k = len(self.classes)
        different = np.bincount(self.rows.labels[~self._held], minlength=k)
        wanted = self.whole & (different >= 2) & ~np.isin(np.arange(k), seen)
        rows = wanted[self.rows.labels] & ~self._held
        if most is not None and rows.sum() > most:
            there = np.flatnonzero(rows)
            turn = np.arange(len(there)) - np.searchsorted(self.rows.labels[there], self.rows.labels[there])
            rows = np.zeros_like(rows)
            rows[there[np.lexsort((self.rows.keys[there], turn))[:most]]] = True
        features = self.rows.features_of(rows)[:, self.offset :].astype(np.float64)
        return features, self.rows.labels[rows], np.flatnonzero(wanted)

    def inverse_at(self, strength: float) -> Inverse | None:
        """Return the inverse that is kept for this strength, if there is one."""
        return next((inverse for inverse in self.inverses if inverse.strength == strength), None)

    @property
    def total(self) -> Int[np.ndarray, " k"]:
        """The number of samples of each class, held-out ones included."""
        here = np.bincount(self.rows.labels, weights=self.rows.copies, minlength=len(self.classes))
        return self.core.count + here.astype(np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes that this memory takes in a checkpoint, before compression."""
        k, d, (folded,), summed = len(self.classes), self.dim, np.nonzero(self.core.count), self.summed
        packed = 4 * d * (d + 1)
        scatters = self.core.scatters
        own = 0 if scatters is None else sum(8 + scatters.nbytes(label) for label in folded.tolist())
        core = len(folded) * (16 + 8 * d) + own + packed * bool(len(folded))
        inverses = sum(inverse.nbytes for inverse in self.inverses)
        exemplars = self.exemplars.nbytes if self.exemplars is not None else 0
        fisher = sum(value.nbytes for value in self.fisher.values.values()) if self.fisher is not None else 0
        sums = packed if summed is not None and summed.pooled is not None else 0
        return 9 * k + self.rows.stored_bytes(self.dtype) + core + inverses + exemplars + fisher + sums

    def shared_strength(self, share: float | None = None) -> tuple[float, float]:
        """Return lambda in ``S + lambda I`` and the share of shrinkage that it amounts to.

        S is the within-class scatter; lambda is frozen in this memory, or else chosen from its statistics. `share`
        gives the share in place of it.
        """
        return shared_strength(self.statistics, self.shrinkage, share)

    def sample(self, name: str, n: int, seed: int = 0) -> Float[np.ndarray, "n d"]:
        """Draw n feature vectors from a class's Gaussian; the draws depend on the class's name and the seed alone.

        The covariance is the class's own (the pooled one where only that is kept, or for a single sample).
        """
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return self.statistics.draw(self.classes.index(name), n, np.random.default_rng([seed, digest]))
