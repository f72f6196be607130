"""Take single samples away, such as label errors, or those of a person who asks to be forgotten."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from extend.backbone import extract
from extend.classifier import Classifier, Event, compare
from extend.core.errors import ArgumentError
from extend.data import Progress, read_into
from extend.memory import without_samples
from extend.methods import refit
from extend.operations.load_any import as_classifier
from extend.report import Report, measured_on


def remove_samples(
    classifier: Classifier | str | os.PathLike[str],
    gone: Any,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """Take samples out of the memory, found by their content, and fit the head anew without them.

    All copies of a sample in its class go. It is exact for samples that the memory keeps as rows. A sample that was
    folded into the statistics of its class is subtracted from them, to float64 accuracy; that it was in there shows
    only by the statistics staying possible. What the backbone itself learnt of samples that it was trained on stays.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    gone, labels
        The very inputs that were added (pictures: the same files), under the classes that they were added to, in any
        form that `extend.add_classes` takes.
    skip_broken, progress
        Leave out images that cannot be read; what wraps the reading of images and the batches.

    Raises
    ------
    DataError
        A sample is not in the memory, or belongs to a class that is not known.
    ArgumentError
        There is no memory, or a class would have no sample left: see `extend.remove_classes`.

    Examples
    --------
    >>> import extend
    >>> x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 6)))
    >>> clf, report = extend.remove_samples(clf, {"b": x[7:9]})
    >>> clf.memory.total.tolist()
    [6, 4]
    """
    old = as_classifier(classifier)
    if old.memory is None:
        raise ArgumentError("this classifier has no memory, so nothing of single samples is kept beside its backbone")
    given = gone if labels is None else (gone, labels)
    spec = old.backbone.inputs
    samples = read_into(old.classes, given, spec, "the samples", skip_broken=skip_broken, progress=progress)
    started = time.perf_counter()
    features = extract(old.backbone, samples, progress=progress)
    memory = without_samples(old.memory, features)
    notes = []
    if old.memory.fisher is not None:
        if any(old.recipe.may_be_in_fisher(name) for name in samples.present):
            notes.append("the Fisher diagonal is gone, as the share of what was removed is not known")
        else:
            memory = replace(memory, fisher=old.memory.fisher)
    head = refit(old.head, memory, old.recipe)
    if head is None:
        notes.append(
            f"the head is of {old.recipe.method} and stays as it is: what it learnt of these samples stays in it "
            "until a closed form takes its place (add_classes, merge_classes)"
        )
    seconds = time.perf_counter() - started
    event = Event("remove_samples", samples.present, old.recipe.method, len(samples), {}, dict(old.recipe.settings))
    left = replace(old, head=head or old.head, memory=memory, history=(*old.history, event))
    found = compare(old, left)
    report = Report(
        action="remove_samples",
        classes=samples.present,
        method=old.recipe.method if head is not None else "",
        before=found.before,
        after=found.after,
        same_rows=found.same_rows,
        measured_on=measured_on(left, found.after, validated=False),
        seconds=seconds,
        fit_seconds=seconds,
        samples=len(samples),
        bytes=memory.nbytes,
        notes=tuple(notes),
    )
    return left, report
