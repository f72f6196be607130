"""Make several classes of one, from labelled samples of each: a new classifier and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from extend import data
from extend.classifier import Classifier, Event, compare
from extend.core.errors import ArgumentError
from extend.data import Progress, Samples
from extend.methods import Method
from extend.operations.add import add_classes
from extend.operations.load_any import as_classifier
from extend.operations.remove import remove_classes
from extend.operations.rename import rename_classes
from extend.report import Report, measured_on


def split_class(
    classifier: Classifier | str | os.PathLike[str],
    name: str,
    parts: Any,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    method: str | Method | type[Method] = "auto",
    skip_broken: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """Replace a class by several: it is removed, and the classes of `parts` are added from their samples.

    What the memory kept of the class is not known to be of one part or the other, so it goes; the parts are learnt
    from `parts` alone.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    name
        The class to split.
    parts, labels
        Samples of the new classes, in any form that `extend.add_classes` takes. One of them may keep the name.
    method, skip_broken, seed, progress
        See `extend.add_classes`.

    Raises
    ------
    DataError, ArgumentError
        There is no such class, fewer than two parts, a part bears the name of another class, or bad samples.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(4, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["cat", "dog"], (x[:12], np.repeat([0, 1, 1], 4)))
    >>> clf, report = extend.split_class(clf, "dog", {"poodle": x[4:8], "terrier": x[8:12]})
    >>> clf.classes
    ('cat', 'poodle', 'terrier')
    """
    clf = as_classifier(classifier)
    given = parts if labels is None else (parts, labels)
    samples = _read(clf, name, given, skip_broken, progress)
    started, whole = time.perf_counter(), name
    if name in samples.classes:
        whole = _other_name(name, (*clf.classes, *samples.classes))
        clf = rename_classes(clf, {name: whole})[0]
    how: dict[str, Any] = {"method": method, "seed": seed, "similar_names": True, "progress": progress}
    if len(clf.classes) > 2:
        found, added = add_classes(remove_classes(clf, whole)[0], samples, **how)
    else:  # A classifier has two classes at all times.
        wider, added = add_classes(clf, samples, **how)
        found, _ = remove_classes(wider, whole)
    comparison = compare(clf, found)
    learnt = {part: found.recipe.learnt[part] for part in samples.classes if part in found.recipe.learnt}
    event = Event("split", samples.classes, found.recipe.method, len(samples), learnt, dict(found.recipe.settings))
    split = replace(found, history=(*found.history[:-2], event))
    report = Report(
        action="split",
        classes=samples.classes,
        method=found.recipe.method,
        reason=added.reason,
        before=comparison.before,
        after=comparison.after,
        same_rows=comparison.same_rows,
        left_out=added.left_out,
        measured_on=measured_on(split, comparison.after, validated=False),
        seconds=time.perf_counter() - started,
        fit_seconds=added.fit_seconds,
        samples=len(samples),
        bytes=split.memory.nbytes if split.memory is not None else 0,
        notes=(f"what was kept of {name} before is gone", *(note for note in added.notes if repr(whole) not in note)),
    )
    return split, report


def _read(clf: Classifier, name: str, given: Any, skip_broken: bool, progress: Progress | None) -> Samples:
    """The samples of the parts, if these are parts of a class that is there."""
    if name not in clf.classes:
        raise ArgumentError(f"no class {name!r}; there are {', '.join(clf.classes[:10])}")
    spec = clf.backbone.inputs
    samples = data.read(given, spec, known=clf.classes, skip_broken=skip_broken, progress=progress)
    if len(samples.classes) < 2:
        raise ArgumentError(f"parts are of {', '.join(samples.classes)} only; a class is split into two or more")
    if taken := [part for part in samples.classes if part in clf.classes and part != name]:
        raise ArgumentError(f"part {taken[0]!r} is another class already; give it another name")
    return samples


def _other_name(name: str, known: Sequence[str]) -> str:
    """A name that no class bears, for a class while it is being split."""
    found = f"{name} (whole)"
    while found in known:
        found += "'"
    return found
