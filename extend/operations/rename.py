"""Give classes other names, or several classes a common one: a new classifier and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from extend.classifier import Classifier, Evaluation, Event, held_out_evaluation
from extend.core.errors import ArgumentError
from extend.data import class_names
from extend.heads import Calibrated
from extend.memory import regrouped
from extend.methods import refitted
from extend.operations.load_any import as_classifier
from extend.report import Report, measured_on


def rename_classes(
    classifier: Classifier | str | os.PathLike[str], names: Mapping[str, str]
) -> tuple[Classifier, Report]:
    """Give classes other names; scores, memory and figures stay as they are.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    names
        The new name of each class that gets one. Names may be exchanged.

    Raises
    ------
    ArgumentError
        There is no such class, or a new name belongs to another class; to join classes use `merge_classes`.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> extend.rename_classes(clf, {"b": "bee"})[0].classes
    ('a', 'bee')
    """
    old = as_classifier(classifier)
    names = _checked_names(old, names)
    classes = tuple(names.get(name, name) for name in old.classes)
    if twice := [name for name in dict.fromkeys(classes) if classes.count(name) > 1]:
        raise ArgumentError(
            f"two classes would be called {twice[0]!r}; to join them use merge_classes({{{twice[0]!r}: [...]}})"
        )
    started = time.perf_counter()
    memory = regrouped(old.memory, names) if old.memory is not None else None
    event = Event("rename", tuple(names.values()), "", 0, {}, {"was": {new: was for was, new in names.items()}})
    history = (*(past.renamed(names) for past in old.history), event)
    renamed = Classifier(old.backbone, old.head, classes, memory, history, old.recipe.renamed(names))
    after = held_out_evaluation(memory, renamed.head, classes)
    report = Report(
        action="rename",
        classes=tuple(names.values()),
        before=after,
        after=after,
        measured_on=measured_on(renamed, after, validated=False),
        seconds=time.perf_counter() - started,
        bytes=memory.nbytes if memory is not None else 0,
        notes=tuple(f"{was} is called {new} now" for was, new in list(names.items())[:10]),
    )
    return renamed, report


def merge_classes(
    classifier: Classifier | str | os.PathLike[str], groups: Mapping[str, Sequence[str]]
) -> tuple[Classifier, Report]:
    """Make one class of several. The memory is that of all their samples under one name; the head is fitted to it.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    groups
        For each class that is to be, the classes that become it, such as ``{"pet": ["cat", "dog"]}``. It may bear the
        name of one of them. It takes the place of the first.

    Raises
    ------
    ArgumentError
        There is no such class, one is in two groups, a name belongs to a class outside of its group, fewer than two
        classes would be left, or there is no memory to fit a head to.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(3, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["cat", "car", "dog"], (x, np.repeat([0, 1, 2], 4)))
    >>> clf, report = extend.merge_classes(clf, {"pet": ["cat", "dog"]})
    >>> clf.classes, clf.predict(x[::4]).tolist()
    (('pet', 'car'), ['pet', 'car', 'pet'])
    """
    old = as_classifier(classifier)
    names = _checked_groups(old, groups)
    if old.memory is None:
        raise ArgumentError(
            "classes are merged in the memory, and this classifier has none: wrap the model with data=, or add the "
            "predicted probabilities of these classes yourself"
        )
    started = time.perf_counter()
    memory = regrouped(old.memory, names)
    given = [names.get(name, name) for name in old.classes]
    narrow = Calibrated.of(old.head).drop([i for i, name in enumerate(given) if name in given[:i]])
    head, recipe, why = refitted(old.backbone, narrow, memory, old.recipe.renamed(names))
    seconds = time.perf_counter() - started
    new = tuple(dict.fromkeys(names.values()))
    after = held_out_evaluation(memory, head, memory.classes)
    learnt = {name: after.by_class[name] for name in new if after is not None and name in after.by_class}
    recipe = replace(recipe, learnt={**recipe.learnt, **learnt})
    event = Event("merge", new, recipe.method, 0, learnt, dict(recipe.settings))
    history = (*(past.renamed(names) for past in old.history), event)
    merged = Classifier(old.backbone, head, memory.classes, memory, history, recipe)
    was = held_out_evaluation(old.memory, old.head, old.classes)
    together = _joined(was, memory.classes, names) if was is not None else None
    parts = {name: [old for old, now in names.items() if now == name] for name in new}
    notes = [f"{_listed(parts[name])} are {name} now" for name in new]
    if together is not None:
        notes += [f"before, {together.of([name]):.1%} of {name} was taken for one of them" for name in new]
    report = Report(
        action="merge",
        classes=new,
        method=recipe.method,
        before=_others(together, new) if together is not None else None,
        after=after,
        measured_on=measured_on(merged, after, validated=False),
        seconds=seconds,
        fit_seconds=seconds,
        bytes=memory.nbytes,
        notes=(*notes, *([why] if why else [])),
    )
    return merged, report


def _checked_names(classifier: Classifier, names: Mapping[str, str]) -> dict[str, str]:
    """Old names and new ones, as text, without those that stay."""
    if not isinstance(names, Mapping) or not names:
        raise ArgumentError(f"names is {names!r}; expected {{old name: new name}}, such as {{'a': 'ant'}}")
    pairs = dict(zip(class_names(list(names), "names"), class_names(list(names.values()), "names"), strict=True))
    if unknown := [name for name in pairs if name not in classifier.classes]:
        raise ArgumentError(f"no class {unknown[0]!r}; there are {_listed(classifier.classes)}")
    return pairs


def _checked_groups(classifier: Classifier, groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The new name of each class that is merged."""
    if not isinstance(groups, Mapping) or not groups:
        raise ArgumentError(
            f"groups is {groups!r}; expected {{new name: [classes]}}, such as {{'pet': ['cat', 'dog']}}"
        )
    names: dict[str, str] = {}
    for new, olds in zip(class_names(list(groups), "groups"), groups.values(), strict=True):
        if isinstance(olds, str) or not isinstance(olds, Sequence) or len(set(olds)) < 2:
            raise ArgumentError(f"groups[{new!r}] is {olds!r}; expected the names of two classes or more")
        for name in dict.fromkeys(class_names(list(olds), "groups")):
            if name not in classifier.classes:
                raise ArgumentError(f"no class {name!r}; there are {_listed(classifier.classes)}")
            if name in names:
                raise ArgumentError(f"class {name!r} is in two groups, {names[name]!r} and {new!r}")
            names[name] = new
    if taken := [new for new in names.values() if new in classifier.classes and new not in names]:
        raise ArgumentError(f"{taken[0]!r} is a class already; add it to its group, or take another name")
    if len({names.get(name, name) for name in classifier.classes}) < 2:
        raise ArgumentError(f"one class would be left of {len(classifier.classes)}; a classifier keeps at least two")
    return names


def _joined(found: Evaluation, classes: tuple[str, ...], names: Mapping[str, str]) -> Evaluation:
    """The evaluation with these classes counted as one; log-loss and calibration error are of the classes before."""
    place = np.asarray([classes.index(names.get(name, name)) for name in found.classes])
    confusion = np.zeros((len(classes), len(classes)), found.confusion.dtype)
    np.add.at(confusion, (place[:, None], place[None, :]), found.confusion)
    return Evaluation(classes, confusion, found.log_loss, found.ece)


def _others(found: Evaluation, names: Sequence[str]) -> Evaluation:
    """The evaluation without the samples of some classes."""
    confusion = found.confusion.copy()
    confusion[[found.classes.index(name) for name in names]] = 0
    return replace(found, confusion=confusion)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
