"""Take classes away: a new classifier and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral

from extend.classifier import Classifier, Event, compare
from extend.core.errors import ArgumentError
from extend.data import class_names
from extend.heads import Head
from extend.methods import heated, refit
from extend.operations.load_any import as_classifier
from extend.report import Report, measured_on

OWN = "own head"
"""The method, in a recipe, of a model that still has the head it came with."""


def remove_classes(
    classifier: Classifier | str | os.PathLike[str], names: str | int | Sequence[str | int]
) -> tuple[Classifier, Report]:
    """Take classes away: exactly for the memory and for closed-form heads, which are fitted anew.

    Where these were the last classes to come, the method before them is in force again; a model that has lost all that
    ever came has its own head again.

    The names, counts, statistics and held-out features are gone from a file saved afterwards. What the backbone itself
    learnt of a class that it was trained on stays.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    names
        A class, or several.

    Raises
    ------
    ArgumentError
        There is no such class, fewer than two would be left, or the memory keeps one pooled scatter only.

    Examples
    --------
    >>> import extend, numpy as np
    >>> x = np.eye(3, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b", "c"], (x, np.repeat([0, 1, 2], 4)))
    >>> extend.remove_classes(clf, "b")[0].classes
    ('a', 'c')
    """
    old = as_classifier(classifier)
    gone = _checked(old, names)
    started = time.perf_counter()
    memory, recipe = old.memory, old.recipe.taken_back(gone)
    for name in gone:
        memory = memory.without(name) if memory is not None else None
    notes: tuple[str, ...] = ()
    if old.memory is not None and memory is not None and old.memory.fisher is not None:
        if any(old.recipe.may_be_in_fisher(name) for name in gone):
            why = "the share of what was removed is not known: ewc needs it anew (old=)"
            notes = (f"the Fisher diagonal is gone, as {why}",)
        else:
            memory = replace(memory, fisher=old.memory.fisher)
    head: Head = old.head.drop([old.classes.index(name) for name in gone])
    how, settings = "dropping its column" if len(gone) == 1 else "dropping their columns", {}
    own = old.backbone.own_head
    if recipe.method == OWN and own is not None and own.num_classes == head.num_classes:
        head, how = replace(own, link=head.link), OWN  # All that ever came is gone.
    elif memory is not None and (fitted := refit(heated(head, old.recipe, recipe), memory, recipe)) is not None:
        head, how, settings = fitted, recipe.method, dict(recipe.settings)
    seconds = time.perf_counter() - started
    classes = tuple(name for name in old.classes if name not in gone)
    history = (*_scrubbed(old.history, gone), Event("remove", (), how, 0, {}, settings))
    smaller = Classifier(old.backbone, head, classes, memory, history, recipe)
    found = compare(old, smaller)
    report = Report(
        action="remove",
        classes=gone,
        method=how,
        before=found.before,
        after=found.after,
        same_rows=found.same_rows,
        measured_on=measured_on(smaller, found.after, validated=False),
        seconds=seconds,
        fit_seconds=seconds,
        bytes=memory.nbytes if memory is not None else 0,
        notes=tuple(notes),
    )
    return smaller, report


def _checked(classifier: Classifier, names: str | int | Sequence[str | int]) -> tuple[str, ...]:
    """The classes to remove, each once."""
    one = isinstance(names, str | bytes | Integral)
    gone = tuple(dict.fromkeys(class_names([names] if one else names, "names")))
    if unknown := [name for name in gone if name not in classifier.classes]:
        raise ArgumentError(f"no class {unknown[0]!r}; there are {', '.join(classifier.classes)}")
    if not gone:
        raise ArgumentError("names is empty; expected a class, or several")
    if len(classifier.classes) - len(gone) < 2:
        listed = ", ".join(map(repr, gone[:10])) + (", ..." if len(gone) > 10 else "")
        what = f"class {listed} cannot" if len(gone) == 1 else f"classes {listed} cannot"
        left = len(classifier.classes) - len(gone)
        raise ArgumentError(
            f"{what} be removed: {left} of {len(classifier.classes)} would be left, and a classifier keeps at least two"
        )
    return gone


def _scrubbed(history: Sequence[Event], gone: Sequence[str]) -> list[Event]:
    """The history without these classes, and without the steps that were about them alone."""
    left = [(event, event.without(gone)) for event in history]
    return [now for was, now in left if now.classes or not was.classes]
