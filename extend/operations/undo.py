"""Take the last step back: a new classifier and a report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from extend.classifier import Classifier, Event, compare
from extend.core.errors import ArgumentError
from extend.heads import Calibrated
from extend.methods import refit
from extend.operations.load_any import as_classifier
from extend.operations.remove import remove_classes
from extend.operations.rename import rename_classes
from extend.report import Report, measured_on

WHY = {
    "update": "samples that joined a class cannot be told from its own; remove_samples takes them out again",
    "merge": "the memory no longer knows which sample was of which class; split_class needs samples of each",
    "split": "what was kept of the class as a whole is gone",
    "remove": "what was removed is gone, as it should be; add_classes adds it again",
    "remove_samples": "what was removed is gone, as it should be; update_classes adds it again",
    "adapt": "the backbone was trained in that step, and its earlier weights are not kept",
    "replace_head": "the head before it is not kept",
    "wrap": "there is nothing before it",
}
"""Why some steps cannot be taken back."""


def undo(classifier: Classifier | str | os.PathLike[str]) -> tuple[Classifier, Report]:
    """Take the last step of a classifier's history back.

    Classes that were added are removed, classes that were renamed get their old names, and a calibration or a retuning
    gives way to what was before. Other steps cannot be taken back, as nothing is kept that was to go: the message says
    what to do. In Python every operation returns a new classifier, and the one before it is still there.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.

    Raises
    ------
    ArgumentError
        The last step cannot be taken back.

    Examples
    --------
    >>> import extend, numpy as np
    >>> x = np.eye(3, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x[:8], np.repeat([0, 1], 4)))
    >>> clf, _ = extend.add_classes(clf, {"c": x[8:]})
    >>> extend.undo(clf)[0].classes
    ('a', 'b')
    """
    old = as_classifier(classifier)
    if not old.history:
        raise ArgumentError("this classifier has no history: there is no step to take back")
    last, started = old.history[-1], time.perf_counter()
    how = _WAYS.get(last.action)
    why = WHY.get(last.action, "") or _trained(last)
    if how is None or why:
        raise ArgumentError(f"the last step ({last.action} {', '.join(last.classes[:10])}) cannot be undone: {why}")
    before = how(old, last)
    found = compare(old, before)
    report = Report(
        action="undo",
        classes=last.classes,
        method=before.recipe.method,
        before=found.before,
        after=found.after,
        same_rows=found.same_rows,
        measured_on=measured_on(before, found.after, validated=False),
        seconds=time.perf_counter() - started,
        bytes=before.memory.nbytes if before.memory is not None else 0,
        notes=(f"the step taken back: {last.action} {', '.join(last.classes[:10])}".rstrip(),),
    )
    return before, report


def _trained(last: Event) -> str:
    """Why an addition cannot be taken back, if it cannot."""
    if last.action != "add":
        return ""
    if last.settings.get("trained"):
        return WHY["adapt"]
    return f"{WHY['update']} ({', '.join(last.settings['joined'][:10])})" if last.settings.get("joined") else ""


def _add(classifier: Classifier, last: Event) -> Classifier:
    smaller = remove_classes(classifier, last.classes)[0]
    return replace(smaller, history=smaller.history[:-1])  # The step itself went with its classes.


def _rename(classifier: Classifier, last: Event) -> Classifier:
    back = rename_classes(classifier, last.settings["was"])[0]
    return replace(back, history=back.history[:-2])


def _calibrate(classifier: Classifier, last: Event) -> Classifier:
    if "was" not in last.settings:
        raise ArgumentError("the last step (calibrate) was done by a version that did not keep what was before")
    head = Calibrated.of(classifier.head).with_correction(last.settings["was"])
    return replace(classifier, head=head.plain(), history=classifier.history[:-1])


def _retune(classifier: Classifier, last: Event) -> Classifier:
    if "before" not in last.settings or classifier.memory is None:
        raise ArgumentError("the last step (retune) was done by a version that did not keep what was before")
    was = last.settings["before"]
    memory = replace(classifier.memory, shrinkage=was["shrinkage"], ridge=was["ridge"], inverses=())
    if classifier.memory.inverses:
        memory = memory.recursive()
    recipe = replace(classifier.recipe, method=was["method"], settings=was["settings"], chosen=was["chosen"])
    head = refit(Calibrated.of(classifier.head).with_correction(was["correction"]), memory, recipe)
    assert head is not None  # Only what can be fitted was tuned.
    return replace(classifier, head=head, memory=memory, recipe=recipe, history=classifier.history[:-1])


_WAYS: dict[str, Callable[[Classifier, Event], Classifier]] = {
    "add": _add,
    "rename": _rename,
    "calibrate": _calibrate,
    "retune": _retune,
}
