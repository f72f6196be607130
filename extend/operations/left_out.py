"""A figure for new classes of which little or nothing is held out: each of their samples left out in its turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from extend.classifier import Classifier, Evaluation
from extend.methods import closed_form

FEWEST = 5
"""A class with fewer held-out samples is measured on the others as well."""
MOST = 200
"""So many samples are left out at most."""


def left_out(
    classifier: Classifier, method: str, settings: Mapping[str, Any], added: tuple[str, ...], after: Evaluation | None
) -> Evaluation | None:
    """Measure new classes that `after` has fewer than five samples of.

    Parameters
    ----------
    classifier
        The classifier that knows the new classes.
    method, settings
        The closed form that gave its head.
    added
        The new classes.
    after
        What was measured on held-out samples; None where nothing was.

    Returns
    -------
    Evaluation | None
        The confusion of the samples that are not held out of these classes, where there are two different ones;
        log-loss and calibration error are not known. None where there is no such class, or the head is not that of a
        closed form.
    """
    memory, form = classifier.memory, closed_form(method, settings)
    held = after.totals if after is not None else {}
    few = [name for name in added if held.get(name, 0) < FEWEST]
    if memory is None or form is None or not few:
        return None
    place = {name: i for i, name in enumerate(classifier.classes)}
    lacking = np.asarray([place[name] for name in few])
    others = np.setdiff1d(np.arange(len(place)), lacking)
    rows, labels, _ = memory.unheld(others, MOST)
    if not len(labels):
        return None
    predicted = form.leave_one_out(memory, rows, labels).argmax(axis=1)
    met, both = np.unique(np.concatenate([labels, predicted]), return_inverse=True)
    confusion = np.zeros((len(met), len(met)), np.int32)  # Of the classes that occur alone: there may be 100,000.
    np.add.at(confusion, (both[: len(labels)], both[len(labels) :]), 1)
    return Evaluation(tuple(classifier.classes[i] for i in met), confusion, float("nan"), float("nan"))
