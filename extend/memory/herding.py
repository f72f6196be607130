"""Exemplars chosen by herding: which real inputs stand for a class, and how they come back as samples."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Float, Int

from extend.data import Features, InputSpec, Samples
from extend.memory.exemplars import Exemplars, exemplars_each
from extend.memory.memory import Memory


def herd(features: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " m"]:
    """Return the rows whose running mean stays nearest to the mean of all, in that order, `count` of them.

    Features are scaled to unit length, as in iCaRL. It costs O(count n d).
    """
    rows = np.asarray(features, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(length > 0, length, 1.0)
    mean, running = rows.mean(axis=0), np.zeros(rows.shape[1])
    squares, left = (rows**2).sum(axis=1), np.ones(len(rows), bool)
    chosen = []
    for number in range(1, min(count, len(rows)) + 1):
        # |mean - (running + row) / number|^2, without what is the same for every row.
        distance = squares / number**2 - 2 * rows @ (mean / number - running / number**2)
        best = int(np.argmin(np.where(left, distance, np.inf)))
        chosen.append(best)
        left[best] = False
        running += rows[best]
    return np.asarray(chosen, np.int64)


def with_exemplars(memory: Memory, samples: Samples, features: Features, spec: InputSpec) -> Memory:
    """Return a memory with the samples that herding chooses of each class, if it keeps exemplars.

    Held-out samples are never chosen.

    Parameters
    ----------
    memory
        The memory; it holds these samples already.
    samples, features
        Samples of some of the memory's classes, and their features row by row.
    spec
        What one input is. Pictures are kept 8-bit, unless some came as floating-point arrays.

    Raises
    ------
    ArgumentError
        The limit is less than one input for each class.
    """
    kept = memory.exemplars
    if kept is None:
        return memory
    leaves = tuple(np.asarray(leaf) for leaf in jax.tree.leaves(samples.inputs))
    if kept.leaves is not None and [leaf.dtype for leaf in kept.leaves] != [leaf.dtype for leaf in leaves]:
        before = exemplar_samples(memory, spec)
        assert before is not None
        kept = replace(kept, leaves=tuple(jax.tree.leaves(before.batch(0, len(before), spec))))
        leaves = tuple(jax.tree.leaves(samples.batch(0, len(samples), spec)))
    each = exemplars_each(kept.limit, len(memory.classes), sum(leaf[:1].nbytes for leaf in leaves))
    place = np.asarray([memory.classes.index(name) for name in samples.classes])
    free = ~memory.holds(samples.keys, place[samples.labels])
    chosen, ranks = [np.zeros(0, int)], [np.zeros(0, int)]
    for label in np.unique(samples.labels):
        rows = np.flatnonzero((samples.labels == label) & free)
        best = herd(features.features[rows], each)
        chosen.append(rows[best])
        ranks.append(np.arange(len(best)))
    rows = np.concatenate(chosen)
    parts = (place[samples.labels[rows]], samples.keys[rows], np.concatenate(ranks))
    return replace(memory, exemplars=kept.add(tuple(leaf[rows] for leaf in leaves), *parts, len(memory.classes)))


def exemplar_samples(memory: Memory, spec: InputSpec) -> Samples | None:
    """Return the exemplars as samples of the memory's classes; None if there are none."""
    kept: Exemplars | None = memory.exemplars
    if kept is None or kept.leaves is None or not len(kept):
        return None
    inputs = jax.tree.unflatten(jax.tree.structure(spec.structs(1)), kept.leaves)
    return Samples(inputs, kept.labels, memory.classes, kept.keys)


def in_turns(labels: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Return the numbers of all rows, shuffled so that the classes take turns: the first m have every class alike."""
    order = rng.permutation(len(labels))
    turn = np.zeros(len(labels), int)  # How many of its class come before.
    for label in np.unique(labels):
        mine = labels[order] == label
        turn[mine] = np.arange(mine.sum())
    return order[np.argsort(turn, kind="stable")]


def check_limit(limit: int, samples: Samples, k: int, spec: InputSpec, kept: Exemplars | None) -> None:
    """Refuse, before the long work, a limit of exemplars that is less than one input for each of k classes.

    Raises
    ------
    ArgumentError
        The limit is that small.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(samples.inputs)]
    if kept is not None and kept.leaves is not None and [a.dtype for a in kept.leaves] != [a.dtype for a in leaves]:
        leaves = jax.tree.leaves(samples.batch(0, 1, spec))
    exemplars_each(limit, k, sum(leaf[:1].nbytes for leaf in leaves))
