"""Take a class away: a new classifier and a report."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

from extend import methods
from extend.classifier.classifier import Classifier
from extend.classifier.evaluation import before_and_after
from extend.classifier.history import Event
from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import LinearHead
from extend.heads.quadratic import QuadraticHead
from extend.memory.memory import Memory, nothing
from extend.memory.serialise import memory_bytes
from extend.methods.budget import CLOSED
from extend.report.notes import measured_on
from extend.report.report import Report


def remove(classifier: Classifier, name: str) -> tuple[Classifier, Report]:
    """A classifier without this class: exact for the memory and for closed-form heads, which are fitted anew.

    Its name, counts, statistics and held-out features are gone from a file saved afterwards. What the backbone itself
    learnt of a class that it was trained on stays.

    Raises:
        ValueError: there is no such class, it is the last but one, or the memory keeps one pooled scatter only.

    >>> import extend
    >>> import numpy as np
    >>> x = np.eye(3, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b", "c"], (x, np.repeat([0, 1, 2], 4)))
    >>> extend.remove(clf, "b")[0].classes
    ('a', 'c')
    """
    if name not in classifier.classes:
        raise ArgumentError(f"no class {name!r}; there are {', '.join(classifier.classes)}")
    if len(classifier.classes) <= 2:
        raise ArgumentError(f"class {name!r} cannot be removed: a classifier keeps at least two")
    started = time.perf_counter()
    column = classifier.classes.index(name)
    classes = tuple(c for c in classifier.classes if c != name)
    memory, notes = classifier.memory, []
    if memory is not None:
        fisher, memory = memory.fisher, memory.without(name)
        if fisher is not None and not _measured_by_fisher(classifier, name):
            memory = replace(memory, fisher=fisher)
        elif fisher is not None:
            notes.append(
                "the Fisher diagonal is gone, as this class's share of it is not known: ewc needs it anew (old=)"
            )
    head: Head = classifier.head.drop([column])
    last = next((event for event in reversed(classifier.history) if event.action != "calibrate"), None)
    how = "its column dropped"
    if memory is not None and last is not None and (fitted := refit(head, memory, last)) is not None:
        head, how = fitted, last.method
    now = time.perf_counter()
    scrubbed = []
    for event in classifier.history:
        left = tuple(c for c in event.classes if c != name)
        right = {c: value for c, value in event.right.items() if c != name}
        if left or not event.classes:
            scrubbed.append(replace(event, classes=left, right=right))
    settings = last.settings if last is not None and how == last.method else {}
    done = Event("remove", (), how, 0, {}, settings)
    smaller = Classifier(classifier.backbone, head, classes, memory, (*scrubbed, done))
    before, after = before_and_after(classifier, smaller, None)
    report = Report(
        action="remove",
        classes=(name,),
        method=how,
        before=before,
        after=after,
        measured_on=measured_on(smaller, after, validated=False),
        seconds=now - started,
        fit_seconds=now - started,
        bytes=memory_bytes(memory),
        notes=tuple(notes),
    )
    return smaller, report


def _measured_by_fisher(classifier: Classifier, name: str) -> bool:
    """Whether samples of this class may be in the Fisher diagonal: was a backbone wrapped or trained since it came?"""
    events = classifier.history
    first = next((place for place, event in enumerate(events) if name in event.classes), None)
    if first is None:  # The history does not tell.
        return True
    return any(event.action in ("wrap", "adapt") or event.method in ("fine_tune", "joint") for event in events[first:])


def refit(head: Head, memory: Memory, last: Event) -> Head | None:
    """The closed form of this event fitted to a memory, calibrated as `head` is; None if it was no closed form."""
    inner = last.settings.get("head") or {"name": last.method, "settings": last.settings}
    if inner["name"] not in CLOSED:
        return None
    kind: Any = type(methods.NAMED[inner["name"]])
    known = {field.name for field in fields(kind)}
    method = kind(**{key: value for key, value in inner["settings"].items() if key in known})
    fitted = method.fit(None, memory, nothing(memory), 0)
    assert isinstance(fitted, (LinearHead, QuadraticHead))  # Every closed form gives one of these.
    return replace(Calibrated.of(head), head=fitted).plain()
