"""What an operation did to a classifier, measured on its memory's held-out features or on the user's samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from extend import data
from extend.classifier.classifier import Classifier
from extend.classifier.evaluation import Evaluation, evaluate, evaluate_features
from extend.heads.base import Head
from extend.memory.memory import Memory


def held_out_evaluation(memory: Memory | None, head: Any, classes: tuple[str, ...]) -> Evaluation | None:
    """A head measured on those held-out features whose classes it knows; None if there are none."""
    if memory is None:
        return None
    rows, labels = memory.held_out
    known = np.asarray([memory.classes[label] in classes for label in labels], bool)
    if not known.any():
        return None
    place = np.asarray([classes.index(memory.classes[label]) for label in labels[known]])
    return evaluate_features(head, classes, rows[known], place)


def measure(
    old: Classifier, new: Classifier, check: data.Samples | None
) -> tuple[Evaluation | None, Evaluation | None, str]:
    """Old classifier on the old classes, new one on all, and on what they were measured."""
    if check is not None:
        rows = np.isin(np.asarray(check.classes)[check.labels], old.classes)
        before = None
        if rows.any():
            known = tuple(name for name in check.classes if name in old.classes)
            place = np.asarray([known.index(n) if n in known else 0 for n in check.classes])
            part = check.take(rows)
            before = evaluate(old, replace(part, labels=place[part.labels], classes=known))
        return before, evaluate(new, check), "validation samples" + _likeliest(new.head)
    before = held_out_evaluation(old.memory if old.memory is not None else new.memory, old.head, old.classes)
    after = held_out_evaluation(new.memory, new.head, new.classes)
    if after is None or new.memory is None:
        return before, None, "nothing"
    return before, after, held_out_words(new.memory, new.head)


def held_out_words(memory: Memory, head: Head) -> str:
    """What figures from a memory's held-out features are worth."""
    present = np.unique(memory.held_out[1])
    words = "held-out features"
    if memory.trained_on[present].any():
        words += " (seen by the backbone: optimistic, no guarantee)"
    if any(memory.classes[label] in memory.transported for label in present):
        words += " (of a backbone that moved since: estimated)"
    return words + _likeliest(head)


def _likeliest(head: Head) -> str:
    return " (the likeliest class alone counts, though several may be right)" if not head.link.exclusive else ""


def right(memory: Memory | None, head: Any, classes: tuple[str, ...], names: tuple[str, ...]) -> Mapping[str, float]:
    measured = held_out_evaluation(memory, head, classes)
    return {} if measured is None else {name: v for name, v in measured.by_class.items() if name in names}


def since_learnt(clf: Classifier, after: Evaluation | None) -> float | None:
    """Held-out accuracy of the old classes when each was learnt, minus now, averaged over samples."""
    if after is None:
        return None
    then = [(value, *after.counts([name])) for name, value in clf.recipe.learnt.items() if name in after.by_class]
    total = sum(count for _, _, count in then)
    return sum(value * count - right for value, right, count in then) / total if total else None
