"""What a classifier keeps of the classes it has seen: rows of their features, and statistics of the other samples.

The rows of a class are those with the smallest content keys: the ones that are held out to measure with, and up to 200
others. What is beyond them is folded into statistics (count, mean and scatter). Statistics are sufficient for every
closed-form head, and they add: the memory of two data sets together is the sum of their memories, by the pairwise
update of Chan, Golub & LeVeque 1979. They are float64; an input is never kept.

A sample is a *candidate* for holding out when its content key (uint64) lies in the lowest tenth, or is the smallest of
its class; of a class's candidates the 50 with the smallest keys are held out, but at most half of its different
samples, and none where it has fewer than 10. All this depends on the class's own samples alone, so merging is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from extend.core.errors import ArgumentError, DataError
from extend.data import Features
from extend.memory.drift import Drift, carry
from extend.memory.exemplars import Exemplars, united
from extend.memory.fisher import Fisher
from extend.memory.inverse import Inverse, shorter
from extend.memory.rows import KEPT, MOST, Rows, as_stored
from extend.memory.statistics import Statistics, measure, merge
from extend.memory.strengths import gcv, oas
from extend.memory.views import MemoryViews

SUMMED = 10
"""With so many rows for each feature the pooled scatter is kept as a sum; it then takes a tenth of the rows' bytes."""


