"""What a classifier keeps of the classes it has seen: statistics of their features, and a few held-out features.

The statistics (count, mean and scatter of each class) are sufficient for every closed-form head, and they add: the
memory of two data sets together is the sum of their memories, by the pairwise update of Chan, Golub & LeVeque 1979. All
statistics are float64; an input is never kept.

A sample is a *candidate* for holding out when its content key (uint64) lies in the lowest tenth. The 50 candidates of a
class with the smallest keys are kept apart from the statistics; its other candidates join them. A class of fewer than
10 samples holds out none: all its samples are kept apart and count as statistics, so that methods can be compared by
leaving one out. All this depends on the class's own samples alone, so merging is exact.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from extend.core.errors import ArgumentError
from extend.data import Features
from extend.memory.drift import Drift, carry
from extend.memory.exemplars import Exemplars, united
from extend.memory.fisher import Fisher
from extend.memory.inverse import Inverse, shorter
from extend.memory.rows import FEWEST, MOST, _candidates, _low, choosing
from extend.memory.statistics import Statistics, measure, merge, total_scatter
from extend.memory.strengths import gcv, oas, shared_strength


@dataclass(frozen=True, eq=False)
class Memory:
    """Statistics and held-out features of named classes; immutable.

    Parameters
    ----------
    classes
        The k names.
    core
        The statistics of all samples but the candidates.
    features, labels, keys
        What is kept apart: whole feature vectors (``offset + d`` columns), their classes and their content keys.
    trained_on
        For each class, whether the backbone was trained on its held-out samples.
    offset
        The memory describes ``features[:, offset : offset + d]`` of the classifier's feature vectors.
    max_held_out
        How many candidates of a class are kept apart.
    shrinkage, ridge
        The strengths that were frozen when the classifier was wrapped, in scatter units; None chooses at each fit.
    held_out_used
        Whether the held-out rows that may choose have chosen the feature space.
    inverses
        Inverses of the within-class scatter at these strengths, kept up to date; if empty, each fit solves anew.
    transported
        The classes that were measured before the backbone moved; a drift map may have carried them over.
    exemplars
        Inputs of old classes under a limit of bytes; None keeps none.
    fisher
        How much the classifier depends on each parameter of its backbone; None where that was not measured.

    Examples
    --------
    >>> keys = np.arange(3, dtype=np.uint64) + 2**63
    >>> m = Memory.of(Features(np.eye(3), np.array([0, 0, 1]), ("a", "b"), keys))
    >>> (m + m).statistics.count.tolist()
    [4, 2]
    """

    classes: tuple[str, ...]
    core: Statistics
    features: Float[np.ndarray, "m e"]
    labels: Int[np.ndarray, " m"]
    keys: UInt64[np.ndarray, " m"]
    trained_on: Bool[np.ndarray, " k"]
    offset: int = 0
    max_held_out: int = MOST
    shrinkage: float | None = None
    ridge: float | None = None
    held_out_used: bool = False
    inverses: tuple[Inverse, ...] = ()
    transported: tuple[str, ...] = ()
    exemplars: Exemplars | None = None
    fisher: Fisher | None = None

    @classmethod
    def of(
        cls,
        features: Features,
        *,
        scatter: Literal["class", "pooled"] = "class",
        max_held_out: int = MOST,
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
        max_held_out, trained_on, offset
            See `Memory`; `trained_on` is of all classes.
        """
        rows, labels, keys, k = features.features, features.labels, features.keys, len(features.classes)
        apart = _candidates(keys, labels, max_held_out)
        if max_held_out:
            apart |= np.bincount(labels, minlength=k)[labels] < FEWEST
        core = measure(rows[~apart, offset:], labels[~apart], k, scatter)
        return cls(
            tuple(features.classes),
            core,
            np.asarray(rows[apart], np.float32),
            labels[apart],
            keys[apart],
            np.full(k, trained_on),
            offset,
            max_held_out,
        )

    def with_held_out(
        self, features: Float[np.ndarray, "m e"], labels: Int[np.ndarray, " m"], keys: UInt64[np.ndarray, " m"]
    ) -> Memory:
        """Return this memory with held-out features that the user gives, whatever their keys.

        They count as unseen by the backbone.
        """
        most = max(self.max_held_out, int(np.bincount(labels, minlength=1).max())) if len(labels) else self.max_held_out
        return replace(
            self._absorb(np.ones(len(self.labels), bool)),
            features=np.asarray(features, np.float32),
            labels=labels,
            keys=_low(keys),  # Held out by the user's choice.
            trained_on=np.zeros(len(self.classes), bool),
            max_held_out=most,
            inverses=(),
        )

    @property
    def dim(self) -> int:
        """The number of features that the memory describes, d."""
        return self.core.mean.shape[1]

    @property
    def scatter_mode(self) -> Literal["class", "pooled"]:
        """Whether there is a scatter matrix for each class, or a pooled one for all."""
        return "pooled" if self.core.scatters is None else "class"

    @cached_property
    def _small(self) -> np.ndarray:
        """Rows of classes with fewer than 10 samples in all: they count as statistics, mask bool ``[m]``."""
        return self.total[self.labels] < FEWEST

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics that heads are fitted on: all samples but the held-out ones."""
        return self._absorb(self._small).core if self._small.any() else self.core

    @cached_property
    def held_out(self) -> tuple[Float[np.ndarray, "h e"], Int[np.ndarray, " h"]]:
        """The held-out features, as whole vectors, and their labels."""
        return self.features[~self._small], self.labels[~self._small]

    @property
    def held_out_keys(self) -> UInt64[np.ndarray, " h"]:
        """The content keys of the held-out features."""
        return self.keys[~self._small]

    def holds(
        self, keys: UInt64[np.ndarray, " n"], labels: Int[np.ndarray, " n"] | None = None
    ) -> Bool[np.ndarray, " n"]:
        """Return which samples of these content keys are held out, for these classes or, without labels, for any."""
        if labels is None:
            return np.isin(keys, self.held_out_keys) | np.isin(_low(keys), self.held_out_keys)
        found = np.zeros(len(keys), bool)
        _, held = self.held_out
        for label in np.unique(labels):
            apart = self.held_out_keys[held == label]
            found |= (labels == label) & (np.isin(keys, apart) | np.isin(_low(keys), apart))
        return found

    @property
    def choosing(self) -> Bool[np.ndarray, " h"]:
        """Which held-out rows choose methods and feature spaces; the others place forgetting limits."""
        return choosing(self.held_out_keys)

    @cached_property
    def few(self) -> tuple[Float[np.ndarray, "r d"], Int[np.ndarray, " r"]]:
        """All samples of the classes of 2 to 9 samples, which count as statistics, and their labels.

        A class is left out if some of its samples are known by their statistics alone.
        """
        whole = (self.core.count == 0) & (self.total >= 2)
        rows = self._small & whole[self.labels]
        return self.features[rows, self.offset :].astype(np.float64), self.labels[rows]

    def inverse_at(self, strength: float) -> Inverse | None:
        """Return the inverse that is kept for this strength, if there is one."""
        return next((inverse for inverse in self.inverses if inverse.strength == strength), None)

    @property
    def total(self) -> Int[np.ndarray, " k"]:
        """The number of samples of each class, held-out ones included."""
        return self.core.count + np.bincount(self.labels, minlength=len(self.classes))

    @property
    def nbytes(self) -> int:
        """The bytes that this memory takes in a checkpoint, before compression."""
        held = sum(array.nbytes for array in (self.features, self.labels, self.keys, self.trained_on))
        inverses = sum(inverse.nbytes for inverse in self.inverses)
        exemplars = self.exemplars.nbytes if self.exemplars is not None else 0
        fisher = sum(value.nbytes for value in self.fisher.values.values()) if self.fisher is not None else 0
        return self.core.nbytes + held + inverses + exemplars + fisher

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
        classes = self.classes + tuple(name for name in other.classes if name not in self.classes)
        place = np.asarray([classes.index(name) for name in other.classes], int)
        seen = np.zeros(len(classes), bool)
        seen[: len(self.classes)] = self.trained_on
        seen[place] |= other.trained_on
        merged = replace(
            self,
            classes=classes,
            core=merge(self.core, other.core, place, len(classes)),
            features=np.concatenate([self.features, other.features]),
            labels=np.concatenate([self.labels, place[other.labels]]),
            keys=np.concatenate([self.keys, other.keys]),
            trained_on=seen,
            max_held_out=max(self.max_held_out, other.max_held_out),
            held_out_used=self.held_out_used or other.held_out_used,
            transported=tuple(dict.fromkeys(self.transported + other.transported)),
            exemplars=united(self.exemplars, other.exemplars, place, len(classes)),
            fisher=self.fisher + other.fisher if self.fisher and other.fisher else self.fisher or other.fisher,
        )
        over = (merged.total[merged.labels] >= FEWEST) & ~_candidates(merged.keys, merged.labels, merged.max_held_out)
        merged = merged._absorb(over) if over.any() else merged
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
        if came.scatters is not None and all(scatter.ndim == 2 for scatter in came.scatters):
            rows = np.concatenate([np.zeros((0, self.dim)), *came.scatters])
        apart = len(merged.classes) == len(self.classes) + len(other.classes)
        if apart and rows is not None and shorter(len(rows), self.dim, len(merged.classes)):
            return tuple(inverse.add(rows, known.mean) for inverse in self.inverses)
        return merged.with_inverses(*(inverse.strength for inverse in self.inverses)).inverses

    def with_samples(self, features: Features) -> Memory:
        """Return this memory with the features of more samples, of present classes or of new ones."""
        more = Memory.of(features, scatter=self.scatter_mode, offset=self.offset, max_held_out=self.max_held_out)
        return self + more

    def with_strengths(self) -> Memory:
        """Return this memory with LDA's and ridge's strengths chosen by all that it holds, and frozen from now on.

        Inverses that the memory keeps are computed anew at the new strengths.
        """
        chosen = replace(self, shrinkage=oas(self.statistics), ridge=gcv(self.statistics))
        return chosen.recursive() if self.inverses else chosen

    def recursive(self) -> Memory:
        """Return this memory with the inverses that LDA and ridge need at their strengths, which additions update."""
        return self.with_inverses(self.shared_strength()[0], self.ridge or 0.0)

    def shared_strength(self, share: float | None = None) -> tuple[float, float]:
        """Return lambda in ``S + lambda I`` and the share of shrinkage that it amounts to.

        S is the within-class scatter; lambda is frozen in this memory, or else chosen from its statistics. `share`
        gives the share in place of it.
        """
        return shared_strength(self.statistics, self.shrinkage, share)

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
        if self.core.scatters is None:
            raise ArgumentError(f'class {name!r} cannot be taken out of a pooled scatter; wrap with scatter="class"')
        gone = self.classes.index(name)
        stay = np.arange(len(self.classes)) != gone
        rows = self.labels != gone
        scatters = tuple(s for s, keep in zip(self.core.scatters, stay, strict=True) if keep)
        core = Statistics(self.core.count[stay], self.core.mean[stay], total_scatter(scatters, self.dim), scatters)
        left = replace(
            self,
            classes=tuple(n for n in self.classes if n != name),
            core=core,
            features=self.features[rows],
            labels=np.where(self.labels > gone, self.labels - 1, self.labels)[rows],
            keys=self.keys[rows],
            trained_on=self.trained_on[stay],
            inverses=(),
            transported=tuple(n for n in self.transported if n != name),
            exemplars=self.exemplars.without(gone) if self.exemplars is not None else None,
            fisher=None,  # A class's share of it is not known.
        )
        return left.with_inverses(*(inverse.strength for inverse in self.inverses))

    def transport(self, drift: Drift, own: Drift | None = None) -> Memory:
        """Return the memory as if its classes had been measured with a backbone that moved.

        Means and covariances go through the map by their moments, feature vectors one by one. It costs O(k d^3).

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
        offset = self.offset
        features = drift.rows(self.features[:, offset:])
        if offset:
            assert own is not None
            features = np.concatenate([own.rows(self.features[:, :offset]), features], axis=1)
        known = tuple(name for name in self.classes if name not in self.transported)
        moved = replace(
            self,
            core=carry(self.core, drift),
            features=features.astype(np.float32),
            transported=self.transported + known,
            inverses=(),
        )
        return moved.with_inverses(*(inverse.strength for inverse in self.inverses))

    def sample(self, name: str, n: int, seed: int = 0) -> Float[np.ndarray, "n d"]:
        """Draw n feature vectors from a class's Gaussian; the draws depend on the class's name and the seed alone.

        The covariance is the class's own (the pooled one where only that is kept, or for a single sample).
        """
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return self.statistics.draw(self.classes.index(name), n, np.random.default_rng([seed, digest]))

    def _absorb(self, rows: np.ndarray) -> Memory:
        """This memory with these candidates moved into the statistics."""
        more = measure(self.features[rows, self.offset :], self.labels[rows], len(self.classes), self.scatter_mode)
        core = merge(self.core, more, np.arange(len(self.classes)), len(self.classes))
        return replace(self, core=core, features=self.features[~rows], labels=self.labels[~rows], keys=self.keys[~rows])
