"""A memory whose classes have other names, some of them a common one: what renaming and merging classes come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from extend.core.errors import ArgumentError
from extend.memory.memory import Memory
from extend.memory.rows import Rows
from extend.memory.statistics import Statistics, merge, selected


def regrouped(memory: Memory, names: Mapping[str, str]) -> Memory:
    """Return the memory of the same samples under other names; classes that get the same name become one class.

    It is the memory that would have been measured with these names from the start. A class lies where the first class
    of its name lay.

    Parameters
    ----------
    memory
        The memory.
    names
        The new name of each class that gets one.

    Raises
    ------
    ArgumentError
        A class in `names` is not in the memory.

    Examples
    --------
    >>> from extend.data import Features
    >>> keys = np.arange(6, dtype=np.uint64) + 2**63
    >>> m = Memory.of(Features(np.eye(6), np.repeat([0, 1, 2], 2), ("cat", "car", "dog"), keys))
    >>> m = regrouped(m, {"cat": "pet", "dog": "pet"})
    >>> m.classes, m.statistics.count.tolist()
    (('pet', 'car'), [4, 2])
    """
    if unknown := [name for name in names if name not in memory.classes]:
        raise ArgumentError(f"no class {unknown[0]!r}; there are {', '.join(memory.classes[:10])}")
    given = [names.get(name, name) for name in memory.classes]
    classes = tuple(dict.fromkeys(given))
    at = {name: number for number, name in enumerate(classes)}
    place, k = np.asarray([at[name] for name in given]), len(classes)
    apart = k == len(given)
    seen = np.zeros(k, bool)
    np.logical_or.at(seen, place, memory.trained_on)
    kept = memory.exemplars.relabel(place) if memory.exemplars is not None else None
    found = replace(
        memory,
        classes=classes,
        core=memory.core if apart else _joined(memory.core, place, k),
        rows=memory.rows if apart else _relabelled(memory.rows, place),
        trained_on=seen,
        transported=tuple(dict.fromkeys(names.get(name, name) for name in memory.transported)),
        exemplars=kept.unique() if kept is not None and not apart else kept,
        summed=memory.summed if apart else None,
        inverses=memory.inverses if apart else (),
    )
    if apart:
        return found
    found = found._folded()
    if (kept := found.exemplars) is not None and len(kept):
        found = replace(found, exemplars=kept.take(~found.holds(kept.keys, kept.labels)).cut(k))
    return found.with_inverses(*(inverse.strength for inverse in memory.inverses))


def _joined(core: Statistics, place: Int[np.ndarray, " k"], k: int) -> Statistics:
    """Class i becomes class ``place[i]``; of classes that meet, one is merged after the other."""
    found = Statistics.empty(k, core.mean.shape[1], "pooled" if core.scatters is None else "class")
    earlier = np.asarray([int((place[:i] == here).sum()) for i, here in enumerate(place)])
    for turn in range(int(earlier.max()) + 1):
        which = earlier == turn
        found = merge(found, selected(core, which, whole=turn == 0), place[which], k)
    return found


def _relabelled(rows: Rows, place: Int[np.ndarray, " k"]) -> Rows:
    """The rows with class ``place[i]`` for class i; what two of them have in common is there once."""
    return replace(rows, labels=place[rows.labels])._sorted()