@dataclass(frozen=True, eq=False)
class Memory(MemoryViews):
    """Rows and statistics of named classes; immutable.

    Parameters
    ----------
    classes
        The k names.
    core
        The statistics of the samples that are not kept as rows.
    rows
        What is kept of the samples: whole feature vectors (``offset + d`` columns).
    trained_on
        For each class, whether the backbone was trained on its held-out samples.
    offset
        The memory describes ``features[:, offset : offset + d]`` of the classifier's feature vectors.
    max_held_out, max_rows
        How many candidates of a class are kept, and how many other rows.
    dtype
        How rows are stored: ``"float32"``, ``"float16"`` or ``"int8"``.
    shrinkage, ridge
        The strengths that were frozen when the classifier was wrapped, in scatter units; None chooses at each fit.
    held_out_used
        Whether the held-out rows that may choose have chosen the feature space.
    most_bytes
        What would make the memory larger than this is refused; None refuses nothing.
    inverses
        Inverses of the within-class scatter at these strengths, kept up to date; if empty, each fit solves anew.
    transported
        The classes that were measured before the backbone moved; a drift map may have carried them over.
    exemplars
        Inputs of old classes under a limit of bytes; None keeps none.
    fisher
        How much the classifier depends on each parameter of its backbone; None where that was not measured.
    summed
        The statistics that heads are fitted on, as additions summed them up; None computes them from core and rows.

    Examples
    --------
    >>> keys = np.arange(3, dtype=np.uint64) + 2**63
    >>> m = Memory.of(Features(np.eye(3), np.array([0, 0, 1]), ("a", "b"), keys))
    >>> (m + m).statistics.count.tolist()
    [4, 2]
    """

    classes: tuple[str, ...]
    core: Statistics
    rows: Rows
    trained_on: Bool[np.ndarray, " k"]
    offset: int = 0
    max_held_out: int = MOST
    max_rows: int = KEPT
    dtype: str = "float32"
    shrinkage: float | None = None
    ridge: float | None = None
    held_out_used: bool = False
    most_bytes: int | None = None
    inverses: tuple[Inverse, ...] = ()
    transported: tuple[str, ...] = ()
    exemplars: Exemplars | None = None
    fisher: Fisher | None = None
    summed: Statistics | None = None

    @classmethod
    def of(
        cls,
        features: Features,
        *,
        scatter: Literal["class", "pooled"] = "class",
        max_held_out: int = MOST,
        max_rows: int = KEPT,
        dtype: str = "float32",
        trained_on: bool = False,
        offset: int = 0,
    ) -> Memory:
        """Measure features, which are labelled into their own classes.

        Parameters
        ----------
        features
            Whole feature vectors with their labels and content keys.
        scatter
            ``"class"`` keeps a scatter matrix for each class, ``"pooled"`` one for all.
        max_held_out, max_rows, dtype, trained_on, offset
            See `Memory`; `trained_on` is of all classes.
        """
        k, d = len(features.classes), features.features.shape[1] - offset
        rows = Rows.of(as_stored(features.features, dtype), features.labels, features.keys)
        core, seen = Statistics.empty(k, d, scatter), np.full(k, trained_on)
        whole = cls(tuple(features.classes), core, rows, seen, offset, max_held_out, max_rows, dtype)
        return whole._folded()

    def with_held_out(
        self, features: Float[np.ndarray, "m e"], labels: Int[np.ndarray, " m"], keys: UInt64[np.ndarray, " m"]
    ) -> Memory:
        """Return this memory with held-out features that the user gives, whatever their keys.

        Their classes count as unseen by the backbone. What the memory held out of these is fitted on from now on; a
        sample that is there too is fitted on no longer.

        Raises
        ------
        DataError
            Nothing of a class would be left to fit on.
        """
        given = Rows.of(as_stored(np.asarray(features, np.float32), self.dtype), labels, keys, given=True)
        found = replace(
            self,
            rows=self.rows.united(given, np.arange(len(self.classes))),
            trained_on=self.trained_on & (np.bincount(given.labels, minlength=len(self.classes)) == 0),
            max_held_out=max(self.max_held_out, int(np.bincount(given.labels, minlength=1).max())),
            inverses=(),
            summed=None,
        )._folded()
        if len(gone := np.flatnonzero((found.statistics.count == 0) & (self.statistics.count > 0))):
            raise DataError(
                f"every sample of class {self.classes[gone[0]]!r} is held out as well: give held_out= samples that are "
                "not in the data, or a number of samples to hold out"
            )
        return found

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics that heads are fitted on: all samples but the held-out ones."""
        return self.summed if self.summed is not None else self._measured(None)

    def with_sum(self, pooled: Float[np.ndarray, "d d"]) -> Memory:
        """Return this memory with the pooled scatter of its statistics as additions once summed it up."""
        return replace(self, summed=self._measured(pooled))

    def _measured(self, pooled: np.ndarray | None) -> Statistics:
        k, rows = len(self.classes), self.rows.take(~self._held)
        features = rows.features[:, self.offset :]
        own = measure(features, rows.labels, k, self.scatter_mode, rows.copies, pooled=pooled)
        whole = merge(self.core, own, np.arange(k), k) if self.core.count.any() else own
        return whole if pooled is None else replace(whole, pooled=pooled, factor=None)

    def without_rows(self, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Memory:
        """Return the memory without these rows of its statistics, at the strengths that it has now."""
        gone = np.zeros(len(self.rows), bool)
        for label in np.unique(labels):
            own = np.flatnonzero((self.rows.labels == label) & ~self._held)
            mine = _as_bytes(self.rows.features[own, self.offset :])
            for content, count in zip(
                *np.unique(_as_bytes(features[labels == label]), return_counts=True), strict=True
            ):
                gone[own[np.flatnonzero(mine == content)[:count]]] = True  # Equal features may be of several samples.
        return replace(self, rows=self.rows.take(~gone), inverses=(), summed=None)

    def __add__(self, other: Memory) -> Memory:
        """Return the memory of both data sets together; classes of the same name are one class.

        Raises
        ------
        ArgumentError
            The memories describe different feature spaces or keep scatter differently.
        """
        if (self.dim, self.offset, self.scatter_mode) != (other.dim, other.offset, other.scatter_mode):
            raise ArgumentError(
                f"memories of {self.dim} features ({self.scatter_mode} scatter) and of {other.dim} "
                f"({other.scatter_mode} scatter) cannot be added: they belong to different feature spaces"
            )
        at = {name: i for i, name in enumerate(dict.fromkeys(self.classes + other.classes))}
        place = np.asarray([at[name] for name in other.classes], int)
        seen = np.zeros(len(at), bool)
        seen[: len(self.classes)] = self.trained_on
        seen[place] |= other.trained_on
        limits = [(memory.max_held_out, memory.max_rows) for memory in (self, other)]
        apart = len(at) == len(self.classes) + len(other.classes) and limits[0] == limits[1]
        # A sum is stored; summing few rows anew takes less room, and is soon done.
        apart &= len(self.rows) + len(other.rows) >= SUMMED * self.dim
        merged = replace(
            self,
            classes=tuple(at),
            core=merge(self.core, other.core, place, len(at)),
            rows=self.rows.united(other.rows, place),
            trained_on=seen,
            max_held_out=max(self.max_held_out, other.max_held_out),
            max_rows=max(self.max_rows, other.max_rows),
            held_out_used=self.held_out_used or other.held_out_used,
            transported=tuple(dict.fromkeys(self.transported + other.transported)),
            exemplars=united(self.exemplars, other.exemplars, place, len(at)),
            fisher=self.fisher + other.fisher if self.fisher and other.fisher else self.fisher or other.fisher,
            summed=merge(self.statistics, other.statistics, place, len(at)) if apart else None,
        )._folded()
        if (kept := merged.exemplars) is not None and len(kept):
            merged = replace(merged, exemplars=kept.take(~merged.holds(kept.keys, kept.labels)))
        return replace(merged, inverses=self._inverses_after(other, merged)) if self.inverses else merged

    def with_inverses(self, *strengths: float) -> Memory:
        """Return this memory with inverses of its within-class scatter at these strengths, which additions update."""
        known = self.statistics
        return replace(self, inverses=tuple(Inverse.of(known.within, known.mean, s) for s in dict.fromkeys(strengths)))

    def _inverses_after(self, other: Memory, merged: Memory) -> tuple[Inverse, ...]:
        """By a rank-n update if only whole classes came and that is shorter, else anew."""
        known, came = merged.statistics, other.statistics
        rows = came.factor
        if rows is None and not other.core.count.any():
            fresh = other.rows.take(~other._held)
            rows = (fresh.features[:, self.offset :] - came.mean[fresh.labels]) * np.sqrt(fresh.copies)[:, None]
        apart = len(merged.classes) == len(self.classes) + len(other.classes)
        if apart and rows is not None and shorter(len(rows), self.dim, len(merged.classes)):
            return tuple(inverse.add(rows, known.mean) for inverse in self.inverses)
        return merged.with_inverses(*(inverse.strength for inverse in self.inverses)).inverses

    def with_samples(self, features: Features) -> Memory:
        """Return this memory with the features of more samples, of present classes or of new ones."""
        return self + self.measured_alike(features)

    def measured_alike(self, features: Features) -> Memory:
        """Return a memory of these features alone, which keeps what this one keeps."""
        return Memory.of(
            features,
            scatter=self.scatter_mode,
            max_held_out=self.max_held_out,
            max_rows=self.max_rows,
            dtype=self.dtype,
            offset=self.offset,
        )

    def with_strengths(self) -> Memory:
        """Return this memory with LDA's and ridge's strengths chosen by all that it holds, and frozen from now on.

        Inverses that the memory keeps are computed anew at the new strengths.
        """
        chosen = replace(self, shrinkage=oas(self.statistics), ridge=gcv(self.statistics))
        return chosen.recursive() if self.inverses else chosen

    def recursive(self) -> Memory:
        """Return this memory with the inverses that LDA and ridge need at their strengths, which additions update."""
        return self.with_inverses(self.shared_strength()[0], self.ridge or 0.0)

    def with_exemplar_limit(self, limit: int | None) -> Memory:
        """Return this memory with another limit of exemplars, in bytes; None leaves it as it is, 0 drops them."""
        if limit is None:
            return self
        kept = Exemplars(limit) if self.exemplars is None else replace(self.exemplars, limit=limit)
        return replace(self, exemplars=kept if limit else None)

    def without(self, name: str) -> Memory:
        """Return the memory as if this class had never been added.

        Raises
        ------
        ArgumentError
            There is no such class, or the scatter is pooled, so that the class's share is not known.
        """
        if name not in self.classes:
            raise ArgumentError(f"no class {name!r}; there are {', '.join(self.classes)}")
        gone = self.classes.index(name)
        if self.core.scatters is None and self.core.count[gone]:
            raise ArgumentError(f'class {name!r} cannot be taken out of a pooled scatter; wrap with scatter="class"')
        stay = np.arange(len(self.classes)) != gone
        left_rows = self.rows.take(self.rows.labels != gone)
        place = np.where(stay, np.cumsum(stay) - 1, 0)
        left = replace(
            self,
            classes=tuple(n for n in self.classes if n != name),
            core=self.core.without(gone),
            rows=replace(left_rows, labels=place[left_rows.labels]),
            summed=None,
            trained_on=self.trained_on[stay],
            inverses=(),
            transported=tuple(n for n in self.transported if n != name),
            exemplars=self.exemplars.without(gone) if self.exemplars is not None else None,
            fisher=None,  # A class's share of it is not known.
        )
        return left.with_inverses(*(inverse.strength for inverse in self.inverses))

    def transport(self, drift: Drift, own: Drift | None = None) -> Memory:
        """Return the memory as if its classes had been measured with a backbone that moved.

        Means and covariances go through the map by their moments, held-out feature vectors one by one; other rows are
        folded into the statistics before, as a map of single rows would lose what it does not explain. It costs O(k
        d^3).

        Parameters
        ----------
        drift
            The map of the part of the features that the memory describes.
        own
            The map of the part before it (`offset` columns), where there is one.

        References
        ----------
        Rao et al. 2026, SLDC.
        """
        known, offset = self._without_training_rows(), self.offset
        held = known.rows.features
        features = drift.rows(held[:, offset:])
        if offset:
            assert own is not None
            features = np.concatenate([own.rows(held[:, :offset]), features], axis=1)
        moved = replace(
            known,
            core=carry(known.core, drift),
            rows=replace(known.rows, blocks=(as_stored(features.astype(np.float32), self.dtype),)),
            transported=self.transported + tuple(name for name in self.classes if name not in self.transported),
            inverses=(),
            summed=None,
        )
        return moved.with_inverses(*(inverse.strength for inverse in self.inverses))

    def _folded(self) -> Memory:
        """This memory with what is beyond the rows that are kept moved into the statistics."""
        return self._fold(self.rows.excess(self.max_held_out, self.max_rows))

    def _without_training_rows(self) -> Memory:
        """This memory with all rows but the held-out ones moved into the statistics."""
        return self._fold(~self._held)

    def _fold(self, which: Bool[np.ndarray, " m"]) -> Memory:
        if not which.any():
            return self
        rows, k = self.rows.take(which), len(self.classes)
        more = measure(rows.features[:, self.offset :], rows.labels, k, self.scatter_mode, rows.copies)
        more = replace(more, pooled=more.within, factor=None)
        core = merge(self.core, more, np.arange(k), k) if self.core.count.any() else more
        return replace(self, core=core, rows=self.rows.take(~which))


def _as_bytes(rows: np.ndarray) -> np.ndarray:
    """Each float32 row as one value that can be compared."""
    rows = np.ascontiguousarray(rows, np.float32)
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
