"""A memory as if some samples had never come: exact for those that are kept as rows, a downdate for folded ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.core.errors import ArgumentError, DataError
from extend.core.linalg import packed_gram, unpack
from extend.data import Features
from extend.memory.memory import Memory
from extend.memory.rows import among, with_label
from extend.memory.statistics import Scatters, Statistics, measure, total_scatter

TOLERANCE = 1e-6
"""A scatter that is negative by more than this share of its trace was never measured from the samples taken out."""


def without_samples(memory: Memory, gone: Features) -> Memory:
    """Return the memory as if these samples had never come; all copies of one go together.

    Rows are taken out. Of what was folded into statistics the samples are subtracted, which is the inverse of Chan's
    update; whether they were in there shows only by a scatter that stays positive.

    Parameters
    ----------
    memory
        The memory.
    gone
        Whole feature vectors, labelled into the memory's classes, with their content keys.

    Raises
    ------
    DataError
        A sample is not in the memory.
    ArgumentError
        A class would have no sample left.

    Examples
    --------
    >>> keys = np.arange(8, dtype=np.uint64) + 2**63
    >>> both = Features(np.eye(8), np.repeat([0, 1], 4), ("a", "b"), keys)
    >>> without_samples(Memory.of(both), both.take(np.arange(8) == 5)).statistics.count.tolist()
    [4, 3]
    """
    kept = ~among(with_label(memory.rows.keys, memory.rows.labels), with_label(gone.keys, gone.labels))
    known = among(with_label(gone.keys, gone.labels), with_label(memory.rows.keys, memory.rows.labels))
    folded = gone.take(_first_of_each(gone) & ~known)
    _check_folded(memory, gone, known, folded)
    k = len(memory.classes)
    core = _subtracted(memory, folded) if len(folded.labels) else memory.core
    rows = memory.rows.take(kept)
    left = core.count + np.bincount(rows.labels[~rows.given], minlength=k)
    was = memory.core.count + np.bincount(memory.rows.labels[~memory.rows.given], minlength=k)
    if len(empty := np.flatnonzero((left == 0) & (was > 0))):
        name = memory.classes[empty[0]]
        raise ArgumentError(f"these are all samples of class {name!r}; take the class away with remove_classes")
    exemplars = memory.exemplars
    if exemplars is not None and len(exemplars):
        theirs = with_label(exemplars.keys, exemplars.labels)
        exemplars = exemplars.take(~among(theirs, with_label(gone.keys, gone.labels)))
    found = replace(memory, core=core, rows=rows, exemplars=exemplars, fisher=None, inverses=(), summed=None)
    return found.with_inverses(*(inverse.strength for inverse in memory.inverses))


def _first_of_each(gone: Features) -> Bool[np.ndarray, " n"]:
    first = np.zeros(len(gone.labels), bool)
    first[np.unique(with_label(gone.keys, gone.labels), return_index=True)[1]] = True
    return first


def _check_folded(memory: Memory, gone: Features, known: Bool[np.ndarray, " n"], folded: Features) -> None:
    """Refuse samples that cannot be in the statistics, as every sample of their class is a row, or too few are not."""
    wanted = np.bincount(folded.labels, minlength=len(memory.classes))
    if len(short := np.flatnonzero(wanted > memory.core.count)):
        name = memory.classes[short[0]]
        place = np.flatnonzero(~known & (gone.labels == short[0]))
        listed = ", ".join(map(str, place[:10].tolist())) + (", ..." if len(place) > 10 else "")
        raise DataError(
            f"samples {listed} are not among those that class {name!r} was measured from: give the very inputs that "
            "were added, under the class that they were added to"
        )


def _subtracted(memory: Memory, gone: Features) -> Statistics:
    """The statistics of the folded samples without these: the inverse of `extend.memory.statistics.merge`."""
    core, k, d = memory.core, len(memory.classes), memory.dim
    theirs = measure(gone.features[:, memory.offset :], gone.labels, k, memory.scatter_mode)
    touched = np.flatnonzero(theirs.count)
    n2, n = theirs.count[touched].astype(np.float64), core.count[touched].astype(np.float64)
    n1 = n - n2
    mean = core.mean.copy()
    rest = (core.mean[touched] * n[:, None] - theirs.mean[touched] * n2[:, None]) / np.maximum(n1, 1)[:, None]
    mean[touched] = np.where(n1[:, None] > 0, rest, 0.0)
    shifts = np.sqrt(n1 * n2 / n)[:, None] * (theirs.mean[touched] - mean[touched])
    count = core.count - theirs.count
    if core.scatters is None:
        pooled = core.within - theirs.within - shifts.T @ shifts
        _check_positive(memory, pooled, touched)
        return Statistics(count, mean, pooled, None)
    assert theirs.scatters is not None
    parts = [core.scatters[label] for label in range(k)]
    for label, shift, left in zip(touched.tolist(), shifts, n1.tolist(), strict=True):
        packed = _packed(parts[label]) - _packed(theirs.scatters[label]) - packed_gram(shift[None])
        _check_positive(memory, unpack(packed), np.asarray([label]))
        parts[label] = packed if left > 1 else np.zeros((0, d))
    return Statistics(count, mean, total_scatter(parts, d), Scatters(parts, d))


def _packed(scatter: np.ndarray) -> np.ndarray:
    return packed_gram(scatter) if scatter.ndim == 2 else scatter


def _check_positive(memory: Memory, scatter: Float[np.ndarray, "d d"], labels: Int[np.ndarray, " _"]) -> None:
    lowest = float(np.linalg.eigvalsh(scatter)[0])
    if lowest < -TOLERANCE * max(float(np.trace(scatter)), np.finfo(float).tiny):
        names = ", ".join(repr(memory.classes[label]) for label in labels[:10])
        raise DataError(f"samples given for {names} were never in its statistics: give the very inputs that were added")
