"""What an action changed: the classifier before and the one after, measured on the very same rows.

An action may change what is held out: more samples of a class come with rows of their own, and of a class's candidates
only some stay. Accuracy before minus accuracy after is forgetting only on rows that both memories hold out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool

from extend.classifier.classifier import Classifier
from extend.classifier.evaluation import Evaluation, evaluate, evaluate_features, held_out_evaluation, rows_each
from extend.data import Samples
from extend.heads import Head
from extend.memory import Memory, among, with_label


class Comparison(NamedTuple):
    """The evaluations of an action; None where there was nothing to measure on.

    Parameters
    ----------
    before
        The classifier before the action, on rows of its own classes.
    after
        The classifier after it, on all rows of all of its classes.
    same_rows
        The classifier after it, on the rows of `before`; None where `after` holds no other rows of these classes.
    """

    before: Evaluation | None
    after: Evaluation | None
    same_rows: Evaluation | None = None

    @property
    def old_after(self) -> Evaluation | None:
        """The evaluation after the action whose rows of the old classes are those of `before`."""
        return self.same_rows if self.same_rows is not None else self.after


def compare(old: Classifier, new: Classifier, check: Samples | None = None) -> Comparison:
    """Measure the classifier before an action and the one after it.

    Parameters
    ----------
    old, new
        The classifier before and after the action.
    check
        The samples to measure on; None for the held-out features of the memories.

    Examples
    --------
    >>> import extend
    >>> x = np.random.default_rng(0).normal(size=(400, 2)).astype("float32")
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x[:200], np.repeat([0, 1], 100)))
    >>> more, _ = extend.add_classes(clf, {"b": x[200:]}, on_existing="update")
    >>> found = compare(clf, more)
    >>> found.before.n == found.same_rows.n, found.same_rows.n < found.after.n
    (True, True)
    """
    if check is not None:
        return _on_samples(old, new, check)
    was = old.memory if old.memory is not None else new.memory
    if was is None or new.memory is None:
        return Comparison(_measured(was, old, None), _measured(new.memory, new, None))
    each = rows_each(new.memory, len(new.classes))
    after = _measured(new.memory, new, each)
    left, still = _shared(was, new.memory)
    known, rows = _shared(new.memory, was)
    if after is None or still.sum() == left.sum() == known.sum() == rows.sum():
        return Comparison(_measured(was, old, each), after)
    return Comparison(_on_rows(old, was, still | ~left), after, _on_rows(new, new.memory, rows))


def since_learnt(
    learnt: Mapping[str, float], after: Evaluation | None, same_rows: Evaluation | None = None
) -> float | None:
    """Return the accuracy of all classes when each was learnt, minus their accuracy now, averaged over samples.

    Parameters
    ----------
    learnt
        The accuracy on each class when it was learnt.
    after
        The evaluation of the classifier as it is now. Classes without samples in it are left out.
    same_rows
        The same on rows of before alone, which stands for `after` in the classes that it holds.

    Returns
    -------
    float | None
        The forgetting; None where no class is known in both.

    Examples
    --------
    >>> since_learnt({"a": 1.0, "gone": 1.0}, Evaluation(("a", "b"), np.array([[3, 1], [0, 4]]), 0.2, 0.05))
    0.25
    """
    if after is None:
        return None
    kept = same_rows.by_class if same_rows is not None else {}
    now = after.by_class | kept
    names = [name for name in learnt if name in now]
    totals = after.totals | (same_rows.totals if same_rows is not None else {})
    sizes = np.asarray([totals[name] for name in names])
    lost = np.asarray([learnt[name] - now[name] for name in names])
    return float(sizes @ lost / sizes.sum()) if len(names) else None


_KNOWN: WeakKeyDictionary[Memory, tuple[Head, int | None, Evaluation | None]] = WeakKeyDictionary()
"""What was measured last on a memory: one step's classifier after is the next one's before."""


def _measured(memory: Memory | None, classifier: Classifier, each: int | None) -> Evaluation | None:
    """A classifier on the held-out rows of a memory; not measured again if that was the last measurement on it."""
    if memory is None:
        return None
    head, rows, found = _KNOWN.get(memory, (None, None, None))
    if head is not classifier.head or rows != each or (found is not None and found.classes != classifier.classes):
        found = held_out_evaluation(memory, classifier.head, classifier.classes, each)
        _KNOWN[memory] = classifier.head, each, found
    return found


def _on_samples(old: Classifier, new: Classifier, check: Samples) -> Comparison:
    """Both classifiers on samples that the user gave."""
    rows = np.isin(np.asarray(check.classes)[check.labels], old.classes)
    before = None
    if rows.any():
        known = tuple(name for name in check.classes if name in old.classes)
        place = np.asarray([known.index(n) if n in known else 0 for n in check.classes])
        part = check.take(rows)
        before = evaluate(old, replace(part, labels=place[part.labels], classes=known))
    return Comparison(before, evaluate(new, check))


def _on_rows(classifier: Classifier, memory: Memory, which: Bool[np.ndarray, " h"]) -> Evaluation | None:
    """A classifier on some held-out rows of a memory of its own classes, equal ones counted once."""
    if not which.any():
        return None
    features, labels = memory.held_out
    _, first = np.unique(with_label(memory.held_out_keys, labels)[which], return_index=True)
    rows = np.flatnonzero(which)[first]
    return evaluate_features(classifier.head, classifier.classes, features[rows], labels[rows])


def _shared(memory: Memory, other: Memory) -> tuple[Bool[np.ndarray, " h"], Bool[np.ndarray, " h"]]:
    """Which held-out rows of a memory are of classes of the other, and which the other holds out too."""
    place = {name: number for number, name in enumerate(other.classes)}
    labels = np.asarray([place.get(name, -1) for name in memory.classes])[memory.held_out_labels]
    there = with_label(other.held_out_keys, other.held_out_labels)
    return labels >= 0, (labels >= 0) & among(with_label(memory.held_out_keys, labels), there)
