"""Sentences about classes that overlap: the same samples under two names, and classes that are hardly told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt64

from extend.classifier import Classifier, Evaluation
from extend.data import Features, Samples
from extend.heads import head_scores
from extend.memory import Memory, among, with_label

OFTEN = 0.2
"""Classes are hardly told apart where this share of both is mistaken, each class for the other; half is chance."""
SURELY = 0.1
"""And where the 95 % intervals of these shares say that at least this share is."""
SHOWN = 3
"""How many pairs of classes a report names."""


class Pair(NamedTuple):
    """A new class and another: how many rows of each there are, and how many are taken for the other."""

    new: str
    other: str
    rows: tuple[int, int]
    mistaken: tuple[int, int]
    fitted: bool
    """Whether the rows of the new class are those that it was fitted on, as none are held out."""

    @property
    def share(self) -> float:
        """The mean of the shares that are mistaken."""
        return sum(m / n for m, n in zip(self.mistaken, self.rows, strict=True) if n) / sum(n > 0 for n in self.rows)

    @property
    def at_least(self) -> float:
        """The mean of the lower ends of the 95 % intervals of these shares (Wilson 1927)."""
        lows = [_lower(m, n) for m, n in zip(self.mistaken, self.rows, strict=True) if n]
        return sum(lows) / len(lows)

    def __str__(self) -> str:
        own = "its own samples, on which it was fitted," if self.fitted else f"the samples of {self.new!r} measured"
        text = f"{self.mistaken[0]} of {self.rows[0]} of {own} are taken for {self.other!r}"
        if self.rows[1]:
            text += f", and {self.mistaken[1]} of {self.rows[1]} the other way round"
        return f"{self.new!r} is hardly told apart from {self.other!r}: {text}"


def twice_named(samples: Samples, memory: Memory | None) -> list[str]:
    """Say which classes were given the same samples, among the new ones and against what the memory keeps.

    Parameters
    ----------
    samples
        The new samples.
    memory
        The memory before they came; it keeps content keys of some samples of large classes, and of all of small ones.

    Examples
    --------
    >>> from extend.data import Array, read
    >>> twice_named(read({"a": np.eye(2), "b": np.ones((1, 2)), "c": np.eye(2)[:1]}, Array((2,))), None)
    ["1 sample is there under two names, 'a' and 'c': no head tells them apart"]
    """
    names = np.asarray(samples.classes, object)[samples.labels]
    found = Counter(_pairs(samples.keys, names))
    notes = [f"{_many(count)} there under two names, {a!r} and {b!r}" for (a, b), count in found.most_common()]
    if memory is not None:
        kept, labels = _kept(memory)
        again = among(kept, samples.keys)
        there = among(samples.keys, kept[again])
        known = np.asarray(memory.classes, object)[labels[again]]
        keys = np.concatenate([kept[again], samples.keys[there]])
        both = Counter(_pairs(keys, np.concatenate([known, names[there]]))) - found
        notes += [f"at least {_many(n)} there under two names, {a!r} and {b!r}" for (a, b), n in both.most_common()]
    more = [f"and so are samples of {len(notes) - SHOWN} more pairs of names"] if len(notes) > SHOWN else []
    return [note + ": no head tells them apart" for note in notes[:SHOWN]] + more


def copies(samples: Samples) -> list[str]:
    """Say how many samples of each class are copies of others of the class.

    Examples
    --------
    >>> from extend.data import Array, read
    >>> copies(read({"a": np.ones((4, 2)), "b": np.eye(2)}, Array((2,))))
    ["3 of 4 samples of 'a' are copies of others of the class"]
    """
    _, first = np.unique(with_label(samples.keys, samples.labels), return_index=True)
    again = samples.counts - np.bincount(samples.labels[first], minlength=len(samples.classes))
    found = sorted(np.flatnonzero(again).tolist(), key=lambda label: -again[label])
    notes = [
        f"{again[i]} of {samples.counts[i]} samples of {samples.classes[i]!r} are copies of others of the class"
        for i in found[:SHOWN]
    ]
    return notes + ([f"and so are samples of {len(found) - SHOWN} more classes"] if len(found) > SHOWN else [])


def hardly_told_apart(
    classifier: Classifier, fresh: Features, added: Sequence[str], after: Evaluation | None
) -> list[str]:
    """Say which new classes are hardly told apart from another class, and how much.

    Parameters
    ----------
    classifier
        The classifier that knows the new classes.
    fresh
        The features of the new samples, by which a class is judged that has no samples in `after`.
    added
        The new classes.
    after
        What was measured of all classes; None where nothing was.

    Examples
    --------
    >>> import extend
    >>> x = np.random.default_rng(0).normal(size=(600, 2)).astype("float32")
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], {"a": x[:200] + 9, "b": x[200:400]})
    >>> clf, report = extend.add_classes(clf, {"c": x[400:]}, method="lda")
    >>> report.notes[0].split(":")[0]
    "'c' is hardly told apart from 'b'"
    """
    if not classifier.head.link.exclusive:
        return []
    pairs, told, nothing = [], set(), np.zeros(len(classifier.classes), np.int64)
    counts = nothing if after is None else after.confusion.sum(axis=1)
    for name in added:
        place = classifier.classes.index(name)
        taken, others = (nothing, nothing) if after is None else (after.confusion[place], after.confusion[:, place])
        if fitted := not counts[place]:
            taken = _predicted(classifier, fresh, name)
        told.add(place)
        for other in np.flatnonzero(taken + others):
            if other in told:
                continue
            rows, mistaken = (int(taken.sum()), int(counts[other])), (int(taken[other]), int(others[other]))
            pairs.append(Pair(name, classifier.classes[other], rows, mistaken, fitted))
    pairs = [pair for pair in pairs if pair.share >= OFTEN and pair.at_least >= SURELY]
    pairs.sort(key=lambda pair: -pair.share)
    more = [f"and so are {len(pairs) - SHOWN} more pairs of classes"] if len(pairs) > SHOWN else []
    return [str(pair) for pair in pairs[:SHOWN]] + more


def _kept(memory: Memory) -> tuple[UInt64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Return the content keys of the rows that a memory keeps, and their classes."""
    return memory.rows.keys, memory.rows.labels


def _predicted(classifier: Classifier, fresh: Features, name: str) -> Int[np.ndarray, " k"]:
    """How many of a class's own samples are taken for each class."""
    rows = fresh.features[fresh.labels == fresh.classes.index(name)]
    scores = head_scores(classifier.head, rows)
    return np.bincount(scores.argmax(axis=1), minlength=len(classifier.classes))


def _pairs(keys: UInt64[np.ndarray, " n"], names: np.ndarray) -> Iterator[tuple[str, str]]:
    """Yield the pairs of names of each content key that has more than one."""
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[which] > 1)
    order = several[np.argsort(which[several], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        under = list(dict.fromkeys(names[group]))
        yield from ((under[0], other) for other in under[1:])


def _many(count: int) -> str:
    return "1 sample is" if count == 1 else f"{count} samples are"


def _lower(right: int, n: int) -> float:
    """The lower end of the 95 % interval of a share."""
    return Evaluation(("yes", "no"), np.array([[right, n - right], [0, 0]]), 0.0, 0.0).interval(["yes"])[0]
