"""Take a class away: a new classifier and a report."""

from __future__ import annotations

import time
from dataclasses import replace

from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.classifier.recipe import Recipe
from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.memory.memory import Memory
from extend.methods.names import closed_form
from extend.report.measuring import measure
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
        if fisher is not None and not classifier.recipe.may_be_in_fisher(name):
            memory = replace(memory, fisher=fisher)
        elif fisher is not None:
            notes.append(
                "the Fisher diagonal is gone, as this class's share of it is not known: ewc needs it anew (old=)"
            )
    head: Head = classifier.head.drop([column])
    recipe, how = classifier.recipe.without(name), "dropping its column"
    if memory is not None and (fitted := refit(head, memory, recipe)) is not None:
        head, how = fitted, recipe.method
    now = time.perf_counter()
    scrubbed = []
    for event in classifier.history:
        left = tuple(c for c in event.classes if c != name)
        right = {c: value for c, value in event.right.items() if c != name}
        if left or not event.classes:
            scrubbed.append(replace(event, classes=left, right=right))
    settings = recipe.settings if how == recipe.method else {}
    done = Event("remove", (), how, 0, {}, settings)
    smaller = Classifier(classifier.backbone, head, classes, memory, (*scrubbed, done), recipe)
    _, after, measured_on = measure(classifier, smaller, None)
    report = Report(
        "remove",
        (name,),
        how,
        "",
        None,
        after,
        None,
        measured_on,
        now - started,
        now - started,
        0,
        memory.nbytes if memory is not None else 0,
        tuple(notes),
    )
    return smaller, report


def refit(head: Head, memory: Memory, recipe: Recipe) -> Head | None:
    """The closed form of this recipe fitted to a memory, calibrated as `head` is; None if it was no closed form."""
    if (method := closed_form(*recipe.closed_form)) is None:
        return None
    was, fitted = Calibrated.of(head), Calibrated.of(method.fit(memory))
    return replace(fitted, scale=was.scale, offset=was.offset, temperature=was.temperature).plain()
